// ---------------------------------------------------------------- charts of lines
// In place of a picture of lines, a drawing that answers: a point says its value, a name in the legend isolates its variant,
// switches show single seeds and logarithmic axes.

const SIDES = { left: 52, right: 14, top: 26, bottom: 44 };
const spelled = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });

function shape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The lines of a variant: one for each seed, and their mean with its band. A point is x, y, low, high and its seeds. */
function linesOf(curve, { grids }) {
  const seeds = curve.lines.map(({ seed, grid, values, low, high, front }) => ({
    curve,
    seed,
    points: grids[grid].map((x, i) => ({ x, y: values[i], low: low?.[i], high: high?.[i], front: front?.[i], count: 1 })).filter(({ y }) => y !== null),
  }));
  if (seeds.length === 1) return { seeds, mean: seeds[0] };
  const at = new Map();
  for (const { points } of seeds) for (const { x, y } of points) at.set(x, [...(at.get(x) ?? []), y]);
  const points = [...at].sort(([a], [b]) => a - b).map(([x, ys]) => ({
    x, y: ys.reduce((sum, y) => sum + y, 0) / ys.length, low: Math.min(...ys), high: Math.max(...ys), count: ys.length,
  }));
  return { seeds, mean: { curve, points } };
}

function roundTicks(low, high, count) {
  const least = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= least * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    found.push(...[1, 2, 5].map((one) => one * 10 ** power).filter((one) => one >= low && one <= high));
  }
  return found.length > 1 ? found : roundTicks(low, high, 4);
}

/** Return where values stand between two pixels, and the ticks of their axis. */
function scaleOf(values, log, from, to, count) {
  const turn = log ? Math.log10 : (value) => value;
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  if (low === high) return { place: () => (from + to) / 2, ticks: [low] };
  const [start, end] = [turn(low), turn(high)];
  const room = 0.03 * (end - start);
  const place = (value) => from + ((turn(value) - start + room) / (end - start + 2 * room)) * (to - from);
  return { place, ticks: log ? logTicks(low, high) : roundTicks(low, high, count) };
}

class LineChart {
  constructor(data, alt) {
    this.data = data;
    this.lines = data.curves.map((curve) => linesOf(curve, data));
    this.chosen = null;
    this.svg = shape("svg", { tabindex: 0, role: "application", "aria-label": `${alt}. Arrow keys go from point to point.` });
    this.tip = make("output", { className: "tip", hidden: true });
    this.plot = make("div", { className: "plot" }, this.svg, this.tip);
    this.tools = make("div", { className: "tools" });
    this.element = make("div", { className: "chart" }, make("p", { className: "title" }, data.title), this.tools, this.plot);
    this.addSwitches();
    this.addLegend();
    if (data.step > 1) this.element.append(make("p", { className: "key" }, `One point of ${data.step} is drawn.`));
    this.svg.addEventListener("pointermove", (event) => this.show(this.nearest(event)));
    this.svg.addEventListener("pointerdown", (event) => this.show(this.nearest(event)));
    this.svg.addEventListener("pointerleave", () => this.show(null));
    this.svg.addEventListener("blur", () => this.show(null));
    this.svg.addEventListener("keydown", (event) => this.walk(event));
    new ResizeObserver(([{ contentRect }]) => { if (contentRect.width) this.draw(contentRect.width); }).observe(this.plot);
  }

  addSwitches() {
    const { data } = this;
    const points = this.lines.flatMap(({ mean }) => mean.points);
    const offered = (title, wanted) => {
      const box = make("input", { type: "checkbox" });
      box.addEventListener("change", () => this.draw());
      if (wanted) this.tools.append(make("label", {}, box, title));
      return box;
    };
    this.single = offered("Single seeds", this.lines.some(({ seeds }) => seeds.length > 1));
    this.logX = offered("Log x axis", !data.ticks.length && points.filter(({ x }) => x > 0).length > 1 && points.every(({ x }) => x >= 0));
    this.logY = offered("Log y axis", points.every(({ y }) => y > 0));
    this.logX.checked = Boolean(data.log_x);
  }

