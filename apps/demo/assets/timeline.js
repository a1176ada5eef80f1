// A ruler and one row per object. Drawn from plain numbers; names go through textContent.
const find = (name) => element.querySelector(name);
const rows = find('.vt-rows'), ruler = find('.vt-ruler'), cursor = find('.vt-cursor'), legend = find('.vt-legend'), filter = find('.vt-filter');
const make = (tag, className, text) => Object.assign(document.createElement(tag), {className: className, textContent: text || ''});
const percent = (n, total) => (100 * n / Math.max(1, total)) + '%';
const seek = (data) => document.dispatchEvent(new CustomEvent('vt-seek', {detail: data}));  // the viewer asks the server
let drawn = null, shownClass = '', selected = null;  // '': all classes

// One button per class where there are several; rows of the others are hidden, nothing is changed. An object of
// another class that is chosen in the picture, or new, brings all rows back: its own must be seen.
function classes(v) {
  const labels = [...new Set(v.rows.map((item) => item.label))].sort();
  const chosen = v.rows.find((item) => item.id === v.selected);
  const elsewhere = v.selected !== selected && chosen && chosen.label !== shownClass;
  selected = v.selected;
  if (elsewhere || !labels.includes(shownClass)) shownClass = '';
  document.body.dataset.vtShownClass = shownClass;  // the keys walk through the rows that are shown
  filter.hidden = labels.length < 2;
  filter.replaceChildren(...['', ...labels].map((label) => {
    const count = v.rows.filter((item) => !label || item.label === label).length;
    const chip = make('button', 'vt-chip', (label || 'All classes') + ' (' + count + ')');
    chip.type = 'button';
    chip.setAttribute('aria-pressed', label === shownClass);
    chip.onclick = () => { shownClass = label; drawn = null; show(); };
    return chip;
  }));
}

function span(className, first, last, total) {
  const part = make('span', className);
  part.style.left = percent(first, total);
  part.style.width = percent(last - first + 1, total);
  return part;
}

function position(event, track) {
  const box = track.getBoundingClientRect(), total = props.value.total;
  return Math.max(0, Math.min(total - 1, Math.floor(total * (event.clientX - box.left) / box.width)));
}

function row(item, v) {
  const line = make('div', 'vt-row' + (item.id === v.selected ? ' vt-selected' : ''));
  line.setAttribute('role', 'listitem');
  line.dataset.id = item.id;
  const name = make('button', 'vt-name');
  name.type = 'button';
  const swatch = make('span', 'vt-swatch');
  swatch.style.background = item.color;
  name.append(swatch, make('span', 'vt-name-text', item.label + ' ' + item.id), make('span', 'vt-score', item.score.toFixed(2)));
  name.title = 'Select ' + item.label + ' ' + item.id + ' (mean score ' + item.score.toFixed(2) + ')';
  name.onclick = () => seek({tube: item.id});
  const track = make('div', 'vt-track');
  track.setAttribute('role', 'img');
  track.setAttribute('aria-label', item.label + ' ' + item.id + ': ' + item.bars.map((b) => (b[0] + 1) + ' to ' + (b[1] + 1)).join(', ') + ' of ' + v.total);
  for (const [first, last, score] of item.bars) {
    const bar = span('vt-present', first, last, v.total);
    bar.style.background = item.color;
    bar.style.opacity = 0.35 + 0.65 * score;
    track.append(bar);
  }
  for (const [first, last] of item.low) track.append(span('vt-low', first, last, v.total));
  let marked = -v.total;  // marks that would cover each other are one mark
  for (const at of item.jumps) if (at - marked >= v.total / 90) { marked = at; track.append(span('vt-jump', at + 0.5, at, v.total)); }
  for (const at of item.prompts) track.append(span('vt-prompt', at + 0.5, at, v.total));
  track.onclick = (event) => seek({to: position(event, track), tube: item.id});
  line.append(name, track);
  return line;
}

ruler.onpointerdown = (event) => {
  if (!props.value || !props.value.rows) return;
  ruler.setPointerCapture(event.pointerId);
  const go = (e) => seek({to: position(e, ruler)});
  ruler.onpointermove = go;
  ruler.onpointerup = ruler.onpointercancel = () => { ruler.onpointermove = null; };
  go(event);
};

// Both ends always have their time; of those between, the ones that there is room for.
function thinOut() {
  const ticks = [...ruler.children], last = ticks.length - 1, space = 6;
  for (const tick of ticks) tick.hidden = false;
  const boxes = ticks.map((tick) => tick.getBoundingClientRect());
  let end = boxes.length ? boxes[0].right : 0;
  for (let i = 1; i < last; i++) {
    const room = boxes[i].left >= end + space && boxes[i].right + space <= boxes[last].left;
    ticks[i].hidden = !room;
    if (room) end = boxes[i].right;
  }
}

function show() {
  const v = props.value || {rows: []};
  legend.hidden = !v.rows.length;
  ruler.replaceChildren(...(v.ticks || []).map(([at, text]) => {
    const tick = make('span', 'vt-tick', text);
    tick.style.left = 'clamp(1.1rem, ' + percent(at + 0.5, v.total) + ', calc(100% - 1.3rem))';
    return tick;
  }));
  thinOut();
  const key = JSON.stringify([v.rows, v.selected, v.total, v.none]);
  if (key !== drawn) {
    drawn = key;
    classes(v);
    const chosenRows = v.rows.filter((item) => !shownClass || item.label === shownClass);
    if (v.rows.length) rows.setAttribute('role', 'list'); else rows.removeAttribute('role');
    if (v.rows.length) rows.replaceChildren(...chosenRows.map((item) => row(item, v)));
    else rows.replaceChildren(make('p', 'vt-none', v.none || 'One row per object appears here: when it is there, where it is unsure, and where you corrected it.'));
    const chosen = rows.querySelector('.vt-selected');
    if (chosen && rows.scrollHeight > rows.clientHeight) chosen.scrollIntoView({block: 'nearest'});
  }
  cursor.hidden = !v.rows.length;
  cursor.style.left = percent(v.position + 0.5, v.total);
}
watch('value', show);
show();
new ResizeObserver(thinOut).observe(ruler);
