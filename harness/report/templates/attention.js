// ---------------------------------------------------------------- attention: over a sentence that a reader picks, and on average

class AttentionMaps {
  constructor({ maps, title, mean }) {
    Object.assign(this, { maps, mean });
    this.variant = make("select", {}, ...maps.map(({ variant }, index) => make("option", { value: index }, variant)));
    this.sentence = make("select", {});
    this.readout = make("output", {}, "Point at a cell for its weight.");
    this.place = make("div", { className: "scroll", role: "group", ariaLabel: "Weights" });
    regions.observe(this.place);
    const picks = [make("label", {}, "Variant", this.variant), ...(mean ? [] : [make("label", {}, "Sentence", this.sentence)])];
    const tools = make("div", { className: "tools" }, ...picks, this.readout);
    this.element = make("div", { className: "chart" }, make("p", { className: "title" }, title), tools, this.place);
    this.variant.addEventListener("change", () => this.choose());
    this.sentence.addEventListener("change", () => this.draw());
    this.place.addEventListener("pointerover", (event) => this.say(event.target.closest("td")));
    this.choose();
  }

  /** Offer the sentences of the variant; the same sentence stays chosen. */
  choose() {
    const { sentences } = this.maps[this.variant.value];
    const before = Math.min(Math.max(0, this.sentence.selectedIndex), sentences.length - 1);
    this.sentence.replaceChildren(...sentences.map(({ source }, index) => make("option", { value: index }, source.join(" "))));
    this.sentence.selectedIndex = before;
    this.draw();
  }

  draw() {
    const { variant, sentences } = this.maps[this.variant.value];
    const { source, said, weights } = sentences[this.sentence.value];
    const head = make("tr", {}, make("th", { scope: "col" }, "output ↓ source →"), ...source.map((word) => make("th", { scope: "col", className: "word" }, make("span", {}, word))));
    const rows = weights.map((row, index) => {
      const cells = row.map((weight) => {
        const cell = make("td", {}, String(weight));
        cell.style.setProperty("--weight", `${Math.min(45, (this.mean ? 1.5 : 0.45) * weight)}%`);
        return cell;
      });
      return make("tr", {}, make("th", { scope: "row" }, said[index]), ...cells);
    });
    const both = this.mean ? "" : `. Columns, source: ${source.join(" ")}. Rows, output: ${said.join(" ")}`;
    const caption = make("caption", {}, `${variant}${both}`);
    this.place.replaceChildren(make("table", { className: "map" }, caption, make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  say(cell) {
    if (!cell) return;
    const { source, said } = this.maps[this.variant.value].sentences[this.sentence.value];
    const [word, seen] = [said[cell.parentElement.sectionRowIndex], source[cell.cellIndex - 1]];
    this.readout.textContent = `${this.mean ? `The output at ${word} looks at the source at ${seen}` : `“${word}” looks at “${seen}”`}: ${cell.textContent} %`;
  }
}
