// Appended to a report by the test: writes what a reader sees, as JSON, into the page.
const brightness = (color) => {
  const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  return color.endsWith(", 0)") && element.parentElement ? behind(element.parentElement) : color;
};
// Contrast as WCAG 2 defines it.
const contrast = (element) => {
  const [low, high] = [brightness(getComputedStyle(element).color), brightness(behind(element))].sort();
  return (high + 0.05) / (low + 0.05);
};
const isShown = (element) => element.checkVisibility() && element.getBoundingClientRect().height > 0;
const texts = () => [...document.querySelectorAll("h1, p, summary, dt, dd, li, td, th, pre, small, .name, .figure, .result")]
  .filter((element) => isShown(element) && element.innerText.trim());
const mark = (line) => (element) => {
  const [own, all] = [element.getBoundingClientRect(), line.getBoundingClientRect()];
  return {
    kind: element.classList[1],
    title: element.title,
    at: (own.left + own.width / 2 - all.left) / all.width,
    isInside: own.top >= all.top - 1 && own.bottom <= all.bottom + 1 && own.width >= 3,
  };
};
const row = (element) => {
  const line = element.querySelector(".line");
  return {
    id: element.id,
    isOpen: element.open,
    summary: element.querySelector("summary").innerText,
    text: element.innerText,
    height: element.querySelector("summary").getBoundingClientRect().height,
    marks: [...line.querySelectorAll(".mark")].map(mark(line)),
  };
};
const measured = {
  errors,
  width: document.documentElement.scrollWidth,
  background: brightness(getComputedStyle(document.body).backgroundColor),
  lowestContrast: Math.min(...texts().map(contrast)),
  smallestFont: Math.min(...texts().map((element) => parseFloat(getComputedStyle(element).fontSize))),
  rows: [...document.querySelectorAll("details.row")].map(row),
};
document.body.innerHTML = "<pre id=measured></pre>";
document.querySelector("#measured").textContent = JSON.stringify(measured);
