/**
 * The plots of a report and of a live page. `show` takes a frame, which has everything that the page shows: once from
 * the page itself and, during a run, every second from its server.
 */
const HEIGHT = 176;
const NEAREST = 2; // seconds: the closest zoom
const GIVE_UP = 10; // failed attempts to reconnect
const MARKS = [0, 50, 90, 99, 99.9, 99.99, 99.999];
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600, 7200, 14400, 43200, 86400];
const FONT = "11px system-ui, sans-serif";

const byId = (id) => document.getElementById(id);
const plots = new Map();
const grids = new Map();
const shown = new Map();
const scheme = matchMedia("(prefers-color-scheme: dark)");
let data = { at: [], stride: 1, errors: [], plots: [] };
let zoom = null; // [from, to] in seconds, or null for the whole run
let moment = null; // index of the selected moment, or null

const nines = (percent) => -Math.log10(Math.max(1 - percent / 100, 1e-5));
const percentage = (nine) => +(100 * (1 - 10 ** -nine)).toPrecision(6);
const begin = () => Math.max((data.at[0] ?? 0) - 1, 0);
const end = () => Math.max(data.at.at(-1) ?? 0, begin() + 1);
const span = () => zoom ?? [begin(), end()];

function element(name, className = "", text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text });
}

/** For the axes: few characters. */
function short(value) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return +(value / size).toPrecision(4) + letter;
  }
  return String(+value.toPrecision(4));
}

/** Seconds of the run: 12.5 s, 20:00, 1:00:00. */
function clock(seconds) {
  if (seconds < 120) return `${+seconds.toFixed(1)} s`;
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, number) => (number ? String(part).padStart(2, "0") : part)).join(":");
}

/** For captions: two decimals for small values. */
function exact(value) {
  return value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 2 : 0 });
}

/** The indices of values with gaps around them: a line through one or two points is too short to be seen. */
function alone(values) {
  const found = [];
  let run = [];
  values.forEach((value, index) => {
    if (value !== null) run.push(index);
    if (value === null || index === values.length - 1) {
      if (run.length < 3) found.push(...run);
      run = [];
    }
  });
  return found.length ? found : null;
}

/** The top of the value axis: thresholds are in view unless they are far above the values. */
function top(spec, most) {
  const near = spec.bounds.map((bound) => bound.value).filter((value) => value <= most * 3);
  return Math.max(most ?? 0, ...near) * 1.08 || 1;
}

class Plot {
  figure = element("figure");
  #spec;
  #canvas = element("div", "canvas");
  #caption = element("figcaption");
  #outputs = [];
  #bounds = element("ul");
  #colours;
  #moved = false;
  #sizes = new ResizeObserver(() => this.#resize());

