// The picture, its tools and the selected object's buttons. Shows what the server sends and tells it what
// was done; it decides nothing. All text goes through textContent, so that a name is never markup.
const find = (name) => element.querySelector(name);
const root = find('.vt-viewer'), stage = find('.vt-stage'), image = find('.vt-image'), canvas = find('.vt-canvas');
const empty = find('.vt-empty'), busy = find('.vt-busy'), slider = find('.vt-slider'), where = find('.vt-where');
const message = find('.vt-message'), objectBar = find('.vt-object');
let tool = 'look', drag = null, radius = 12, busyTimer = null, shownSelected = null;

const make = (tag, text, props) => Object.assign(document.createElement(tag), {textContent: text || ''}, props || {});
const value = () => props.value || {total: 0, all: [], clicks: []};

function send(name, data) {
  if (name !== 'seek') { clearTimeout(busyTimer); busyTimer = setTimeout(() => { busy.hidden = false; }, 150); }
  if (name === 'follow') trigger('follow', {});
  else if (name === 'seek') trigger('seek', data);
  else trigger('act', data);
}
const act = (name, data) => send('act', Object.assign({name: name}, data || {}));
const seek = (data) => { if (value().total) send('seek', data); };

// ---- tools

const TOOLS = [
  ['look', 'Look', 'Look only (v)', 'v'],
  ['plus', '+ Click', 'Click what belongs to the object (p)', 'p'],
  ['minus', '− Click', 'Click what does not belong to the object (m)', 'm'],
  ['box', 'Box', 'Drag a box around the object (b)', 'b'],
  ['paint', 'Paint', 'Paint on the mask (a)', 'a'],
  ['erase', 'Erase', 'Rub the mask out (e)', 'e'],
  ['new', 'New object', 'Click or drag a box on something new (n)', 'n'],
];
const toolButtons = {};
for (const [name, text, title] of TOOLS) {
  const button = make('button', text, {type: 'button', title: title, onclick: () => choose(name)});
  find('.vt-tools').append(button);
  toolButtons[name] = button;
}
const size = make('input', '', {type: 'range', min: 2, max: 60, value: radius, title: 'Brush size in pixels', className: 'vt-size'});
size.setAttribute('aria-label', 'Brush size in pixels');
size.oninput = () => { radius = Number(size.value); };
find('.vt-tools').append(size);
const undo = make('button', 'Undo', {type: 'button', title: 'Undo (z)', onclick: () => act('undo')});
const redo = make('button', 'Redo', {type: 'button', title: 'Redo (shift z)', onclick: () => act('redo')});
find('.vt-history').append(undo, redo);

function choose(name) {
  tool = name;
  for (const key in toolButtons) toolButtons[key].setAttribute('aria-pressed', String(key === name));
  canvas.dataset.tool = name;
  size.disabled = name !== 'paint' && name !== 'erase';
}

// ---- moving through the clip

const STEPS = [
  ['|‹', 'First frame (Home)', {go: 'first'}], ['‹', 'One frame back (left arrow)', {by: -1}],
  ['›', 'One frame on (right arrow)', {by: 1}], ['›|', 'Last frame (End)', {go: 'last'}],
  ['‹ problem', 'Problem before ( [ )', {go: 'problem-'}], ['problem ›', 'Next problem ( ] )', {go: 'problem+'}],
];
for (const [text, title, data] of STEPS) {
  const button = make('button', text, {type: 'button', title: title, onclick: () => seek(data)});
  button.setAttribute('aria-label', title);
  find('.vt-steps').append(button);
}
slider.oninput = () => seek({to: Number(slider.value)});

// ---- the selected object

