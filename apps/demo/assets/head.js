// The keys, as an overlay: a modal dialog keeps the focus inside, closes on Escape and gives the focus back.
const find = (name) => element.querySelector(name);
const keys = find('.vt-keys'), open = () => { if (!document.querySelector('dialog[open]')) keys.showModal(); };
find('.vt-keys-open').onclick = open;
find('.vt-keys-close').onclick = () => keys.close();
keys.onclick = (event) => { if (event.target === keys) keys.close(); };  // beside the box

function onKey(event) {
  if (!element.isConnected) { document.removeEventListener('keydown', onKey); return; }
  const typing = event.target.closest('input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]');
  if (event.key !== '?' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  open();
  event.preventDefault();
}
document.addEventListener('keydown', onKey);
