// ---------------------------------------------------------------- charts of dots in rows
// A row for each variant: its seeds as dots, a bar around their mean. A mark says its value, a name isolates its variant.

class DotRows {
  constructor({ title, x_title, bar, better, rows }) {
    Object.assign(this, { bar, x_title, better });
    this.chosen = null;
    this.tip = make("output", { className: "tip", hidden: true });
    this.rows = rows.map((row) => this.rowOf(row));
    this.axis = shape("svg", { width: "100%", height: 36, "aria-hidden": "true" });
    const axis = make("div", { className: "row" }, make("span", {}), this.axis);
    this.plot = make("div", { className: rows.length > 12 ? "plot dots dense" : "plot dots" }, ...this.rows.map(({ element }) => element), axis, this.tip);
    this.tools = make("div", { className: "tools" });
    this.single = this.offered("Single seeds", rows.some(({ seeds }) => seeds.length), true);
    this.log = this.offered("Log axis", rows.every((row) => this.marksOf(row).every((value) => value > 0)), false);
    this.sorted = this.offered("Best first", rows.length > 2 && better !== "neither", false);
    this.sorted.addEventListener("change", () => this.sort());
    this.element = make("div", { className: "chart" }, make("p", { className: "title" }, title), this.tools, this.plot);
    new ResizeObserver(([{ contentRect }]) => { if (contentRect.width) this.draw(contentRect.width); }).observe(this.axis);
  }

  offered(title, wanted, checked) {
    const box = make("input", { type: "checkbox", checked: wanted && checked });
    box.addEventListener("change", () => this.draw());
    if (wanted) this.tools.append(make("label", {}, box, title));
    return box;
  }

  rowOf(row) {
    const button = make("button", { type: "button", ariaPressed: "false", title: row.name }, row.name);
    const svg = shape("svg", { width: "100%", role: "img", "aria-label": this.inWords(row) });
    const made = { ...row, button, svg, element: make("div", { className: row.focus ? "row" : "row aside" }, button, svg) };
    const mean = () => this.show(made, { x: row.mean, text: this.ofMean(row) });
    button.addEventListener("click", () => this.isolate(this.chosen === made ? null : made));
    button.addEventListener("focus", () => { if (button.matches(":focus-visible")) mean(); });
    for (const gone of ["blur", "pointerleave"]) button.addEventListener(gone, () => this.show());
    svg.addEventListener("pointermove", (event) => this.show(made, this.nearest(made, event)));
    svg.addEventListener("pointerdown", (event) => this.show(made, this.nearest(made, event)));
    svg.addEventListener("pointerleave", () => this.show());
    return made;
  }

  /** The values that a row draws. */
  marksOf({ seeds, mean, low, high }) {
    const dots = !this.single || this.single.checked ? seeds.map(([, value]) => value) : [];
    return [...dots, mean, low, high].filter((value) => value !== null);
  }

  ofMean({ mean, low, high, seeds }) {
    if (mean === null) return "";
    const ends = low === null || high === null ? "" : `, ${this.bar}: ${spelled.format(low)} to ${spelled.format(high)}`;
    const count = seeds.filter(([, value]) => value !== null).length;
    return `${count ? `mean of ${count} ${count === 1 ? "seed" : "seeds"}` : "mean"}${ends}`;
  }

  inWords(row) {
    const seeds = row.seeds.map(([seed, value]) => `seed ${seed} ${value === null ? "without a finite value" : spelled.format(value)}`);
    return `${row.name}: ${row.mean === null ? "no mean" : spelled.format(row.mean)}, ${[this.ofMean(row), ...seeds].filter(Boolean).join("; ")}`;
  }

  /** Put the rows into the order of the plan, or the best mean first and rows without one last. */
  sort() {
    const sign = this.better === "lower" ? 1 : -1;
    const place = ({ mean }) => (mean === null ? Infinity : sign * mean);
    const rows = this.sorted.checked ? this.rows.toSorted((a, b) => place(a) - place(b)) : this.rows;
    this.plot.prepend(...rows.map(({ element }) => element));
  }

  isolate(row) {
    this.chosen = row;
    for (const one of this.rows) {
      one.button.ariaPressed = String(one === row);
      one.element.classList.toggle("faded", row !== null && one !== row);
    }
  }

  draw(width = this.width) {
    this.width = width;
    const values = this.rows.flatMap((row) => this.marksOf(row)).filter((value) => !this.log.checked || value > 0);
    if (!values.length) return;
    this.scale = scaleOf(values, this.log.checked, 0, 100, Math.max(3, width / 90));
    const at = (value) => `${this.scale.place(value).toFixed(2)}%`;
    const grid = () => this.scale.ticks.map((tick) => shape("line", { class: "grid", x1: at(tick), x2: at(tick), y1: 0, y2: "100%" }));
    for (const { svg, seeds, mean, low, high } of this.rows) {
      const marks = grid();
      if (low !== null && high !== null) marks.push(shape("line", { class: "reach", x1: at(low), x2: at(high), y1: "50%", y2: "50%" }));
      const dots = this.single.checked ? seeds.filter(([, value]) => value !== null) : [];
      marks.push(...dots.map(([, value]) => shape("circle", { cx: at(value), cy: "50%", r: 4 })));
      if (mean !== null) marks.push(shape("line", { class: "mean", x1: at(mean), x2: at(mean), y1: "15%", y2: "85%" }));
      svg.replaceChildren(...marks);
    }
    const words = this.scale.ticks.map((tick) => shape("text", { x: at(tick), y: 14, "text-anchor": "middle" }, spelled.format(tick)));
    this.axis.replaceChildren(...words, shape("text", { x: "100%", y: 32, "text-anchor": "end", class: "axis" }, this.x_title));
    this.show();
  }

  nearest(row, event) {
    const { left, width } = row.svg.getBoundingClientRect();
    const far = ({ x }) => Math.abs((this.scale.place(x) / 100) * width - (event.clientX - left));
    const dots = this.single.checked ? row.seeds.map(([seed, x]) => ({ x, text: `seed ${seed}` })) : [];
    const marks = [...dots, { x: row.mean, text: this.ofMean(row) }].filter(({ x }) => x !== null);
    return marks.sort((a, b) => far(a) - far(b))[0];
  }

  show(row, mark) {
    this.tip.hidden = !mark || mark.x === null;
    if (this.tip.hidden) return;
    const [box, around] = [row.svg.getBoundingClientRect(), this.plot.getBoundingClientRect()];
    const left = box.left - around.left + (this.scale.place(mark.x) / 100) * box.width;
    const side = left > around.width / 2 ? ["auto", `${around.width - left + 10}px`] : [`${left + 10}px`, "auto"];
    this.tip.replaceChildren(make("strong", {}, spelled.format(mark.x)), make("span", {}, row.name), make("span", {}, mark.text));
    Object.assign(this.tip.style, { left: side[0], right: side[1], top: `${box.bottom - around.top}px`, maxWidth: `${Math.max(left, around.width - left) - 12}px` });
  }
}
