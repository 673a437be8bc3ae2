"""The page of a report in a browser: sorted, filtered, followed from a number to its trials, by mouse and keyboard."""

from __future__ import annotations

import html
import itertools
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from system.browsers import opened, unfold
from unit.report.test_index import report
from unit.report.test_pages import facts, outcome, synthetic, write

from harness.report.index import write as write_index

pytestmark = pytest.mark.slow
EVIL = "<script>document.title='hacked'</script> </script><img src=x onerror=\"document.title='hacked'\"> & one two"
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const low = [];
  let seen = 0;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest("script")) continue;
    const style = getComputedStyle(element);
    const text = light(rgb(element instanceof SVGElement ? style.fill : style.color));
    const ground = light(behind(element));
    const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push(`${element.tagName}.${element.className}: ${ratio.toFixed(2)} ${element.textContent.slice(0, 40)}`);
  }
  return {low, seen};
}"""
"""Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3), and how many were looked at."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report whose second test sentence tries to break out of the page."""
    folder = tmp_path_factory.mktemp("report")
    outcomes = []
    for o in synthetic(seeds=3, sentences=60):
        test = replace(o.test, sources=["one two three", EVIL], references=[["eins zwei drei"], [EVIL, "vier"]])
        said = "eins drei" if o.variant.startswith("mask=false") else "eins zwei drei"
        outcomes.append(replace(o, test=test, hypotheses=[said, f"{EVIL} {o.seed}"]))
    outcomes[-1] = replace(outcomes[-1], status="diverged", reason=EVIL, metrics={}, statistics={}, costs={}, curve=[])
    write(folder, facts(question=EVIL, expectation=EVIL), outcomes)
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The report, opened from disk and unfolded; whatever a browser complains of, or asks of the network, is a failure."""
    for page in opened(browser, address):
        unfold(page)
        yield page


def _column(page: Any, table: str, column: int) -> list[str]:
    rows = page.locator(f"#table-{table} tbody tr:visible")
    return [str(rows.nth(i).locator("th, td").nth(column).inner_text()) for i in range(rows.count())]


def test_what_others_wrote_stays_text(page: Any) -> None:
    assert page.locator(".lead").inner_text() == EVIL
    assert page.locator("#failures td").last.inner_text() == EVIL
    assert page.locator("main script, main img[src='x']").count() == 0
    page.locator("details.example").nth(1).locator("summary").click()
    assert f"{EVIL} 2" in page.locator("details.example").nth(1).inner_text()


def test_tables_sort_by_unrounded_numbers(page: Any) -> None:
    header = page.locator("#table-scores thead th").nth(2)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    values = [float(text.split(" ")[0]) for text in _column(page, "scores", 2)]
    assert values == sorted(values) and len(set(values)) == 4
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert [float(text.split(" ")[0]) for text in _column(page, "scores", 2)] == sorted(values, reverse=True)
    page.locator("#table-differences thead th").nth(3).locator("button").click()
    values = [float(text) for text in _column(page, "differences", 3)]
    assert values == sorted(values) and values[0] < 0 < values[-1]
    page.locator("#table-scores thead th").nth(0).locator("button").click()
    assert header.get_attribute("aria-sort") is None
    assert _column(page, "scores", 0) == sorted(_column(page, "scores", 0))


def test_what_is_not_known_stands_last_whichever_way_is_up(page: Any) -> None:
    button = page.locator("#table-trials thead th").nth(4).locator("button")
    for _ in range(2):
        button.click()
        assert _column(page, "trials", 4)[-1] == "–"


def test_rows_are_filtered_by_words(page: Any) -> None:
    tools = page.locator("#trials .tools").first
    tools.get_by_label("Filter rows").fill("PADDED mask=true")
    assert tools.locator("output").inner_text() == "3 of 12 rows"
    assert set(_column(page, "trials", 1)) == {"mask=true, padded"}
    tools.get_by_label("Filter rows").fill("")
    assert len(_column(page, "trials", 1)) == 12


def test_an_example_shows_all_variants_with_what_differs_marked(page: Any) -> None:
    tools = page.locator("#examples .tools")
    tools.get_by_label("Filter examples").fill("three")
    shown = page.locator("details.example:visible")
    assert shown.count() == 1
    table = shown.first.locator("table")
    assert table.locator("th[scope=row]").all_inner_texts() == [
        "reference", "mask=true, token", "mask=true, padded", "mask=false, token", "mask=false, padded"
    ]  # fmt: skip
    assert table.locator("mark").all_inner_texts() == ["‸", "‸"]
    tools.get_by_label("Filter examples").fill("")
    kinds = tools.locator("option").all_inner_texts()
    assert kinds[0] == "first test sentences" and kinds[-1] == "all"
    tools.get_by_label("Show").select_option("all")
    assert shown.count() == page.locator("details.example").count()


def test_a_number_leads_to_the_trials_it_was_made_from(page: Any) -> None:
    number = page.locator("#table-scores tbody tr").first.locator("td a").first
    said = number.inner_text()
    number.click()
    assert set(_column(page, "trials", 1)) == {"mask=true, token"}
    panel = page.locator("#origin")
    assert said in panel.inner_text() and "3 trials" in panel.inner_text()
    assert "case:mixed|version:1" in panel.inner_text()
    marked = [float(text) for text in page.locator("#table-trials .found").all_inner_texts()]
    assert f"{sum(marked) / 3:.2f}" == said.split(" ")[0]
    panel.get_by_role("button", name="Show all trials").click()
    assert len(_column(page, "trials", 1)) == 12 and page.locator(".found").count() == 0


def test_every_number_of_the_cards_and_tables_of_results_has_its_trials(page: Any) -> None:
    for table in ("claims", "scores", "exact_match_by_seed", "differences", "exact_match_by_length", "costs"):
        cells = page.locator(f"#table-{table} td.num:not(:empty)")
        bare = [text for text in cells.all_inner_texts() if " of " not in text and text not in ("–", "diverged")]
        assert len(bare) == page.locator(f"#table-{table} td.num a[data-trials]").count() > 0, table
    assert page.locator(".card a[data-trials]").count() == 2


def test_the_keyboard_reaches_everything_and_focus_is_seen(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reached = []
    for _ in range(400):
        page.keyboard.press("Tab")
        what = page.evaluate(
            "[document.activeElement.tagName, document.activeElement.dataset.trials ?? '', "
            "getComputedStyle(document.activeElement).outlineStyle]"
        )
        reached.append(what)
        assert what[2] != "none", what
        if what[0] == "SELECT":
            break
    assert {"A", "BUTTON", "INPUT", "SELECT"} <= {what[0] for what in reached}
    for _ in reached:
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.dataset.trials"):
            break
    said = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Back to the number"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == said
    assert page.locator("#origin").inner_text() == ""


def test_the_theme_can_be_changed_and_is_remembered(page: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(ground) != before
    page.reload()
    assert page.evaluate(ground) != before
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(ground) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits_and_can_be_read(browser: Any, address: str, tmp_path: Path, width: int, scheme: str) -> None:
    for page in opened(browser, address, viewport={"width": width, "height": 900}, color_scheme=scheme):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        unfold(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        found = page.evaluate(CONTRASTS)
        assert found["seen"] > 200 and not found["low"]
        shot = page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert len(shot) > 50_000


def test_it_has_the_structure_that_readers_of_screens_need(page: Any) -> None:
    assert page.locator("h1").count() == page.locator("main").count() == page.locator("nav").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.locator("table:not(:has(caption))").count() == page.locator("thead th:not([scope=col])").count() == 0
    assert page.locator("tbody tr:not(:has(> th[scope=row]))").count() == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert (
        page.locator("input:visible, select:visible").count() == page.locator("label input, label select").count() > 1
    )
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    for target in page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map((one) => one.hash.slice(1))"):
        assert target in ids


def _above_the_fold(page: Any, selector: str) -> bool:
    return bool(
        page.evaluate("(s) => document.querySelector(s).getBoundingClientRect().bottom <= innerHeight", selector)
    )


def test_what_was_asked_what_came_out_how_sure_and_what_next_need_no_scrolling(browser: Any, address: str) -> None:
    """The ten-second test of a stranger: four questions, each answered before a hand moves, on a desk, a tablet and a phone."""
    for page in opened(browser, address, viewport={"width": 1280, "height": 800}):
        assert all(_above_the_fold(page, part) for part in ("h1", ".lead", ".outcome", ".basis"))
        first = page.locator(".outcome li").first.inner_text().replace("\N{NO-BREAK SPACE}", " ")
        assert "Masking helps: difference 17.08 points [6.62, 27.54] in exact match: pilot" in first
        assert "Next: new study, 5 seeds a side, about 7 minutes" in page.locator(".outcome .next").first.inner_text()
        assert page.locator(".outcome .summary").inner_text().startswith("2 claims: ")
        assert page.locator(".basis a[href='comparisons.csv']").count() == 1
    parts = ("h1", ".lead", ".outcome .summary", ".outcome .next", ".outcome li .verdict")
    for width, height in ((768, 1024), (360, 740)):
        for page in opened(browser, address, viewport={"width": width, "height": height}):
            assert all(_above_the_fold(page, part) for part in parts), width
    for page in opened(browser, address, viewport={"width": 360, "height": 740}):
        tops = "(s) => document.querySelector(s).getBoundingClientRect().top"
        assert page.evaluate(tops, ".outcome") < page.evaluate(tops, ".contents")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_link_opens_what_is_folded(browser: Any, address: str, scripts: bool) -> None:
    for page in opened(browser, address, java_script_enabled=scripts):
        assert not page.locator("#table-costs").is_visible() and page.locator("#table-scores").is_visible()
        page.locator(".contents a[href='#costs']").click()
        page.locator("#table-costs").wait_for(state="visible")
        page.locator(".outcome a").first.click()
        page.locator("#claim-1").wait_for(state="visible")


def test_all_claims_stand_on_an_axis(page: Any) -> None:
    rows = page.locator(".forest .row[data-verdict]")
    assert rows.count() == 2 and rows.first.locator("circle").count() == 1
    assert "zero lies outside" in (rows.first.locator("svg").get_attribute("aria-label") or "")


def test_without_scripts_everything_is_said(browser: Any, address: str) -> None:
    for page in opened(browser, address, java_script_enabled=False):
        assert page.locator("#table-trials tbody tr").count() == 12
        assert page.locator("button, input").count() == 0
        page.locator("#table-scores td a").first.click()
        assert page.url.endswith("#trials")


@pytest.mark.full
def test_five_hundred_trials_sort_and_filter_quickly(browser: Any, tmp_path: Path) -> None:
    factors = {"training.loss.mask": True, "training.loss.normalize": "token"}
    outcomes = [
        outcome(f"size={v}", seed, v / 100, factors | {"size": v}, 40) for v in range(100) for seed in range(1, 6)
    ]
    write(tmp_path, facts(claims=[]), outcomes)
    for page in opened(browser, (tmp_path / "report.html").as_uri()):
        took = page.evaluate(
            """() => {
              const button = document.querySelectorAll("#table-trials thead button")[4];
              const input = document.querySelector("#trials input");
              const start = performance.now();
              button.click();
              document.body.offsetHeight;
              const sorted = performance.now();
              input.value = "size=7";
              input.dispatchEvent(new Event("input"));
              document.body.offsetHeight;
              return [sorted - start, performance.now() - sorted];
            }"""
        )
        assert max(took) < 1500, took
        assert page.locator("#trials output").first.text_content() == "55 of 500 rows"


def _words(pdf: Path) -> list[tuple[str, float, float]]:
    """Return the words of a PDF file in their order, each with its right end and the width of its page."""
    told = subprocess.run(["pdftotext", "-bbox", pdf, "-"], capture_output=True, text=True, check=True).stdout
    found, width = [], 0.0
    for line in told.splitlines():
        if page := re.search(r'<page width="([\d.]+)"', line):
            width = float(page[1])
        if word := re.search(r'<word .*xMax="([\d.-]+)".*>(.*)</word>', line):
            found.append((word[2], float(word[1]), width))
    return found


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with more seeds than a sheet of paper has room for."""
    folder = tmp_path_factory.mktemp("wide")
    write(folder, facts(claims=[]), synthetic(seeds=24, sentences=20))
    return (folder / "report.html").as_uri()


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is needed (package poppler-utils)")
@pytest.mark.parametrize("report", ["address", "wide"])
@pytest.mark.parametrize("scripts", [True, False])
def test_a_print_has_every_column_of_every_table(
    browser: Any, report: str, scripts: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for page in opened(browser, request.getfixturevalue(report), java_script_enabled=scripts):
        heads = page.locator(".scroll > table:not(.vast) thead th, h1, h2").all_text_contents()
        heads += page.locator("table.vast td").evaluate_all(
            "(all) => all.map((td) => JSON.parse(getComputedStyle(td).getPropertyValue('--column')))"
        )
        last = page.locator("td.num:last-child").all_text_contents()
        page.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    words = _words(tmp_path / "page.pdf")
    assert len(words) > 1_000 and not [word for word in words if word[1] > word[2]], "no word beyond the sheet"
    text = html.unescape("".join(word for word, _, _ in words))
    assert ("seed 24" in heads) == (report == "wide") and len(heads) > 60
    assert not [cell for cell in (*heads, *last) if "".join(cell.split()) not in text]


def test_the_index_is_filtered_by_verdict_and_dataset(browser: Any, tmp_path: Path) -> None:
    report(tmp_path, "a", "numbers", {"one": "supported", "two": "refuted"})
    report(tmp_path, "b", "numbers", {"one": "refuted"})
    report(tmp_path, "c", "numbers", {})
    write_index(tmp_path)
    page = browser.new_context().new_page()
    page.goto((tmp_path / "index.html").as_uri())
    rows = page.locator("#table-studies tbody tr:visible th > a")

    def chosen(label: str, value: str) -> list[str]:
        page.get_by_label(label).select_option(value)
        return [str(text) for text in rows.all_inner_texts()]

    assert chosen("Verdict", "refuted") == ["a", "b"] and chosen("Verdict", "supported") == ["a"]
    assert chosen("Verdict", "no claims") == ["c"] and chosen("Verdict", "all") == ["a", "b", "c"]
    assert chosen("Dataset", "some/one") == ["a", "b", "c"]
    page.context.close()
