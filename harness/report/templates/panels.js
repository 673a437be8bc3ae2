// ---------------------------------------------------------------- a panel for each trial, made when a reader opens it

/** The validation curve of a trial, small, with its first, lowest and last value in words. */
function sparkline(variant, seed) {
  const chart = data.charts.learning_curves;
  const line = chart?.curves.find(({ name }) => name === variant)?.lines.find((one) => one.seed === String(seed));
  if (!line || line.values.length < 2) return [];
  const [grid, values] = [chart.grids[line.grid], line.values];
  const lowest = values.indexOf(Math.min(...values));
  const words = `validation NLL ${values[0]} at first, ${values.at(-1)} at last; lowest ${values[lowest]} at update ${spelled.format(grid[lowest])}`;
  const x = scaleOf(grid, false, 0, 240, 2);
  const y = scaleOf(values, false, 44, 2, 2);
  const d = `M${values.map((value, i) => `${x.place(grid[i]).toFixed(1)} ${y.place(value).toFixed(1)}`).join("L")}`;
  const dot = shape("circle", { cx: x.place(grid[lowest]), cy: y.place(values[lowest]), r: 3 });
  return [["Training", shape("svg", { class: "spark", width: 240, height: 46, role: "img", "aria-label": words }, shape("path", { d }), dot), words]];
}

function answersOf({ said, test }, sentences) {
  if (!said?.length) return [];
  const rows = said.map((text, index) => {
    const [source, ...references] = sentences[test][index];
    const right = references.includes(text) ? " ✓" : "";
    return make("tr", {}, make("th", { scope: "row" }, source), make("td", {}, text || "(nothing)", right), make("td", {}, references.join(" / ")));
  });
  const head = ["source", "says", "reference"].map((text) => make("th", { scope: "col" }, text));
  return [make("table", {}, make("caption", { className: "unseen" }, "First test sentences"), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows))];
}

function fillPanel(place, trial, { variants, sentences, asked }) {
  const done = trial.status === "ok";
  const facts = done ? sparkline(variants[trial.variant], trial.seed) : [["Ended", `${trial.status}: ${trial.reason}`]];
  if (trial.last) facts.push(["Last of its log", trial.last]);
  if (trial.log) facts.push(["Log", done ? make("code", {}, trial.log) : make("a", { href: trial.log }, trial.log), done ? " in the store" : ""]);
  if (done) facts.push(["Ask its model", make("code", {}, `s2s try ${trial.trial} ${asked[trial.test] ?? '"a source text"'}`)]);
  const list = facts.map(([title, ...said]) => make("div", {}, make("dt", {}, title), make("dd", {}, ...said)));
  place.replaceChildren(make("dl", {}, ...list), ...answersOf(trial, sentences));
}

function addPanels(panels) {
  const rows = [...document.querySelectorAll("#table-trials tbody tr")];
  const all = panels.trials.map((trial) => {
    const inside = make("div", { id: `trial-${trial.trial}` });
    const state = trial.status === "ok" ? "" : ` · ${trial.status}`;
    const summary = make("summary", {}, `${panels.variants[trial.variant]} · seed ${trial.seed}${state} `, make("code", {}, trial.trial));
    const panel = make("details", { className: "panel" }, summary, inside);
    panel.addEventListener("toggle", () => fillPanel(inside, trial, panels), { once: true });
    return panel;
  });
  const list = make("div", { className: "panels" }, ...all);
  document.getElementById("trials").append(make("h3", {}, "Each trial"), list);
  addFilter(all, list, "trials");
  for (const row of rows) {
    const cell = row.cells[0];
    const link = make("a", { href: `#trial-${cell.textContent}` }, cell.textContent);
    link.addEventListener("click", () => { const panel = document.querySelector(link.hash).parentElement; panel.hidden = false; panel.open = true; });
    cell.replaceChildren(link);
  }
}

if (data.panels?.trials.length) addPanels(data.panels);
