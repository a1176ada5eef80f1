// The picture, its tools and the selected object's buttons. Shows what the server sends and tells it what
// was done; it decides nothing. All text goes through textContent, so that a name is never markup.
const find = (name) => element.querySelector(name);
const root = find('.vt-viewer'), stage = find('.vt-stage'), image = find('.vt-image'), canvas = find('.vt-canvas');
const empty = find('.vt-empty'), emptyText = find('.vt-empty-text'), first = find('.vt-first'), busy = find('.vt-busy');
const slider = find('.vt-slider'), where = find('.vt-where'), message = find('.vt-message'), objectBar = find('.vt-object');
let tool = 'look', drag = null, hover = null, pending = null, radius = 12, busyTimer = null, shownSelected = null, playing = false;

const make = (tag, text, props) => Object.assign(document.createElement(tag), {textContent: text || ''}, props || {});
const value = () => props.value || {total: 0, all: [], clicks: []};
const offer = value().offer || 'Use the sample clip';  // the page's first value alone has it

function busySoon() { clearTimeout(busyTimer); busyTimer = setTimeout(() => { busy.hidden = false; }, 150); }
// An edit says which frame it was made on: the one that was seen.
function act(name, data) { play(false); busySoon(); trigger('act', Object.assign({name: name, on: value().position}, data || {})); }
function follow() { play(false); busySoon(); trigger('follow', {on: value().position}); }

// One request for another frame is on its way at a time; what is asked meanwhile becomes one request, so that
// dragging and holding a key end where they should. The server's answer bears the id of the request.
let number = 0, onItsWay = 0, goal = null, waiting = [], overdue = null;
function seek(data) {
  const v = value();
  if (!v.total || v.state === 'running') return;
  const request = Object.assign({}, data);
  if ('by' in request) { request.to = (goal === null ? v.position : goal) + request.by; delete request.by; }
  if ('to' in request) goal = request.to = Math.max(0, Math.min(v.total - 1, request.to));
  if ('go' in request) goal = null;
  const last = waiting[waiting.length - 1];
  if (last && !('go' in last || 'go' in request || 'pick' in last || 'pick' in request)) {
    if ('tube' in request || 'at' in request) { delete last.tube; delete last.at; }
    Object.assign(last, request);
  } else waiting.push(request);
  sendNext();
}
function sendNext() {
  if (onItsWay || !waiting.length) return;
  onItsWay = ++number;
  clearTimeout(overdue);
  overdue = setTimeout(() => { onItsWay = 0; sendNext(); }, 5000);
  trigger('seek', Object.assign(waiting.shift(), {request_id: onItsWay}));
}
function answered(v) {
  if (v.request_id === onItsWay) onItsWay = 0;
  if (!onItsWay && !waiting.length) goal = null;
  sendNext();
}
const pick = (by) => jump({pick: by, label: document.body.dataset.vtShownClass || ''});
const jump = (data) => { play(false); seek(data); };
const onWish = (event) => { if (element.isConnected) jump(event.detail); else document.removeEventListener('vt-seek', onWish); };
document.addEventListener('vt-seek', onWish);  // from the timeline

// ---- tools

