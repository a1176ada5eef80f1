// One row per object. Drawn from plain numbers; names go through textContent.
const rows = element.querySelector('.vt-rows');
const make = (tag, className, text) => Object.assign(document.createElement(tag), {className: className, textContent: text || ''});
const percent = (n, total) => (100 * n / Math.max(1, total)) + '%';

function span(className, first, last, total) {
  const part = make('span', className);
  part.style.left = percent(first, total);
  part.style.width = percent(last - first + 1, total);
  return part;
}

function row(item, v) {
  const line = make('div', 'vt-row' + (item.id === v.selected ? ' vt-selected' : ''));
  line.setAttribute('role', 'listitem');
  line.dataset.id = item.id;
  const name = make('button', 'vt-name');
  name.type = 'button';
  const swatch = make('span', 'vt-swatch');
  swatch.style.background = item.color;
  name.append(swatch, make('span', 'vt-name-text', item.label + ' ' + item.id), make('span', 'vt-muted', item.score.toFixed(2)));
  name.title = 'Select ' + item.label + ' ' + item.id;
  name.onclick = () => trigger('seek', {tube: item.id});
  const track = make('div', 'vt-track');
  track.setAttribute('aria-label', item.label + ' ' + item.id + ': ' + item.bars.map((b) => (b[0] + 1) + ' to ' + (b[1] + 1)).join(', ') + ' of ' + v.total);
  for (const [first, last, score] of item.bars) {
    const bar = span('vt-present', first, last, v.total);
    bar.style.background = item.color;
    bar.style.opacity = 0.45 + 0.55 * score;
    track.append(bar);
  }
  for (const [first, last] of item.low) track.append(span('vt-low', first, last, v.total));
  for (const at of item.jumps) track.append(span('vt-jump', at, at, v.total));
  for (const at of item.prompts) track.append(span('vt-prompt', at, at, v.total));
  const cursor = span('vt-cursor', v.position, v.position, v.total);
  track.append(cursor);
  track.onclick = (event) => {
    const box = track.getBoundingClientRect();
    const to = Math.floor(v.total * (event.clientX - box.left) / box.width);
    trigger('seek', {to: Math.max(0, Math.min(v.total - 1, to)), tube: item.id});
  };
  line.append(name, track);
  return line;
}

function show() {
  const v = props.value || {rows: []};
  if (v.rows.length) rows.replaceChildren(...v.rows.map((item) => row(item, v)));
  else rows.replaceChildren(make('p', 'vt-none', v.total ? 'No object yet.' : 'Objects appear here, one row each, as they are found.'));
}
watch('value', show);
show();
