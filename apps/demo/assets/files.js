// The prepared files as links, and the overlay to play. Names go through textContent.
const find = (name) => element.querySelector(name);
const list = find('.vt-file-list'), video = find('video');
const make = (tag, props) => Object.assign(document.createElement(tag), props);

function size(bytes) {
  if (bytes < 1e6) return Math.max(1, Math.round(bytes / 1e3)) + ' kB';
  return (bytes / 1e6).toFixed(1) + ' MB';
}

function show() {
  const v = props.value || {};
  list.replaceChildren(...(v.files || []).map((file) => {
    const line = make('li', {});
    line.append(
      make('a', {href: file.address, download: file.name, textContent: file.name}),
      make('span', {className: 'vt-muted', textContent: ' ' + size(file.size)}),
    );
    return line;
  }));
  video.hidden = !v.video;
  if (v.video && video.getAttribute('src') !== v.video) video.src = v.video;
}
watch('value', show);
show();