  addLegend() {
    const { curves } = this.data;
    if (curves.length < 2) return;
    const legend = make("div", { className: "legend", role: "group", ariaLabel: "Isolate a variant" });
    this.buttons = curves.filter(({ colour }) => colour).map((curve) => {
      const swatch = shape("svg", { width: 28, height: 12, "aria-hidden": "true" }, this.swatch(curve));
      const button = make("button", { type: "button", ariaPressed: "false", value: curve.name }, swatch, make("span", {}, curve.name));
      button.addEventListener("click", () => this.isolate(this.chosen === curve.name ? null : curve.name));
      return button;
    });
    legend.append(...this.buttons);
    const others = curves.filter(({ colour }) => !colour);
    if (others.length) {
      this.others = make("select", {}, make("option", { value: "" }, "none"), ...others.map(({ name }) => make("option", {}, name)));
      this.others.addEventListener("change", () => this.isolate(this.others.value || null));
      legend.append(make("label", {}, `One of the ${others.length} grey`, this.others));
    }
    this.element.append(legend);
  }

  swatch({ colour, dashes }) {
    return shape("line", { x1: 0, x2: 28, y1: 6, y2: 6, stroke: colour, "stroke-width": 3, "stroke-dasharray": dashes });
  }

  isolate(name) {
    this.chosen = name;
    for (const button of this.buttons) button.ariaPressed = String(button.value === name);
    if (this.others) this.others.value = this.buttons.some((button) => button.value === name) ? "" : name ?? "";
    this.draw();
  }

  draw(width = this.width) {
    this.width = width;
    const height = Math.round(Math.max(240, Math.min(400, width * 0.5)));
    const { ticks } = this.data;
    const drawable = ({ x, y }) => (!this.logX.checked || x > 0) && (!this.logY.checked || y > 0);
    const drawn = this.lines.flatMap(({ mean, seeds }) => [mean, ...(this.single.checked && seeds.length > 1 && !this.aside(mean) ? seeds : [])]);
    const points = drawn.flatMap((line) => line.points.filter(drawable));
    if (!points.length) return;
    const high = points.flatMap(({ y, low, high }) => [y, ...[low, high].filter((v) => v !== undefined && v !== null && (!this.logY.checked || v > 0))]);
    this.x = scaleOf(points.map(({ x }) => x), this.logX.checked, SIDES.left, width - SIDES.right, Math.max(3, width / 110));
    this.y = scaleOf(high, this.logY.checked, height - SIDES.bottom, SIDES.top, 6);
    if (ticks.length) this.x.ticks = ticks.map((_, index) => index);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.marker = shape("circle", { r: 5, class: "marker", visibility: "hidden" });
    drawn.sort((a, b) => this.bright(a) - this.bright(b));
    this.live = drawn.filter((line) => !this.aside(line)).map((line) => ({ ...line, points: line.points.filter(drawable) }));
    this.svg.replaceChildren(...this.frame(width, height), ...drawn.flatMap((line) => this.stroke(line, line.points.filter(drawable))), this.marker);
    this.show(null);
  }

  /** The place on the axis that a point belongs to: points of variants stand side by side around a range. */
  at(x) { return this.data.ticks.length ? Math.round(x) : x; }

  aside({ curve }) { return this.chosen !== null && curve.name !== this.chosen; }

  bright({ curve }) { return this.chosen === null ? Boolean(curve.colour) : curve.name === this.chosen; }

  frame(width, height) {
    const { x_title, y_title, ticks } = this.data;
    const bottom = height - SIDES.bottom;
    const every = ticks.length ? Math.ceil((ticks.length * 64) / (width - SIDES.left - SIDES.right)) : 1;
    let last = -Infinity;
    const columns = this.x.ticks.flatMap((tick, index) => {
      const x = this.x.place(tick);
      if (index % every || x - last < 34) return [];
      last = x;
      const words = (ticks.length ? ticks[tick] : spelled.format(tick)).split("\n");
      const text = shape("text", { x, y: bottom + 15, "text-anchor": "middle" }, ...words.map((word, line) => shape("tspan", { x, dy: line ? 12 : 0 }, word)));
      return [shape("line", { x1: x, x2: x, y1: bottom, y2: bottom + 4, class: "tick" }), text];
    });
    const rows = this.y.ticks.flatMap((tick) => {
      const y = this.y.place(tick);
      return [
        shape("line", { x1: SIDES.left, x2: width - SIDES.right, y1: y, y2: y, class: "grid" }),
        shape("text", { x: SIDES.left - 6, y: y + 4, "text-anchor": "end" }, spelled.format(tick)),
      ];
    });
    return [
      ...rows,
      shape("line", { x1: SIDES.left, x2: width - SIDES.right, y1: bottom, y2: bottom, class: "tick" }),
      ...columns,
      shape("text", { x: 0, y: 12, class: "axis" }, y_title),
      shape("text", { x: width - SIDES.right, y: height - 4, "text-anchor": "end", class: "axis" }, x_title),
    ];
  }