const swatch = make('span', '', {className: 'vt-swatch'}), title = make('strong', '');
const label = make('input', '', {type: 'text', maxLength: 80, className: 'vt-label', placeholder: 'class name'});
label.setAttribute('aria-label', 'Class name of the object');
const other = make('select', '', {className: 'vt-other'});
other.setAttribute('aria-label', 'Other object');
const objectButtons = [
  make('button', 'Rename', {type: 'button', title: 'Give the object this class name', onclick: () => act('relabel', {label: label.value})}),
  make('button', 'Delete here', {type: 'button', title: 'On this frame only', onclick: () => act('delete', {scope: 'frame'})}),
  make('button', 'from here', {type: 'button', title: 'Delete on this frame and after it', onclick: () => act('delete', {scope: 'onwards'})}),
  make('button', 'whole', {type: 'button', title: 'Delete the whole object', onclick: () => act('delete', {scope: 'tube'})}),
  make('button', 'Split here', {type: 'button', title: 'From this frame on it is another object', onclick: () => act('split')}),
  make('button', 'Follow', {type: 'button', title: 'Carry its mask on this frame on, forward and back', onclick: () => send('follow')}),
];
const pairButtons = [
  make('button', 'Merge', {type: 'button', title: 'The other object becomes part of this one', onclick: () => act('merge', {other: Number(other.value)})}),
  make('button', 'Swap from here', {type: 'button', title: 'The two ids were switched on this frame', onclick: () => act('swap', {other: Number(other.value)})}),
];
label.onkeydown = (event) => { if (event.key === 'Enter') act('relabel', {label: label.value}); };
const withText = make('span', 'with', {className: 'vt-muted'});
objectBar.append(swatch, title, label, ...objectButtons, withText, other, ...pairButtons);

// ---- showing

function show() {
  const v = value();
  clearTimeout(busyTimer); busy.hidden = true;
  image.hidden = !v.src;
  if (v.src) {
    if (image.getAttribute('src') !== v.src) image.src = v.src;
    image.alt = 'Frame ' + v.frame + ' with its objects drawn on it';
  } else {
    image.removeAttribute('src');
    empty.textContent = v.message || 'Open a video on the left, or press “Use the sample clip”.';
  }
  empty.hidden = Boolean(v.src);
  slider.max = Math.max(0, v.total - 1); slider.value = v.position || 0; slider.disabled = !v.total;
  where.textContent = v.total ? 'frame ' + v.frame + ' · ' + v.pts.toFixed(2) + ' s · ' + (v.position + 1) + ' of ' + v.total : '';
  message.textContent = v.src ? v.message || '' : '';
  undo.disabled = !v.edits; redo.disabled = !v.undone;
  undo.textContent = v.edits ? 'Undo (' + v.edits + ')' : 'Undo';
  for (const key in toolButtons) toolButtons[key].disabled = !v.done && key !== 'look';
  showObject(v);
  draw();
}

function showObject(v) {
  const all = v.all || [], mine = all.find((item) => item.id === v.selected);
  swatch.style.background = mine ? mine.color : 'transparent';
  title.textContent = mine ? 'Object ' + mine.id : 'No object selected';
  if (mine && (shownSelected !== mine.id + mine.label)) { label.value = mine.label; shownSelected = mine.id + mine.label; }
  const others = all.filter((item) => item.id !== v.selected), keep = other.value;
  other.replaceChildren(...others.map((item) => make('option', item.label + ' ' + item.id, {value: item.id})));
  if (others.some((item) => String(item.id) === keep)) other.value = keep;
  for (const item of [label, ...objectButtons]) item.disabled = !mine;
  for (const item of [other, ...pairButtons]) item.disabled = !mine || !others.length;
}

// The picture is fitted into the stage; this is where, in stage pixels.
function fit() {
  const v = value(), box = stage.getBoundingClientRect();
  const scale = Math.min(box.width / (v.width || 16), box.height / (v.height || 9));
  return {scale: scale, x: (box.width - scale * v.width) / 2, y: (box.height - scale * v.height) / 2};
}

function toVideo(event) {
  const v = value(), box = stage.getBoundingClientRect(), f = fit();
  const x = (event.clientX - box.left - f.x) / f.scale, y = (event.clientY - box.top - f.y) / f.scale;
  return [Math.max(0, Math.min(v.width - 1, x)), Math.max(0, Math.min(v.height - 1, y))].map((n) => Math.round(10 * n) / 10);
}

