// ---------------------------------------------------------------- figures: charts take the place of pictures

/** One chart of several, picked by a reader. */
class ChartPicker {
  constructor({ panels }, alt) {
    const charts = panels.map(({ name, chart }) => new PointChart(chart, `${alt}: ${name}`));
    const select = make("select", {}, ...panels.map(({ name }, index) => make("option", { value: index }, name)));
    const place = make("div", {});
    const choose = () => place.replaceChildren(charts[select.value].element);
    select.addEventListener("change", choose);
    this.element = make("div", { className: "chart" }, make("div", { className: "tools" }, make("label", {}, "Show", select)), place);
    choose();
  }
}

function chartOf(shown, alt) {
  if (shown.maps) return new AttentionMaps(shown);
  if (shown.rows) return new DotRows(shown);
  if (shown.panels) return new ChartPicker(shown, alt);
  return new (shown.points ? PointChart : LineChart)(shown, alt);
}

for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = chartOf(data.charts[figure.dataset.chart], figure.dataset.alt);
  figure.classList.add("answers");
  figure.prepend(chart.element);
}
