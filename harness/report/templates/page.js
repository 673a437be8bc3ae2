"use strict";
// What a reader's browser adds to the page: sorting, filters, the way from a number to its trials. All of it is
// optional: without scripts the page still says everything.

const data = JSON.parse(document.getElementById("data").textContent);

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------- light and dark

function addThemeButton() {
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* not allowed from disk */ } };
  if (remembered()) root.dataset.theme = remembered();
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const button = make("button", { type: "button", className: "theme plain" });
  const say = () => { button.textContent = isDark() ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    say();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
  say();
  (document.querySelector(".top") ?? document.body).append(button);
}

// ---------------------------------------------------------------- tables

const collator = new Intl.Collator("en", { numeric: true });

function keyOf(cell) {
  return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
}

function compareKeys(left, right) {
  if (typeof left === "number" && typeof right === "number") return left - right;
  return collator.compare(left, right);
}

function sortBy(table, column) {
  const header = table.tHead.rows[0].cells[column];
  const way = header.ariaSort === "ascending" ? "descending" : "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.ariaSort = way;
  const sign = way === "ascending" ? 1 : -1;
  const numeric = header.classList.contains("num");
  const keyed = [...table.tBodies[0].rows].map((row) => [keyOf(row.cells[column]), row]);
  const unknown = (key) => numeric && typeof key !== "number"; // a dash stands last, whichever way is up
  keyed.sort(([a], [b]) => unknown(a) - unknown(b) || sign * compareKeys(a, b));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

function addSorting(table) {
  if (table.tBodies[0].rows.length < 2) return;
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = make("button", { type: "button" }, ...header.childNodes);
    button.addEventListener("click", () => sortBy(table, column));
    header.append(button);
  });
}

/** Hide the rows that lack one of the words typed, and those that another choice has put aside. */
function addFilter(rows, place, what, hears) {
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const input = make("input", { type: "search" });
  const count = make("output", {});
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = row.dataset.aside === "yes" || !words.every((word) => texts.get(row).includes(word));
      shown += !row.hidden;
    }
    count.textContent = shown === rows.length ? `${shown} ${what}` : `${shown} of ${rows.length} ${what}`;
  };
  input.addEventListener("input", apply);
  const tools = make("div", { className: "tools" }, make("label", {}, `Filter ${what}`, input), count);
  place.before(tools);
  apply();
  return { apply, input, tools };
}

/** Let a reader choose among the values that rows have, separated by bars in a data attribute. */
function addChoices(rows, filter, choices) {
  const selects = [];
  const apply = () => {
    for (const row of rows) {
      const kept = selects.every(([select, key]) => select.value === "all" || row.dataset[key].split("|").includes(select.value));
      row.dataset.aside = kept ? "no" : "yes";
    }
    filter.apply();
  };
  for (const [title, key] of choices) {
    const select = make("select", {});
    const values = [...new Set(rows.flatMap((row) => row.dataset[key].split("|")))].filter(Boolean).sort();
    for (const value of ["all", ...values]) select.append(make("option", {}, value));
    select.addEventListener("change", apply);
    selects.push([select, key]);
    filter.tools.append(make("label", {}, title, select));
  }
}

// ---------------------------------------------------------------- from a number to its trials

function inRanges(text) {
  const found = new Set();
  for (const range of text.split(" ")) {
    const [first, last = first] = range.split("-").map(Number);
    for (let index = first; index <= last; index += 1) found.add(index);
  }
  return found;
}

function nameOf(link) {
  if (link.dataset.of) return link.dataset.of;
  const cell = link.closest("td, th");
  const header = link.closest("table").tHead.rows[0].cells[cell.cellIndex];
  return `${link.textContent}: ${cell.parentElement.cells[0].textContent.trim()}, ${header.textContent.trim()}`;
}

function addOrigins(filter, metrics) {
  const table = document.getElementById("table-trials");
  const rows = [...table.tBodies[0].rows];
  const panel = document.getElementById("origin");
  const clear = () => {
    for (const row of rows) row.dataset.aside = "no";
    for (const cell of table.querySelectorAll(".found")) cell.classList.remove("found");
    panel.replaceChildren();
    filter.apply();
  };
  const follow = (link) => {
    clear();
    filter.input.value = "";
    const wanted = inRanges(link.dataset.trials);
    const metric = link.dataset.metric;
    const columns = [...table.tHead.rows[0].cells].filter((head) => head.dataset.metric === metric).map((head) => head.cellIndex);
    rows.forEach((row, index) => {
      row.dataset.aside = wanted.has(index) ? "no" : "yes";
      for (const column of wanted.has(index) ? columns : []) row.cells[column].classList.add("found");
    });
    filter.apply();
    const [title, ...signatures] = metrics[metric] ?? [];
    const all = make("button", { type: "button", className: "plain" }, "Show all trials");
    all.addEventListener("click", () => { clear(); document.getElementById("title-trials").focus(); });
    const back = make("button", { type: "button", className: "plain" }, "Back to the number");
    back.addEventListener("click", () => { clear(); link.scrollIntoView({ block: "center" }); link.focus(); });
    panel.append(
      make("p", {}, `${nameOf(link)}. Made from the ${wanted.size === 1 ? "trial" : `${wanted.size} trials`} below.`),
      ...(signatures.length ? [make("p", {}, `${title}, signature: `, make("code", {}, signatures.join(" and ")))] : []),
      back,
      all,
    );
    document.getElementById("trials").closest("details").open = true;
    table.querySelector(".found")?.scrollIntoView({ block: "nearest", inline: "center" });
    document.getElementById("trials").scrollIntoView();
    back.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-trials]");
    if (!link) return;
    event.preventDefault();
    follow(link);
  });
}

// ---------------------------------------------------------------- examples

function addBrowser(place) {
  const examples = [...place.children];
  const filter = addFilter(examples, place, "examples");
  const select = make("select", {});
  for (const kind of [...new Set(examples.map((one) => one.dataset.kind)), "all"]) select.append(make("option", {}, kind));
  const choose = () => {
    for (const one of examples) one.dataset.aside = select.value === "all" || one.dataset.kind === select.value ? "no" : "yes";
    filter.apply();
  };
  select.addEventListener("change", choose);
  filter.tools.append(make("label", {}, "Show", select));
  choose();
}

// ---------------------------------------------------------------- regions that scroll

// Only what scrolls needs to be reached by the keyboard.
const regions = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

// ---------------------------------------------------------------- print

function printEverything() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open], .panel)")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
}

addThemeButton();
printEverything();
for (const table of document.querySelectorAll(".scroll > table")) {
  const rows = [...table.tBodies[0].rows];
  addSorting(table);
  const chosen = table.id === "table-studies" && rows.length > 1;
  const filter = rows.length >= 8 || chosen ? addFilter(rows, table.closest(".scroll"), "rows") : null;
  if (chosen) addChoices(rows, filter, [["Verdict", "verdicts"], ["Dataset", "datasets"]]);
  if (table.id === "table-trials") {
    addOrigins(filter ?? { apply() { for (const row of rows) row.hidden = row.dataset.aside === "yes"; }, input: {} }, data.metrics);
  }
}
for (const place of document.querySelectorAll(".browser")) addBrowser(place);
for (const region of document.querySelectorAll(".scroll")) regions.observe(region);
