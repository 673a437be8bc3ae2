// ---------------------------------------------------------------- charts of points
// As charts of lines, but every value stands for itself: a mark with its interval, ringed where it is on a front.

class PointChart extends LineChart {
  swatch({ colour }) { return shape("circle", { cx: 14, cy: 6, r: 5, fill: colour }); }

  draw(width) {
    super.draw(width);
    const front = this.lines.flatMap(({ mean }) => mean.points.filter((point) => point.front && (!this.logX.checked || point.x > 0) && (!this.logY.checked || point.y > 0)));
    if (front.length < 2) return;
    const way = front.sort((a, b) => a.x - b.x).map(({ x, y }) => `${this.x.place(x).toFixed(1)} ${this.y.place(y).toFixed(1)}`);
    this.svg.prepend(shape("path", { class: "front", fill: "none", d: `M${way.join("L")}` }));
  }

  stroke(line, points) {
    const { colour } = line.curve;
    const paint = colour ? { fill: colour, stroke: colour } : { class: "grey" };
    const opacity = this.aside(line) ? 0.15 : 1;
    return points.flatMap(({ x, y, low, high, front }) => {
      const [across, up] = [this.x.place(x), this.y.place(y)];
      const marks = [shape("circle", { cx: across, cy: up, r: this.bright(line) ? 4.5 : 3, ...paint, opacity })];
      const known = Number.isFinite(low) && Number.isFinite(high) && (!this.logY.checked || low > 0);
      if (known) marks.unshift(shape("line", { x1: across, x2: across, y1: this.y.place(low), y2: this.y.place(high), ...paint, "stroke-width": 1.6, opacity }));
      if (front) marks.push(shape("circle", { class: "front", cx: across, cy: up, r: 9, fill: "none", opacity }));
      return marks;
    });
  }
}