function draw() {
  const v = value(), box = stage.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  canvas.width = box.width * ratio; canvas.height = box.height * ratio;
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  if (!v.src) return;
  const f = fit(), at = (x, y) => [f.x + x * f.scale, f.y + y * f.scale];
  for (const [x, y, inside] of v.clicks || []) {
    const [px, py] = at(x, y);
    pen.beginPath(); pen.arc(px, py, 6, 0, 7); pen.fillStyle = inside ? '#0a7d4f' : '#b3261e'; pen.fill();
    pen.lineWidth = 2; pen.strokeStyle = '#fff'; pen.stroke();
    pen.beginPath(); pen.moveTo(px - 3, py); pen.lineTo(px + 3, py);
    if (inside) { pen.moveTo(px, py - 3); pen.lineTo(px, py + 3); }
    pen.stroke();
  }
  if (!drag) return;
  pen.strokeStyle = '#fff'; pen.lineWidth = 2;
  if (tool === 'paint' || tool === 'erase') {
    pen.lineWidth = 2 * radius * f.scale; pen.lineCap = pen.lineJoin = 'round'; pen.globalAlpha = 0.5;
    pen.strokeStyle = tool === 'paint' ? '#56b4e9' : '#000';
    pen.beginPath(); drag.forEach((p, i) => pen[i ? 'lineTo' : 'moveTo'](...at(...p)));
    if (drag.length === 1) pen.lineTo(at(...drag[0])[0] + 0.1, at(...drag[0])[1]);
    pen.stroke();
  } else if (drag.length > 1) {
    const [a, b] = [at(...drag[0]), at(...drag[drag.length - 1])];
    pen.shadowColor = '#000'; pen.shadowBlur = 3; pen.setLineDash([6, 4]);
    pen.strokeRect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
  }
}

canvas.addEventListener('pointerdown', (event) => {
  root.focus({preventScroll: true});
  if (!value().done || tool === 'look' || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  drag = [toVideo(event)]; draw();
});
canvas.addEventListener('pointermove', (event) => { if (drag) { drag.push(toVideo(event)); draw(); } });
canvas.addEventListener('pointercancel', () => { drag = null; draw(); });
canvas.addEventListener('pointerup', () => {
  if (!drag) return;
  const stroke = drag, [a, b] = [drag[0], drag[drag.length - 1]];
  const box = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const dragged = box[2] - box[0] > 4 && box[3] - box[1] > 4;
  drag = null; draw();
  if (tool === 'paint' || tool === 'erase') act('brush', {stroke: stroke, radius: radius, erase: tool === 'erase'});
  else if (tool === 'box') { if (dragged) act('box', {box: box}); }
  else if (tool === 'new') act('new', dragged ? {box: box} : {x: a[0], y: a[1]});
  else act('click', {x: a[0], y: a[1], inside: tool === 'plus'});
});

// ---- keys: only where no field is being typed in

const KEYS = {
  ArrowLeft: () => seek({by: -1}), ArrowRight: () => seek({by: 1}), Home: () => seek({go: 'first'}), End: () => seek({go: 'last'}),
  '[': () => seek({go: 'problem-'}), ']': () => seek({go: 'problem+'}), ',': () => seek({go: 'tube-'}), '.': () => seek({go: 'tube+'}),
  z: () => act('undo'), Z: () => act('redo'),
};
for (const [name, , , key] of TOOLS) KEYS[key] = () => { if (!toolButtons[name].disabled) choose(name); };
function onKey(event) {
  if (!element.isConnected) { document.removeEventListener('keydown', onKey); return; }
  const typing = event.target.closest('input, textarea, select, [contenteditable], [role=listbox], [role=tab], [role=slider]');
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !value().total || !KEYS[event.key]) return;
  if (event.shiftKey && event.key.startsWith('Arrow')) seek({by: event.key === 'ArrowLeft' ? -10 : 10});
  else KEYS[event.key]();
  event.preventDefault();
}
document.addEventListener('keydown', onKey);
new ResizeObserver(draw).observe(stage);
choose('look');
watch('value', show);
show();
