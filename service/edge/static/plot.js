/** A small plot that moves: the last two minutes of one figure, a point a second. */
const KEPT = 120;
const WIDTH = 240;
const HEIGHT = 56;
const STEP = WIDTH / (KEPT - 1);
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Make an element of an image. */
export function svg(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function html(name, className) {
  return Object.assign(document.createElement(name), { className });
}

export class Plot {
  #values = [];
  #label;
  #unit;
  #number = html("output", "number");
  #range = html("span", "range");
  #area = svg("path", { class: "area" });
  #line = svg("path", { class: "line" });
  #moving = svg("g", {});
  #image = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });

  /**
   * @param {Element} parent
   * @param {string} id  of its number
   * @param {string} label
   * @param {string} unit  "" for counts
   */
  constructor(parent, id, label, unit) {
    this.#label = label;
    this.#unit = unit;
    this.#number.id = id;
    this.#number.setAttribute("aria-live", "off"); // once a second is too often to be announced
    this.#number.textContent = "–";
    this.#image.setAttribute("aria-label", `${label}, nothing yet`);
    this.#moving.append(this.#area, this.#line);
    this.#image.append(this.#moving);
    const figure = html("figure", "plot");
    const caption = html("figcaption", "");
    const name = html("span", "name");
    name.textContent = label;
    caption.append(name, this.#number);
    figure.append(caption, this.#image, this.#range);
    parent.append(figure);
  }

  /** Forget everything: what comes next is another service's. */
  clear() {
    this.#values = [];
  }

  /** @param {number} value */
  add(value) {
    this.#values.push(value);
    if (this.#values.length > KEPT) this.#values.shift();
    const most = Math.max(...this.#values);
    const least = Math.min(...this.#values);
    this.#number.textContent = shown(value) + this.#unit;
    this.#range.textContent = `${shown(least)} to ${shown(most)}${this.#unit}`;
    this.#image.setAttribute("aria-label", `${this.#label}, the last two minutes: ${this.#range.textContent}`);
    this.#draw(most);
    if (!still.matches && this.#values.length > 1) {
      this.#moving.animate([{ transform: `translateX(${STEP}px)` }, { transform: "none" }], 950);
    }
  }

  #draw(most) {
    const top = most > 0 ? most * 1.1 : 1;
    const first = WIDTH - (this.#values.length - 1) * STEP;
    const points = this.#values.map((value, index) => {
      const y = HEIGHT - 1 - (value / top) * (HEIGHT - 4);
      return `${(first + index * STEP).toFixed(1)} ${y.toFixed(1)}`;
    });
    this.#line.setAttribute("d", `M${points.join("L")}`);
    this.#area.setAttribute("d", `M${first.toFixed(1)} ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`);
  }
}

/** Three digits are enough to see what moves. */
export function shown(value) {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : 1;
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}
