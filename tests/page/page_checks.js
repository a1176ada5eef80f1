// What a page can get wrong that eyes and screen readers notice; every function returns the faults as sentences.

const visible = (e) => e.checkVisibility({visibilityProperty: true, opacityProperty: true}) && e.getBoundingClientRect().width > 1;
const hasText = (e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
const tell = (e) => `${e.tagName}#${e.id}.${e.className} "${(e.textContent || '').trim().slice(0, 40)}"`;

// Siblings that lie over each other, text that is cut off, and what reaches beyond its column or the window.
function geometry() {
  const faults = [];
  const flows = (e) => !['absolute', 'fixed'].includes(getComputedStyle(e).position) || e.classList.contains('vt-tick');
  if (document.documentElement.scrollWidth > window.innerWidth) faults.push('the page scrolls sideways');
  for (const e of document.querySelectorAll('main *')) {
    if (!visible(e) || e.closest('svg')) continue;
    const all = [...e.children].filter((child) => visible(child) && flows(child) && !child.closest('.vt-track'));
    const boxes = all.map((child) => child.getBoundingClientRect());
    for (let i = 0; i < all.length; i++) for (let j = i + 1; j < all.length; j++) {
      const wide = Math.min(boxes[i].right, boxes[j].right) - Math.max(boxes[i].left, boxes[j].left);
      const high = Math.min(boxes[i].bottom, boxes[j].bottom) - Math.max(boxes[i].top, boxes[j].top);
      if (wide > 1 && high > 1) faults.push(`${tell(all[i])} overlaps ${tell(all[j])}`);
    }
    const style = getComputedStyle(e), cuts = style.overflowX !== 'visible' && style.textOverflow !== 'ellipsis';
    if (hasText(e) && cuts && e.scrollWidth > e.clientWidth + 1) faults.push(`${tell(e)} is cut off`);
    const column = e.closest('#vt-left, #vt-right, .vt-title');
    const beyond = column && e.getBoundingClientRect().right > column.getBoundingClientRect().right + 1;
    if (beyond) faults.push(`${tell(e)} reaches beyond its column`);
  }
  return faults;
}

// Text whose contrast with what is under it is less than WCAG's 4.5 to 1; what is disabled is exempt there, too.
function contrast() {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = numbers(color).map((n) => n / 255).map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const under = (e) => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor, opacity = numbers(color)[3];
      if (opacity === undefined || opacity > 0.5) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const faults = [];
  for (const e of document.querySelectorAll('main *')) {
    if (!hasText(e) || !visible(e) || e.closest(':disabled')) continue;
    const [dark, light] = [luminance(getComputedStyle(e).color), luminance(under(e))].sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) faults.push(`${tell(e)} has a contrast of ${ratio.toFixed(2)}`);
  }
  return faults;
}

// Controls that a screen reader has no name for.
function nameless() {
  const named = (e) => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.length || e.title || e.innerText?.trim();
  return [...document.querySelectorAll('main :is(button, input, select, textarea, [role=img], [role=dialog], [role=toolbar])')]
    .filter((e) => visible(e) && !e.disabled && !named(e)).map((e) => `${tell(e)} has no name`);
}

// The longest texts that each place must have room for.
function lengthen() {
  const set = (selector, text) => { document.querySelector(selector).textContent = text; };
  set('.vt-where', 'frame 17999 · 599.97 s · 18000 of 18000');
  set('.vt-message', 'Correct 1 on frame 17999 (1 point). ' + 'Another sentence about what was done. '.repeat(3));
  set('#vt-sample', 'Use ' + 'a_name_without_any_space'.repeat(3) + '.mp4');
  set('.vt-chip:last-child', 'a class with a long name, as some detectors have them (12)');
  set('#vt-status p', 'Start at 599.97 s is beyond the end of ' + 'a_long_name'.repeat(8) + '.mp4; choose an earlier start');
}
