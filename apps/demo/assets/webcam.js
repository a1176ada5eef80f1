// Records a clip in the browser and puts it into the upload field: from there on it is a file like any other.
const find = (name) => element.querySelector(name);
const box = find('.vt-webcam-box'), live = find('.vt-webcam-live'), text = find('.vt-webcam-text'), record = find('.vt-webcam-record');
const LONGEST = 30, KINDS = ['video/mp4;codecs=avc1.42E01E', 'video/webm;codecs=vp9', 'video/webm;codecs=vp8', 'video/webm'];
const WHY = {
  NotAllowedError: 'The browser does not allow the camera here. Allow it in the address bar, then try again.',
  NotFoundError: 'No camera was found. Connect one, or upload a file.',
  NotReadableError: 'The camera is in use by another program. Close that, then try again.',
};
let stream = null, recorder = null, parts = [], begun = 0, clock = null, wanted = false;

async function open() {
  text.textContent = 'Asking for the camera …';
  record.disabled = true; record.textContent = 'Record';
  box.showModal();
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    text.textContent = 'A camera can be used only over https or on this machine itself. Upload a file instead.';
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}, height: {ideal: 720}}, audio: false});
  } catch (error) {
    text.textContent = WHY[error.name] || 'The camera does not start. Upload a file instead.';
    return;
  }
  if (!box.open) { release(); return; }
  live.srcObject = stream;
  try {
    await live.play();
  } catch (error) {  // most often the box was closed before the first picture came
    if (box.open) text.textContent = 'The camera does not start. Upload a file instead.';
    return;
  }
  if (!box.open) return;
  text.textContent = 'Without sound, at most ' + LONGEST + ' seconds. Nothing is kept until you press Stop and use.';
  record.disabled = false;
}

function release() {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = null; live.srcObject = null;
  clearInterval(clock);
}

function begin() {
  const kind = KINDS.find((name) => MediaRecorder.isTypeSupported(name));
  parts = []; wanted = false; begun = performance.now();
  recorder = new MediaRecorder(stream, {mimeType: kind, videoBitsPerSecond: 6e6});
  recorder.ondataavailable = (event) => { if (event.data.size) parts.push(event.data); };
  recorder.onstop = finish;
  recorder.start(1000);
  record.textContent = 'Stop and use';
  clock = setInterval(() => {
    const seconds = (performance.now() - begun) / 1000;
    text.textContent = 'Recording: ' + seconds.toFixed(1) + ' s of ' + LONGEST;
    if (seconds >= LONGEST) stop();
  }, 100);
}

function stop() { wanted = true; recorder.stop(); }

function finish() {
  const kind = recorder.mimeType.split(';')[0];
  recorder = null;
  release();
  if (box.open) box.close();
  if (!wanted || !parts.length) return;
  const now = new Date(), two = (n) => String(n).padStart(2, '0');
  const name = 'webcam ' + two(now.getHours()) + '-' + two(now.getMinutes()) + '-' + two(now.getSeconds()) + (kind === 'video/mp4' ? '.mp4' : '.webm');
  const carrier = new DataTransfer();
  carrier.items.add(new File(parts, name, {type: kind}));
  give(carrier.files, 20);
}

// The field is not there while it shows a file: clear it first, then wait for the empty one.
function give(files, tries) {
  const field = document.querySelector('#vt-file input[type=file]');
  if (field) { field.files = files; field.dispatchEvent(new Event('change', {bubbles: true})); return; }
  const clear = document.querySelector('#vt-file button[aria-label="Clear"]') || document.querySelector('#vt-file button[title="Clear"]');
  if (clear) clear.click();
  if (tries) setTimeout(() => give(files, tries - 1), 100);
}

find('.vt-webcam-open').onclick = open;
find('.vt-webcam-close').onclick = () => box.close();
record.onclick = () => (recorder ? stop() : begin());
box.addEventListener('close', () => { if (recorder) { wanted = false; recorder.stop(); } else release(); });
