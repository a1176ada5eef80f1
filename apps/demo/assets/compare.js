// Two pictures in one place; a slider says where one ends and the other begins.
const find = (name) => element.querySelector(name);
const whole = find('.vt-compare'), sam = find('.vt-sam'), hq = find('.vt-hq');
const divider = find('.vt-divider'), slider = find('input'), pair = find('.vt-pair');

function split() {
  hq.style.clipPath = 'inset(0 0 0 ' + slider.value + '%)';
  divider.style.left = slider.value + '%';
}
function show() {
  const v = props.value || {}, there = Boolean(v.sam);
  whole.hidden = !there;
  if (there) { sam.src = v.sam; hq.src = v.hq; }
  const [left, right] = v.names || ['SAM', 'HQ-SAM'];
  find('.vt-side-sam').textContent = left; find('.vt-side-hq').textContent = right;
  sam.alt = 'Masks of ' + left; hq.alt = 'Masks of ' + right;
  slider.setAttribute('aria-label', 'Where ' + left + ' ends and ' + right + ' begins');
  split();
}
slider.oninput = split;
pair.addEventListener('pointermove', (event) => {
  if (!event.buttons) return;
  const box = pair.getBoundingClientRect();
  slider.value = 100 * (event.clientX - box.left) / box.width;
  split();
});
watch('value', show);
show();