  stroke(line, points) {
    const { colour, dashes } = line.curve;
    const way = (list) => `M${list.map(([x, y]) => `${this.x.place(x).toFixed(1)} ${this.y.place(y).toFixed(1)}`).join("L")}`;
    if (!points.length) return [];
    const one = line.seed && this.single.checked;
    const bright = this.bright(line);
    const grey = !colour && !bright;
    const opacity = this.aside(line) ? 0.12 : one ? 0.6 : 1;
    const style = { fill: "none", class: grey ? "grey" : "", "stroke-width": grey ? 0.8 : one ? 1 : 2.2, opacity };
    if (colour) style.stroke = colour;
    if (!one && dashes) style["stroke-dasharray"] = dashes;
    const found = [shape("path", { ...style, d: way(points.map(({ x, y }) => [x, y])) })];
    if (this.single.checked || !bright) return found;
    const opacityOfBand = this.chosen !== null || this.lines.length <= 6 ? 0.15 : 0.07;
    for (const part of this.banded(points)) {
      const d = `${way([...part.map(({ x, low }) => [x, low]), ...part.toReversed().map(({ x, high }) => [x, high])])}Z`;
      found.unshift(shape("path", { d, class: "band", fill: colour ?? "currentColor", opacity: opacityOfBand }));
    }
    return found;
  }

  /** The stretches of a line on which its band is known. */
  banded(points) {
    const known = ({ low, high }) => Number.isFinite(low) && Number.isFinite(high) && (!this.logY.checked || low > 0);
    const parts = [[]];
    for (const point of points) known(point) ? parts.at(-1).push(point) : parts.push([]);
    return parts.filter((part) => part.length > 1);
  }

  nearest(event) {
    const { left, top } = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    let [best, found] = [Infinity, null];
    for (const line of this.live) {
      line.points.forEach((point, index) => {
        const far = Math.hypot(this.x.place(point.x) - x, this.y.place(point.y) - y);
        if (far < best) [best, found] = [far, { line, index }];
      });
    }
    return found;
  }

  /** Say what is at a point: variant, seed, place and value. */
  show(spot) {
    this.spot = spot;
    this.tip.hidden = !spot;
    this.marker?.setAttribute("visibility", spot ? "visible" : "hidden");
    if (!spot) return;
    const { curve, seed, points } = spot.line;
    const { x, y, low, high, count } = points[spot.index];
    const { ticks, x_title, band } = this.data;
    const whose = count > 1 ? `mean of ${count} seeds, ${spelled.format(low)} to ${spelled.format(high)}` : seed ? `seed ${seed}` : "";
    const ends = band && low !== null && high !== null ? `${band}: ${spelled.format(low)} to ${spelled.format(high)}` : "";
    const where = `${x_title.split(" (")[0]} ${ticks.length ? ticks[this.at(x)].split("\n")[0] : spelled.format(x)}`;
    const [left, top] = [this.x.place(x), this.y.place(y)];
    this.tip.replaceChildren(make("strong", {}, spelled.format(y)), ` at ${where}`, ...[curve.name, whose, ends].filter(Boolean).map((text) => make("span", {}, text)));
    this.marker.setAttribute("cx", left);
    this.marker.setAttribute("cy", top);
    this.marker.setAttribute("fill", curve.colour ?? "currentColor");
    const side = left > this.width / 2 ? ["auto", `${this.width - left + 12}px`] : [`${left + 12}px`, "auto"];
    Object.assign(this.tip.style, { left: side[0], right: side[1], top: `${top}px`, maxWidth: `${Math.max(left, this.width - left) - 12}px` });
  }

  walk(event) {
    const { line, index } = this.spot ?? { line: this.live?.[this.live.length - 1], index: -1 };
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Escape") this.show(null);
    if (!step || !line) return;
    event.preventDefault();
    const among = this.live;
    const other = among[(among.indexOf(line) + step[0] + among.length) % among.length];
    const last = other.points.length - 1;
    const x = this.at(line.points[Math.max(0, index)].x);
    const moved = step[0] ? other.points.findIndex((point) => this.at(point.x) >= x) : index + step[1];
    this.show({ line: other, index: moved < 0 ? (step[0] ? last : 0) : Math.min(last, moved) });
  }
}
