// Charts in SVG, drawn anew from the points they are given. Never keeps a point; colours are the style sheet's, by class.

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 150;
const TOP = 14;
const BOTTOM = 20;
const LEFT = 48; // for what is written beside the lines
const WINDOWS = [60, 120, 300, 600];
const GAP = 3.5; // seconds without a point: the line is broken there

/** A line is {class, value(point) -> number or null, isArea}; those of a stack lie upon each other. */
export class Chart {
  constructor(figure, { lines, isStacked = false, scale, written, told }) {
    Object.assign(this, { figure, lines, isStacked, scale, written, told });
    this.svg = figure.querySelector("svg");
    this.hint = Object.assign(document.createElement("p"), { className: "hint", hidden: true });
    this.hint.setAttribute("aria-hidden", "true");
    figure.append(this.hint);
    this.points = [];
    this.toldAt = 0;
    this.toldWindow = 0;
    new ResizeObserver(() => this.draw(this.points)).observe(figure);
    this.svg.addEventListener("pointermove", (event) => this.pointAt(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.pointAt(null));
  }

  /** The points, oldest first, each with `at` in seconds. */
  draw(points) {
    this.points = points;
    this.width = this.figure.clientWidth;
    if (!this.width || !points.length) return;
    this.end = points[points.length - 1].at;
    const age = this.end - points[0].at;
    this.window = WINDOWS.find((seconds) => age <= seconds) ?? WINDOWS.at(-1);
    this.seen = points.filter((point) => point.at >= this.end - this.window);
    const layers = this.layers();
    const { low, high, ticks } = this.scale(layers.flatMap((layer) => layer.tops).filter((value) => value !== null));
    this.y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
    const shapes = layers.flatMap((layer) => this.shapes(layer, low));
    const parts = [...this.grid(ticks), ...shapes, ...this.labels(ticks), ...this.mark()];
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(...parts);
    this.tell();
  }

  x(at) {
    return LEFT + (this.width - LEFT) * (1 - (this.end - at) / this.window);
  }

  layers() {
    let below = this.seen.map(() => 0);
    return this.lines.map((line) => {
      const values = this.seen.map(line.value);
      if (!this.isStacked) return { line, tops: values, bottoms: null };
      const bottoms = below;
      const tops = values.map((value, place) => bottoms[place] + (value ?? 0));
      below = tops;
      return { line, tops, bottoms };
    });
  }

  grid(ticks) {
    return ticks.map(([value]) => {
      const y = Math.round(this.y(value)) + 0.5;
      return made("line", { class: "grid", x1: LEFT, x2: this.width, y1: y, y2: y });
    });
  }

  labels(ticks) {
    const parts = ticks.map(([value, label]) => {
      const y = Math.round(this.y(value)) + 4;
      return made("text", { class: "label", x: LEFT - 7, y, "text-anchor": "end" }, label);
    });
    const minutes = this.window / 60;
    const baseline = HEIGHT - 5;
    parts.push(made("text", { class: "label", x: LEFT, y: baseline }, `${minutes} min ago`));
    if (this.width > 260) {
      const middle = minutes === 1 ? "30 s" : `${minutes / 2} min`;
      parts.push(made("text", { class: "label", x: (LEFT + this.width) / 2, y: baseline, "text-anchor": "middle" }, middle));
    }
    parts.push(made("text", { class: "label", x: this.width, y: baseline, "text-anchor": "end" }, "now"));
    return parts;
  }

  shapes({ line, tops, bottoms }, low) {
    const parts = [];
    for (const run of this.runs(tops)) {
      const top = run.map((place) => `${this.x(this.seen[place].at).toFixed(1)} ${this.y(tops[place]).toFixed(1)}`);
      if (bottoms || line.isArea) {
        const under = run.map((place) => {
          const y = this.y(bottoms ? bottoms[place] : low);
          return `${this.x(this.seen[place].at).toFixed(1)} ${y.toFixed(1)}`;
        });
        parts.push(made("path", { class: `area ${line.class}`, d: `M${top.join("L")}L${under.reverse().join("L")}Z` }));
      }
      if (!bottoms) parts.push(made("path", { class: `line ${line.class}`, d: `M${top.join("L")}` }));
    }
    return parts;
  }

  /** Places of points that belong together: neither a value nor a moment is missing between them. */
  runs(values) {
    const runs = [];
    let last = null;
    values.forEach((value, place) => {
      if (value === null) return;
      if (last === null || this.seen[place].at - this.seen[last].at > GAP) runs.push([]);
      runs.at(-1).push(place);
      last = place;
    });
    return runs;
  }

  pointAt(x) {
    this.pointer = x;
    if (this.points.length) this.draw(this.points);
  }

  /** The line under the pointer, and what the figures were there. */
  mark() {
    this.hint.hidden = true;
    if (this.pointer === null || this.pointer === undefined) return [];
    const at = this.end - this.window * (1 - (this.pointer - LEFT) / (this.width - LEFT));
    const nearest = this.seen.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
    if (Math.abs(nearest.at - at) > Math.max(GAP, this.window / 50)) return [];
    const x = this.x(nearest.at);
    this.hint.textContent = this.written(nearest);
    this.hint.hidden = false;
    const half = this.hint.offsetWidth / 2;
    this.hint.style.setProperty("left", `${Math.min(Math.max(x, half), this.width - half)}px`);
    return [made("line", { class: "pointer", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM })];
  }

  /** The chart in words, for who does not see it: twice a minute, and when it begins to reach further back. */
  tell() {
    const now = Date.now();
    if (now - this.toldAt < 30_000 && this.window === this.toldWindow) return;
    this.toldAt = now;
    this.toldWindow = this.window;
    this.svg.setAttribute("aria-label", this.told(this.seen, this.window / 60));
  }
}

/** From nothing to everything. */
export function shares() {
  return { low: 0, high: 1, ticks: [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]] };
}

/** From nothing to a round figure above all. */
export function amounts(written) {
  return (values) => {
    const most = Math.max(1, ...values);
    const size = 10 ** Math.floor(Math.log10(most));
    const high = [1, 2, 3, 4, 5, 8, 10].map((step) => step * size).find((round) => round >= most);
    return { low: 0, high, ticks: [[0, "0"], [high / 2, written(high / 2)], [high, written(high)]] };
  };
}

/** Powers of ten around all of them: what `placed` makes of a value lies straight. */
export function powers(written) {
  return (values) => {
    const low = values.length ? Math.floor(Math.min(...values)) : -5;
    const high = Math.max(low + 2, values.length ? Math.ceil(Math.max(...values)) : -2);
    const ticks = Array.from({ length: high - low + 1 }, (_, step) => [low + step, written(10 ** (low + step))]);
    return { low, high, ticks };
  };
}

function made(name, attributes, text) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