  constructor(parent, spec) {
    this.#spec = spec;
    this.figure.dataset.key = spec.key;
    this.#caption.append(element("div", "title", spec.title));
    spec.series.forEach((series, number) => {
      const key = element("span", `key s${number}`, spec.series.length > 1 ? `${series.name} ` : "");
      this.#outputs.push(key.appendChild(element("output")));
      this.#outputs[number].setAttribute("aria-live", "off");
      this.#caption.append(key);
    });
    this.#caption.append(this.#bounds);
    this.figure.append(this.#caption, this.#canvas);
    parent.append(this.figure);
    this.#canvas.setAttribute("role", "img");
    if (spec.kind !== "time") this.#reachable();
    this.colour();
    this.u = new uPlot(this.#options(), this.#columns(), this.#canvas);
    this.#sizes.observe(this.#canvas);
  }

  remove() {
    this.#sizes.disconnect();
    this.u.destroy();
    this.figure.remove();
  }

  get timed() {
    return this.#spec.kind === "time";
  }

  get #x() {
    if (this.timed) return data.at;
    return this.#spec.kind === "bars"
      ? this.#spec.x.slice(1).map((edge, number) => (edge + this.#spec.x[number]) / 2)
      : this.#spec.x;
  }

  #columns() {
    return [this.#x, ...this.#spec.series.map((series) => series.values)];
  }

  update(spec) {
    this.#spec = spec;
    this.#bounds.replaceChildren(
      ...spec.bounds.map((bound) => element("li", bound.passed ? "ok" : "bad", bound.text)),
    );
    const values = spec.series[0].values.filter((value) => value !== null);
    const range = values.length ? `${exact(Math.min(...values))} to ${exact(Math.max(...values))}` : "no values";
    this.#canvas.setAttribute("aria-label", `${spec.title}: ${range}`);
    this.u.setData(this.#columns());
    this.read(this.timed ? moment : null);
  }

  /** Show the values at an index; without one, the latest. */
  read(index) {
    const { kind, x, series } = this.#spec;
    series.forEach(({ values }, number) => {
      const value = index === null ? values.findLast((one) => one !== null) : values[index];
      let text = this.timed || index !== null ? exact(value) : "";
      if (index !== null && kind === "bars") text = `${exact(x[index])} to ${exact(x[index + 1])} ms: ${text}`;
      if (index !== null && kind === "curve") text = `p${percentage(x[index])}: ${text} ms`;
      this.#outputs[number].textContent = text;
    });
  }

  /** Move the cursor of this plot alone. */
  point(index) {
    const left = index === null ? -10 : this.u.valToPos(this.u.data[0][index], "x");
    this.u.setCursor({ left, top: 0 }, false);
    this.read(index);
  }

  /** Take the colours from the surrounding elements: they are defined in the style sheet only. */
  colour() {
    const of = (node) => getComputedStyle(node).color;
    const line = getComputedStyle(this.figure).borderTopColor;
    const probe = this.#caption.appendChild(element("span", "bad"));
    const bad = of(probe);
    probe.className = "ok";
    const ok = of(probe);
    probe.remove();
    this.#colours = { ink: of(this.#canvas), line, ok, bad, series: this.#outputs.map((one) => of(one.parentElement)) };
    this.u?.redraw(false);
  }

  #resize() {
    const width = this.#canvas.clientWidth;
    if (width > 0 && width !== this.u.width) this.u.setSize({ width, height: HEIGHT });
  }

