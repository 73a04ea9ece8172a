/** Where the time of a batch went: a bar with a part for each place, and the figures. */
import { shown, svg } from "./plot.js";

const PLACES = ["network", "waiting", "loop", "threads", "processes"];
const WIDTH = 100;
const HEIGHT = 8;

/**
 * Show a bar, in the place of the one that the element has.
 * @param {Element} parent
 * @param {Object<string, number>} times  in milliseconds, by place
 */
export function bar(parent, times) {
  const image = parent.querySelector("svg") ?? parent.appendChild(svg("svg", {
    class: "time", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
  }));
  const all = PLACES.reduce((sum, place) => sum + times[place], 0) || 1;
  let left = 0;
  const parts = PLACES.map((place) => {
    const width = (WIDTH * times[place]) / all;
    left += width;
    return svg("rect", { class: place, x: left - width, width, height: HEIGHT });
  });
  image.replaceChildren(...parts);
  const words = PLACES.filter((place) => times[place]).map((place) => `${place} ${seconds(times[place])}`);
  image.setAttribute("aria-label", `Time: ${words.join(", ") || "none yet"}`);
}

/** Name the parts of a bar, with their times where they are given. */
export function legend(list, times) {
  const items = PLACES.map((place) => {
    const item = Object.assign(document.createElement("li"), { className: place });
    item.textContent = times ? `${place} ${seconds(times[place])}` : place;
    return item;
  });
  list.replaceChildren(...items);
}

function seconds(ms) {
  return ms < 1000 ? `${shown(ms)} ms` : `${shown(ms / 1000)} s`;
}