const TOOLS = [
  ['look', 'Look', 'Look around; a click on an object selects it (v)', 'v'],
  ['plus', '+ Click', 'Click what belongs to the selected object (p)', 'p'],
  ['minus', '− Click', 'Click what does not belong to the selected object (m)', 'm'],
  ['box', 'Box', 'Drag a box around the selected object (b)', 'b'],
  ['paint', 'Paint', 'Paint on the mask (a)', 'a'],
  ['erase', 'Erase', 'Rub the mask out (e)', 'e'],
  ['new', 'New object', 'Click something new, or drag a box around it (n)', 'n'],
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
const atOnce = make('input', '', {type: 'checkbox', className: 'vt-at-once'});
const atOnceLabel = make('label', '', {className: 'vt-check', title: 'After each new object, carry it through the clip, forward and back'});
atOnceLabel.append(atOnce, make('span', 'follow it at once'));
const newName = make('input', '', {type: 'text', maxLength: 60, placeholder: 'name: object', className: 'vt-new-name', title: 'What the new object is called'});
newName.setAttribute('aria-label', 'Name of the new object');
find('.vt-tool-options').append(size, newName, atOnceLabel);
const undo = make('button', 'Undo', {type: 'button', title: 'Undo (z)', onclick: () => act('undo')});
const redo = make('button', 'Redo', {type: 'button', title: 'Redo (shift z)', onclick: () => act('redo')});
find('.vt-history').append(undo, redo);

function choose(name) {
  tool = name;
  for (const key in toolButtons) toolButtons[key].setAttribute('aria-pressed', String(key === name));
  canvas.dataset.tool = name;
  size.hidden = name !== 'paint' && name !== 'erase';
  atOnceLabel.hidden = newName.hidden = name !== 'new';
  hover = null; draw();
}

// ---- moving through the clip

const playButton = make('button', '', {type: 'button', className: 'vt-play', onclick: () => play(!playing)});
const STEPS = [
  ['|‹', 'First frame (Home)', {go: 'first'}], ['‹', 'One frame back (left arrow)', {by: -1}], playButton,
  ['›', 'One frame on (right arrow)', {by: 1}], ['›|', 'Last frame (End)', {go: 'last'}],
  ['‹ problem', 'Problem before ( [ )', {go: 'problem-'}], ['problem ›', 'Next problem ( ] )', {go: 'problem+'}],
];
const moveButtons = [];
for (const step of STEPS) {
  if (step === playButton) { find('.vt-steps').append(playButton); moveButtons.push(playButton); continue; }
  const [text, title, data] = step;
  const button = make('button', text, {type: 'button', title: title, onclick: () => jump(data)});
  button.setAttribute('aria-label', title);
  find('.vt-steps').append(button);
  moveButtons.push(button);
}
slider.oninput = () => jump({to: Number(slider.value)});

// The server draws every frame, so the pace is what it and the line give, at most the clip's own.
let asked = 0;
function play(on) {
  const v = value();
  playing = Boolean(on && v.total > 1 && v.state !== 'running');
  playButton.textContent = playing ? 'Pause' : 'Play';
  playButton.title = playing ? 'Pause (space)' : 'Play frame by frame (space)';
  if (playing) { asked = performance.now(); seek(v.position + 1 < v.total ? {by: 1} : {to: 0}); }
}
function playOn(v) {
  if (!playing) return;
  if (v.position + 1 >= v.total) { play(false); return; }
  const wait = Math.max(0, 1000 / (v.fps || 25) - (performance.now() - asked));
  setTimeout(() => { if (playing) { asked = performance.now(); seek({by: 1}); } }, wait);
}

// ---- the selected object

const swatch = make('span', '', {className: 'vt-swatch'}), title = make('strong', '', {className: 'vt-object-title'});
const label = make('input', '', {type: 'text', maxLength: 80, className: 'vt-label', placeholder: 'class name', title: 'Class name; Enter renames'});
label.setAttribute('aria-label', 'Class name of the object');
const other = make('select', '', {className: 'vt-other', title: 'The other object, for Merge and Swap'});
other.setAttribute('aria-label', 'Other object');
const button = (text, title, onclick) => make('button', text, {type: 'button', title: title, onclick: onclick});
const group = (name, ...items) => {
  const part = make('span', '', {className: 'vt-group vt-cluster'});
  part.setAttribute('role', 'group');
  part.setAttribute('aria-label', name);
  part.append(...items);
  return part;
};
const followButton = button('Follow', 'Carry its mask on this frame through the clip, forward and back (f)', () => follow());
const objectButtons = [
  button('Rename', 'Give the object this class name', () => act('relabel', {label: label.value})),
  followButton,
  button('Split', 'From this frame on it is another object', () => act('split')),
  button('Delete here', 'On this frame only', () => act('delete', {scope: 'frame'})),
  button('from here', 'Delete it on this frame and all after it', () => act('delete', {scope: 'onwards'})),
  button('whole', 'Delete the whole object', () => act('delete', {scope: 'tube'})),
];
const pairButtons = [
  button('Merge', 'The other object becomes part of this one', () => act('merge', {other: Number(other.value)})),
  button('Swap', 'The two ids were switched on this frame: swap them from here on', () => act('swap', {other: Number(other.value)})),
];
label.onkeydown = (event) => { if (event.key === 'Enter') act('relabel', {label: label.value}); };
objectBar.append(
  group('Object', swatch, title, label, objectButtons[0]),
  group('Through time', objectButtons[1], objectButtons[2]),
  group('Delete', ...objectButtons.slice(3)),
  group('Two objects', other, ...pairButtons),
);

// ---- SAM's masks of the last click: whole, part, subpart

const candidateBar = find('.vt-candidate'), candidate = make('output', '', {className: 'vt-candidate-text'});
const stepCandidate = (by) => { if (!candidateBar.hidden) act('candidate', {step: by}); };
candidateBar.append(
  button('‹ mask', 'The mask before, of the three that SAM has for this click (shift c)', () => stepCandidate(-1)),
  candidate,
  button('mask ›', 'The next mask, of the three that SAM has for this click (c)', () => stepCandidate(1)),
);

// ---- showing

function show() {
  const v = value();
  clearTimeout(busyTimer); busy.hidden = true; pending = null;
  document.body.dataset.vtState = v.state || 'empty';
  for (const step of document.querySelectorAll('.vt-way li')) {
    if (step.dataset.states.split(' ').includes(v.state || 'empty')) step.setAttribute('aria-current', 'step');
    else step.removeAttribute('aria-current');
  }
  image.hidden = !v.src;
  if (v.src) {
    if (image.getAttribute('src') !== v.src) image.src = v.src;
    image.alt = 'Frame ' + v.frame + ' with its objects drawn on it';
  } else {
    image.removeAttribute('src');
    first.hidden = Boolean(v.message);
    emptyText.textContent = v.message || 'Drop a video on the left, or press “' + offer + '”.';
  }
  empty.hidden = Boolean(v.src);
  slider.max = Math.max(0, v.total - 1); slider.value = v.position || 0;
  slider.disabled = !v.total || v.state === 'running';
  for (const item of moveButtons) item.disabled = slider.disabled;
  where.textContent = v.total ? 'frame ' + v.frame + ' · ' + v.pts.toFixed(2) + ' s · ' + (v.position + 1) + ' of ' + v.total : '';
  message.textContent = v.src ? v.message || '' : '';
  candidateBar.hidden = !v.candidate; candidate.textContent = v.candidate || '';
  undo.disabled = !v.edits; redo.disabled = !v.undone;
  undo.textContent = v.edits ? 'Undo (' + v.edits + ')' : 'Undo';
  for (const key in toolButtons) toolButtons[key].disabled = !v.done && key !== 'look';
  if (!v.done && tool !== 'look') choose('look');
  showObject(v);
  draw();
  // A button that has just been disabled keeps the focus and swallows every key.
  if (document.activeElement && document.activeElement.disabled && root.contains(document.activeElement)) root.focus({preventScroll: true});
  answered(v);
  if (v.added && atOnce.checked && tool === 'new') follow();
  else playOn(v);
}

function showObject(v) {
  const all = v.all || [], mine = all.find((item) => item.id === v.selected);
  swatch.style.background = mine ? mine.color : 'transparent';
  title.textContent = mine ? 'Object ' + mine.id : 'No object';
  if (!mine) { label.value = ''; shownSelected = null; }
  else if (shownSelected !== mine.id + mine.label) { label.value = mine.label; shownSelected = mine.id + mine.label; }
  const others = all.filter((item) => item.id !== v.selected), keep = other.value;
  other.replaceChildren(...others.map((item) => make('option', item.label + ' ' + item.id, {value: item.id})));
  if (!others.length) other.append(make('option', 'no other'));
  if (others.some((item) => String(item.id) === keep)) other.value = keep;
  for (const item of [label, ...objectButtons]) item.disabled = !mine;
  for (const item of [other, ...pairButtons]) item.disabled = !mine || !others.length;
  followButton.classList.toggle('vt-next', Boolean(mine && v.added));
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

function dot(pen, px, py, inside) {
  pen.beginPath(); pen.arc(px, py, 6, 0, 7); pen.fillStyle = inside ? '#0a7d4f' : '#b3261e'; pen.fill();
  pen.lineWidth = 2; pen.strokeStyle = '#fff'; pen.stroke();
  pen.beginPath(); pen.moveTo(px - 3, py); pen.lineTo(px + 3, py);
  if (inside) { pen.moveTo(px, py - 3); pen.lineTo(px, py + 3); }
  pen.stroke();
}

function frameOf(pen, a, b) {
  pen.save();
  pen.strokeStyle = '#fff'; pen.lineWidth = 2; pen.shadowColor = '#000'; pen.shadowBlur = 3; pen.setLineDash([6, 4]);
  pen.strokeRect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
  pen.restore();
}

function draw() {
  const v = value(), box = stage.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  canvas.width = box.width * ratio; canvas.height = box.height * ratio;
  const pen = canvas.getContext('2d');
  pen.scale(ratio, ratio);
  if (!v.src) return;
  const f = fit(), at = (x, y) => [f.x + x * f.scale, f.y + y * f.scale];
  for (const [x, y, inside] of v.clicks || []) dot(pen, ...at(x, y), inside);
  // What was just done stays in sight until the server has answered.
  if (pending && pending.box) frameOf(pen, at(pending.box[0], pending.box[1]), at(pending.box[2], pending.box[3]));
  if (pending && pending.point) dot(pen, ...at(pending.point[0], pending.point[1]), pending.inside);
  const brush = tool === 'paint' || tool === 'erase', stroke = drag || (pending && pending.stroke);
  if (brush && stroke) {
    pen.lineWidth = 2 * radius * f.scale; pen.lineCap = pen.lineJoin = 'round'; pen.globalAlpha = 0.5;
    pen.strokeStyle = tool === 'paint' ? '#56b4e9' : '#000';
    pen.beginPath(); stroke.forEach((p, i) => pen[i ? 'lineTo' : 'moveTo'](...at(...p)));
    if (stroke.length === 1) pen.lineTo(at(...stroke[0])[0] + 0.1, at(...stroke[0])[1]);
    pen.stroke();
    pen.globalAlpha = 1;
  } else if (drag && drag.length > 1) frameOf(pen, at(...drag[0]), at(...drag[drag.length - 1]));
  if (brush && hover) {
    pen.lineWidth = 1.5; pen.strokeStyle = '#fff'; pen.shadowColor = '#000'; pen.shadowBlur = 2;
    pen.beginPath(); pen.arc(...at(...hover), radius * f.scale, 0, 7); pen.stroke();
  }
}

canvas.addEventListener('pointerdown', (event) => {
  root.focus({preventScroll: true});
  if (!value().done || event.button) return;
  if (tool === 'look') { const [x, y] = toVideo(event); jump({at: [x, y]}); return; }
  canvas.setPointerCapture(event.pointerId);
  drag = [toVideo(event)]; draw();
});
canvas.addEventListener('pointermove', (event) => {
  if (!value().done || tool === 'look') return;
  hover = toVideo(event);
  if (drag) drag.push(hover);
  if (drag || tool === 'paint' || tool === 'erase') draw();
});
canvas.addEventListener('pointerleave', () => { hover = null; draw(); });
canvas.addEventListener('pointercancel', () => { drag = null; draw(); });
canvas.addEventListener('pointerup', () => {
  if (!drag) return;
  const stroke = drag, [a, b] = [drag[0], drag[drag.length - 1]];
  const box = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
  const dragged = box[2] - box[0] > 4 && box[3] - box[1] > 4;
  drag = null;
  const point = {point: a, inside: tool !== 'minus'};
  if (tool === 'paint' || tool === 'erase') { pending = {stroke: stroke}; act('brush', {stroke: stroke, radius: radius, erase: tool === 'erase'}); }
  else if (tool === 'box') { if (dragged) { pending = {box: box}; act('box', {box: box}); } }
  else if (tool === 'new') { pending = dragged ? {box: box} : point; act('new', {label: newName.value.trim(), ...(dragged ? {box: box} : {x: a[0], y: a[1]})}); }
  else { pending = point; act('click', {x: a[0], y: a[1], inside: tool === 'plus'}); }
  draw();
});

// ---- keys: only where no field is being typed in

const KEYS = {
  ArrowLeft: () => jump({by: -1}), ArrowRight: () => jump({by: 1}), Home: () => jump({go: 'first'}), End: () => jump({go: 'last'}),
  ArrowUp: () => pick(-1), ArrowDown: () => pick(1), ' ': () => play(!playing),
  '[': () => jump({go: 'problem-'}), ']': () => jump({go: 'problem+'}), ',': () => jump({go: 'tube-'}), '.': () => jump({go: 'tube+'}),
  c: () => stepCandidate(1), C: () => stepCandidate(-1), z: () => act('undo'), Z: () => act('redo'), f: () => { if (!followButton.disabled) follow(); },
};
for (const [name, , , key] of TOOLS) KEYS[key] = () => { if (!toolButtons[name].disabled) choose(name); };
function onKey(event) {
  if (!element.isConnected) { document.removeEventListener('keydown', onKey); return; }
  const typing = event.target.closest('input:not([type=range]):not([type=checkbox]), textarea, select, dialog, [contenteditable], [role=listbox], [role=tab]');
  const pressing = event.key === ' ' && event.target.closest('button, a, input, summary');
  if (typing || pressing || event.ctrlKey || event.metaKey || event.altKey || !value().total || !KEYS[event.key]) return;
  if (value().state === 'running') return;
  if (event.shiftKey && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) jump({by: event.key === 'ArrowLeft' ? -10 : 10});
  else KEYS[event.key]();
  event.preventDefault();
}
document.addEventListener('keydown', onKey);
new ResizeObserver(draw).observe(stage);
choose('look');
play(false);
watch('value', show);
show();