  /** Let the arrow keys move the cursor of a plot that is not on the time line. */
  #reachable() {
    this.#canvas.tabIndex = 0;
    this.#canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const index = Math.min(Math.max((this.u.cursor.idx ?? -1) + step, 0), this.u.data[0].length - 1);
      this.point(index);
    });
  }

  #options() {
    const colours = () => this.#colours;
    const axis = { font: FONT, stroke: () => colours().ink };
    const lines = { grid: { stroke: () => colours().line, width: 1 }, ticks: { show: false } };
    const bars = this.#spec.kind === "bars";
    const series = this.#spec.series.map((_, number) => ({
      stroke: () => colours().series[number],
      width: 1.5,
      points: {
        fill: () => colours().series[number],
        filter: (u, index, shown) => (shown ? null : alone(u.data[index])),
      },
      ...(bars ? { fill: () => colours().series[number], paths: uPlot.paths.bars({ size: [0.9] }), points: { show: false } } : {}),
    }));
    return {
      width: this.#canvas.clientWidth || 320,
      height: HEIGHT,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: this.timed, y: false, setScale: false, dist: 4 },
        bind: {
          dblclick: () => () => (this.timed ? zoomTo(null) : null),
          mousemove: (_u, _target, handle) => this.#byHand(handle),
          mouseleave: (_u, _target, handle) => this.#byHand(handle),
        },
      },
      scales: {
        x: { time: false, range: (_, low, high) => this.#across(low, high) },
        y: { range: (_, low, high) => [0, top(this.#spec, high)] },
      },
      axes: [
        { ...axis, ...lines, grid: { show: false }, size: 28, ...this.#below() },
        { ...axis, ...lines, size: 48, values: (_, marks) => marks.map(short) },
      ],
      series: [{}, ...series],
      hooks: {
        setCursor: [() => this.#pointed()],
        setSelect: [(u) => this.#selected(u)],
        draw: [(u) => this.#over(u)],
      },
    };
  }

  #across(low, high) {
    if (this.timed) return span();
    const { kind, x } = this.#spec;
    return kind === "bars" ? [0, x.at(-1)] : [low, high > low ? high : low + 1];
  }

  #below() {
    if (this.#spec.kind !== "curve") {
      return this.timed ? { incrs: STEPS, values: (_, marks) => marks.map(clock) } : { values: (_, marks) => marks.map(short) };
    }
    return { splits: () => MARKS.map(nines), values: () => MARKS, filter: (_, marks) => marks };
  }

  /** Mark moves of the pointer: uPlot also moves its cursor when a scale changes. */
  #byHand(handle) {
    return (event) => {
      this.#moved = true;
      handle(event);
      this.#moved = false;
    };
  }

  #pointed() {
    if (!this.#moved) return;
    const index = this.u.cursor.idx ?? null;
    if (this.timed) look(index, this);
    else this.read(index);
  }

  #selected(u) {
    const { left, width } = u.select;
    if (width > 0) zoomTo([u.posToVal(left, "x"), u.posToVal(left + width, "x")]);
    u.setSelect({ left: 0, width: 0 }, false);
  }

  /** Draw thresholds and error marks over the lines. */
  #over(u) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.lineWidth = ratio;
    const stroke = (colour, dash, from, to) => {
      ctx.strokeStyle = colour;
      ctx.setLineDash(dash.map((length) => length * ratio));
      ctx.beginPath();
      ctx.moveTo(...from);
      ctx.lineTo(...to);
      ctx.stroke();
    };
    for (const bound of this.#spec.bounds) {
      const y = u.valToPos(bound.value, "y", true);
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      stroke(bound.passed ? this.#colours.ok : this.#colours.bad, [6, 4], [bbox.left, y], [bbox.left + bbox.width, y]);
    }
    if (this.timed) {
      const [from, to] = span();
      data.at.forEach((at, index) => {
        if (!data.errors[index] || at < from || at > to) return;
        const x = u.valToPos(at, "x", true);
        stroke(this.#colours.bad, [], [x, bbox.top + bbox.height], [x, bbox.top + bbox.height - 10 * ratio]);
      });
    }
    ctx.restore();
  }
}

const timed = () => [...plots.values()].filter((plot) => plot.timed);

/** Select a moment in all plots; the cursor of `pointed` is already there. */
function look(index, pointed = null) {
  moment = index;
  for (const plot of timed()) {
    if (plot === pointed) plot.read(index);
    else plot.point(index);
  }
  const [from, to] = span();
  const slider = byId("moment");
  slider.min = from;
  slider.max = to;
  slider.value = index === null ? to : data.at[index];
  const errors = index === null ? 0 : data.errors[index];
  const where = index === null ? `${clock(from)} to ${clock(to)}` : clock(data.at[index]);
  byId("now").textContent = where + (errors ? `, ${exact(errors)} ${errors === 1 ? "error" : "errors"}` : "");
  slider.setAttribute("aria-valuetext", byId("now").textContent);
}

/** Show a part of the run in all plots; with null, the whole run. */
function zoomTo(wanted) {
  zoom = null;
  if (wanted) {
    const wide = Math.max(wanted[1] - wanted[0], NEAREST);
    const from = Math.max(Math.min(wanted[0], end() - wide), begin());
    if (wide < end() - begin()) zoom = [from, from + wide];
  }
  const [min, max] = span();
  for (const plot of timed()) plot.u.setScale("x", { min, max });
  byId("wider").disabled = byId("whole").disabled = zoom === null;
  byId("closer").disabled = max - min <= NEAREST;
  const there = moment !== null && data.at[moment] >= min && data.at[moment] <= max;
  // uPlot applies the new scale in a microtask; positions are right only after it.
  queueMicrotask(() => look(there ? moment : null));
}

/** Scale the visible span by a factor, around the selected moment. */
function widen(factor) {
  const [from, to] = span();
  const middle = moment === null ? (from + to) / 2 : data.at[moment];
  zoomTo([middle - ((middle - from) * factor), middle + ((to - middle) * factor)]);
}

function nearest(at) {
  let found = null;
  data.at.forEach((other, index) => {
    if (found === null || Math.abs(other - at) < Math.abs(data.at[found] - at)) found = index;
  });
  return found;
}

function grid(group) {
  if (!grids.has(group)) {
    const section = byId("plots").appendChild(element("div"));
    section.append(element("h2", "", group));
    grids.set(group, section.appendChild(element("div", group === "Latencies" ? "grid pairs" : "grid")));
  }
  return grids.get(group);
}

/** Update existing plots, create new ones, remove old ones, and put all of them in order. */
function arrange(specs) {
  const fresh = specs.filter((spec) => !plots.has(spec.key));
  const gone = [...plots.keys()].filter((key) => !specs.some((spec) => spec.key === key));
  for (const key of gone) {
    plots.get(key).remove();
    plots.delete(key);
  }
  for (const spec of fresh) plots.set(spec.key, new Plot(grid(spec.group), spec));
  for (const spec of specs) plots.get(spec.key).update(spec);
  if (!fresh.length) return;
  for (const group of new Set(specs.map((spec) => spec.group))) byId("plots").append(grid(group).parentElement);
  for (const spec of specs) grid(spec.group).append(plots.get(spec.key).figure);
}

function remark(text) {
  const each = data.stride > 1 ? `Two points stand for ${2 * data.stride} s: the least and the largest value. ` : "";
  const none = timed().length ? "" : "There is not enough data for plots over time. ";
  const cut = data.cut ? "There are more figures than plots: the others are in the tables and in the JSON report. " : "";
  byId("remark").textContent = each + none + cut + text;
}

/** Replace the HTML of a section if it differs, unless the reader has focus or a selection in it. */
function put(id, html) {
  const place = byId(id);
  const selected = getSelection();
  const busy = place.contains(document.activeElement) || (!selected.isCollapsed && selected.containsNode(place, true));
  if (busy || shown.get(id) === html) return;
  place.innerHTML = html;
  shown.set(id, html);
}

function icon(state) {
  const probe = document.body.appendChild(element("span", state === "passed" ? "ok" : state === "running" ? "dim" : "bad"));
  const colour = getComputedStyle(probe).color;
  probe.remove();
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`;
  document.querySelector("link[rel=icon]").href = `data:image/svg+xml,${encodeURIComponent(picture)}`;
}

function show(next) {
  data = next.plots;
  if (next.title) document.title = next.title;
  for (const [id, html] of Object.entries(next.sections ?? {})) put(id, html);
  if (moment !== null && moment >= data.at.length) moment = null;
  arrange(data.plots);
  byId("tools").hidden = !timed().length;
  remark(next.remark ?? "");
  icon(next.state);
  zoomTo(zoom);
}

/** Follow the run until its last frame. */
function follow() {
  const source = new EventSource("events");
  let failed = 0;
  source.onmessage = (event) => {
    failed = 0;
    const next = JSON.parse(event.data);
    show(next);
    if (next.state !== "running") source.close();
  };
  source.onerror = () => {
    failed += 1;
    const gone = source.readyState === EventSource.CLOSED || failed >= GIVE_UP;
    if (gone) source.close();
    remark(gone ? "The load generator does not answer any more; this is the last state it sent." : "Reconnecting.");
  };
}

function recolour() {
  for (const plot of plots.values()) plot.colour();
}

byId("moment").addEventListener("input", (event) => look(nearest(+event.target.value)));
byId("closer").addEventListener("click", () => widen(0.5));
byId("wider").addEventListener("click", () => widen(2));
byId("whole").addEventListener("click", () => zoomTo(null));
byId("plots").addEventListener("keydown", (event) => {
  if (event.key === "Escape") zoomTo(null);
});
scheme.addEventListener("change", recolour);
// Printing uses light colours, so the canvases have to be redrawn.
matchMedia("print").addEventListener("change", recolour);

show(JSON.parse(byId("data").textContent));
if ("events" in document.documentElement.dataset) follow();
