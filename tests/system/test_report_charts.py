"""Charts of a report in a browser: points say their values, variants are isolated, axes and seeds switched."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from system.browsers import opened, unfold
from unit.report.test_pages import facts, outcome, synthetic, write

from harness.analysis.outcome import Attended, Attention
from harness.contracts.metric import Scored
from harness.trial.score import METRICS, corpus_scores, sentence_statistics

pytestmark = pytest.mark.slow
FIRST = "mask=true, token"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("charts")
    write(folder, facts(), synthetic(seeds=3, sentences=60))
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    yield from opened(browser, address)


def chart(page: Any, name: str = "learning_curves") -> Any:
    return page.locator(f"figure[data-chart={name}]")


def curves(page: Any) -> dict[str, list[list[float]]]:
    """Return the values of every variant and seed, as the page has them."""
    found = json.loads(page.locator("#data").text_content())["charts"]["learning_curves"]
    return {one["name"]: [line["values"] for line in one["lines"]] for one in found["curves"]}


def test_a_chart_takes_the_place_of_its_picture_except_on_paper(page: Any) -> None:
    still = chart(page).locator("img")
    assert chart(page).locator(".plot svg").is_visible() and not still.is_visible()
    page.emulate_media(media="print")
    assert still.is_visible() and not chart(page).locator(".plot").is_visible()


def test_without_scripts_the_picture_stays(browser: Any, address: str) -> None:
    for page in opened(browser, address, java_script_enabled=False):
        assert chart(page).locator("img").is_visible()


def test_a_point_says_variant_place_and_value(page: Any) -> None:
    chart(page).locator(".plot svg").scroll_into_view_if_needed()
    box = chart(page).locator(".plot svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 14, box["y"] + box["height"] - 44)
    values = [seed[-1] for seed in curves(page)[FIRST]]
    mean, ends = sum(values) / 3, (min(values), max(values))
    tip = chart(page).locator(".tip").inner_text().split("\n")
    assert tip[0] == f"{mean:.5g} at update 1,000"
    assert tip[1:] == [FIRST, f"mean of 3 seeds, {ends[0]:.5g} to {ends[1]:.5g}"]
    chart(page).get_by_label("Single seeds").check()
    page.mouse.move(box["x"] + box["width"] - 14, box["y"] + box["height"] - 43)
    tip = chart(page).locator(".tip").inner_text().split("\n")
    assert tip[0] == f"{ends[0]:.5g} at update 1,000"
    assert tip[1:] == [FIRST, f"seed {1 + values.index(ends[0])}"]
    page.mouse.move(0, 0)
    assert chart(page).locator(".tip").is_hidden()


def test_the_legend_isolates_a_variant_and_brings_all_back(page: Any) -> None:
    button = chart(page).get_by_role("button", name=FIRST)
    strong = chart(page).locator(".plot path[fill=none][opacity='1']")
    assert strong.count() == 4
    button.click()
    assert button.get_attribute("aria-pressed") == "true" and strong.count() == 1
    colour = button.locator("line").get_attribute("stroke")
    assert strong.get_attribute("stroke") == colour
    button.click()
    assert button.get_attribute("aria-pressed") == "false" and strong.count() == 4


def test_single_seeds_and_logarithmic_axes_are_switched(page: Any) -> None:
    lines = chart(page).locator(".plot path[fill=none]")
    assert lines.count() == 4 and chart(page).locator(".band").count() == 4
    chart(page).get_by_label("Single seeds").check()
    assert lines.count() == 16 and chart(page).locator(".band").count() == 0
    chart(page).get_by_label("Single seeds").uncheck()
    places = [lines.last.get_attribute("d")]
    for axis in ("y", "x"):
        chart(page).get_by_label(f"Log {axis} axis").check()
        places.append(lines.last.get_attribute("d"))
    assert len(set(places)) == 3
    assert [place.count("L") for place in places] == [10, 10, 9], "update 0 has no place on a logarithmic axis"
    assert "NaN" not in chart(page).locator(".plot").inner_html()


def test_a_band_stops_where_it_is_not_known(page: Any) -> None:
    chart(page).scroll_into_view_if_needed()
    bands = page.evaluate("""() => {
      const values = [5, 4, 3, 2, 1], low = [4, 3, null, 1, 0.5], high = [6, 5, null, 3, 2];
      const line = { seed: "", grid: 0, values, low, high };
      const words = { title: "t", x_title: "x", y_title: "y", ticks: [], band: "interval", step: 1 };
      const curve = { name: "a", colour: "#000000", dashes: "", lines: [line] };
      const made = new LineChart({ ...words, grids: [[1, 2, 3, 4, 5]], curves: [curve] }, "t");
      document.querySelector("main").prepend(made.element);
      made.draw(400);
      return made.svg.querySelectorAll(".band").length;
    }""")
    assert bands == 2


def test_the_keyboard_walks_from_point_to_point(page: Any) -> None:
    chart(page).locator(".plot svg").focus()
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
        seen.append(chart(page).locator(".tip").inner_text().split("\n")[:2])
    assert [told[0].rpartition(" ")[2] for told in seen] == ["0", "100", "100", "0", "0"]
    assert seen[0][1] == seen[1][1] != seen[2][1] == seen[3][1] and seen[3] == seen[4]
    page.keyboard.press("Escape")
    assert chart(page).locator(".tip").is_hidden()


def test_ranges_stand_under_scores_by_length(page: Any) -> None:
    unfold(page)
    words = chart(page, "exact_match_by_length").locator(".plot text").all_text_contents()
    assert "source tokens (test sentences)" in words and "exact match (%)" in words
    assert len([word for word in words if "–" in word and "(" in word]) >= 3
    assert not chart(page, "exact_match_by_length").get_by_label("Log x axis").count()


def charts(page: Any, name: str) -> Any:
    """Return what the page knows of a chart."""
    return json.loads(page.locator("#data").text_content())["charts"][name]


def test_dots_say_seed_and_value_and_their_switches_and_names_answer(page: Any) -> None:
    unfold(page)
    name = "exact_match_by_variant"
    figure, rows = chart(page, name), charts(page, name)["rows"]
    assert not figure.locator("img").is_visible() and figure.locator(".plot svg circle").count() == 12
    assert [row["name"] for row in rows] == figure.locator(".row button").all_inner_texts()
    first = rows[0]
    figure.scroll_into_view_if_needed()
    assert len(first["seeds"]) == 3 and first["low"] < first["mean"] < first["high"]
    dot = figure.locator(".row").first.locator("circle").first
    box = dot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = figure.locator(".tip").inner_text().split("\n")
    assert tip == [f"{first['seeds'][0][1]:.5g}", first["name"], "seed 1"]
    box = figure.locator(".row").first.locator(".mean").bounding_box()
    figure.get_by_label("Single seeds").uncheck()
    assert figure.locator(".plot svg circle").count() == 0
    page.mouse.move(box["x"], box["y"])
    said = figure.locator(".tip").inner_text().split("\n")
    assert said[:2] == [f"{first['mean']:.5g}", first["name"]] and said[2].startswith("mean of 3 seeds, mean ± SD: ")
    before = figure.locator(".mean").nth(1).get_attribute("x1")
    figure.get_by_label("Log axis").check()
    assert figure.locator(".mean").nth(1).get_attribute("x1") != before
    figure.get_by_label("Best first").check()
    means = {row["name"]: row["mean"] for row in rows}
    assert figure.locator(".row button").all_inner_texts() == sorted(means, key=lambda name: -means[name])
    figure.get_by_label("Best first").uncheck()
    assert figure.locator(".row button").all_inner_texts() == list(means)
    figure.get_by_role("button", name=FIRST).click()
    assert figure.locator(".faded").count() == 3
    figure.get_by_role("button", name=FIRST).click()
    assert figure.locator(".faded").count() == 0


def test_readers_of_screens_hear_every_seed_of_a_row(page: Any) -> None:
    first = charts(page, "exact_match_by_variant")["rows"][0]
    said = chart(page, "exact_match_by_variant").locator(".row svg").first.get_attribute("aria-label")
    assert said.startswith(f"{first['name']}: {first['mean']:.5g}, mean of 3 seeds")
    assert said.endswith("; ".join(f"seed {seed} {value:.5g}" for seed, value in first["seeds"]))


def test_quality_against_a_cost_is_picked_and_points_say_their_interval(page: Any) -> None:
    unfold(page)
    figure, panels = chart(page, "quality_against_cost"), charts(page, "quality_against_cost")["panels"]
    assert figure.get_by_label("Show").locator("option").all_inner_texts() == [panel["name"] for panel in panels]
    seen = panels[-1]["chart"]
    figure.get_by_label("Show").select_option(panels[-1]["name"])
    plot = figure.locator(".plot svg")
    assert plot.count() == 1 and figure.locator("text.axis").last.text_content() == seen["x_title"]
    fronts = sum(sum(curve["lines"][0]["front"]) for curve in seen["curves"])
    assert figure.locator("circle.front").count() == fronts > 0
    figure.get_by_role("button", name=FIRST).click()
    plot.focus()
    page.keyboard.press("ArrowRight")
    (line,) = next(curve["lines"] for curve in seen["curves"] if curve["name"] == FIRST)
    tip = figure.locator(".tip").inner_text().split("\n")
    assert tip[0].startswith(f"{line['values'][0]:.5g} at ") and tip[1] == FIRST
    assert tip[2] == f"95 % interval: {line['low'][0]:.5g} to {line['high'][0]:.5g}"


def test_an_axis_on_which_all_are_at_one_place_names_it_once(page: Any) -> None:
    unfold(page)
    same = [p for p in charts(page, "quality_against_cost")["panels"] if len({g[0] for g in p["chart"]["grids"]}) == 1]
    figure = chart(page, "quality_against_cost")
    figure.get_by_label("Show").select_option(same[0]["name"])
    spelled = f"{same[0]['chart']['grids'][0][0]:,}"
    assert [text for text in figure.locator(".plot text").all_text_contents() if text == spelled] == [spelled]


def test_on_a_phone_names_stand_above_their_dots_and_legends_stay_on_the_screen(page: Any) -> None:
    unfold(page)
    page.set_viewport_size({"width": 360, "height": 780})
    row = chart(page, "exact_match_by_variant").locator(".row").first
    name, dots = row.locator("button").bounding_box(), row.locator("svg").bounding_box()
    assert name["y"] + name["height"] <= dots["y"] + 1 and dots["width"] > 280
    legend = page.locator(".legend button:visible").all()
    assert len(legend) >= 4
    for button in legend:
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360


def test_a_trial_of_the_table_leads_to_its_panel(page: Any) -> None:
    page.locator(".contents a[href='#trials']").click()
    link = page.locator("#table-trials tbody th a").nth(1)
    trial = link.inner_text()
    panel = page.locator(f".panel:has(#trial-{trial})")
    assert not panel.locator("dl").count(), "a panel is made when it is opened"
    page.locator(".panels").locator("xpath=preceding-sibling::*[1]").get_by_label("Filter trials").fill("padded")
    assert panel.is_hidden()
    link.click()
    said = panel.locator("dl").inner_text()
    assert f"s2s try {trial} 'a | b'" in said and f"stages/train/{trial}/curve.jsonl in the store" in said
    values = curves(page)[FIRST][1]
    assert f"lowest {min(values)} at update" in said and panel.locator(".spark path").is_visible()
    assert panel.locator("tbody tr").count() == 2 and "line\nbreak *x*" in panel.locator("td").first.text_content()
    page.emulate_media(media="print")
    assert not page.locator(".panels").is_visible()


def scored(test: Any, said: list[str], nll: Any) -> Any:
    """Return what every metric that can be asked of such texts counts."""
    about = {"sources": test.sources, "nll": nll, "free_nll": 1.1 * nll, "truncated": [False] * len(said)}
    labels = {text for texts in test.references for text in texts}
    read = {"value": lambda text: float(len(text)), "labels": lambda: labels}
    return sentence_statistics(Scored(said, test.references, **about, **read), METRICS.values())


@pytest.mark.full
def test_a_hundred_variants_with_five_seeds_and_all_metrics_stay_below_three_megabytes(
    browser: Any, tmp_path: Path
) -> None:
    factors = {"training.loss.mask": True, "training.loss.normalize": "token"}
    outcomes = []
    for size in range(100):
        for seed in range(1, 6):
            o = outcome(f"model.encoder.size={size}", seed, size / 100, factors | {"size": size}, 40)
            curve = [{"update": 20 * n, "dev_nll": 4 / (n + 1) + seed / 97 + size / 1013} for n in range(50)]
            texts = [f"one two three four five six {n}" for n in range(40)]
            test = replace(o.test, sources=texts, references=[[text] for text in texts])
            said = [f"{text} {seed} {size}" for text in texts]
            found = scored(test, said, o.statistics["nll"])
            known = {"statistics": found, "metrics": corpus_scores(found, METRICS.values())}
            outcomes.append(replace(o, curve=curve, test=test, hypotheses=said, **known))
    assert len(known["metrics"]) >= 20
    write(tmp_path, facts(claims=[]), outcomes)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
    for page in opened(browser, (tmp_path / "report.html").as_uri()):
        page.locator(".contents a[href='#trials']").click()
        page.locator(".panel summary").last.click()
        assert "one two three four five six 2 5 99" in page.locator(".panel").last.inner_text()
        figure = chart(page)
        assert figure.locator(".plot path.grey").count() == 95
        assert figure.locator(".legend button").count() == 5 and figure.locator(".legend option").count() == 96
        figure.get_by_label("One of the 95 grey").select_option("model.encoder.size=50")
        assert figure.locator(".plot path[fill=none][opacity='1']").count() == 1


def test_a_reader_picks_the_map_of_a_variant_and_a_sentence(browser: Any, tmp_path: Path) -> None:
    outcomes = []
    for number, o in enumerate(synthetic(seeds=1, sentences=40)):
        words = [["ein", "zwei", "字"], ["vier", "نص"]]
        said = [[f"one{number}", "two"], ["four"]]
        weights = [np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]), np.array([[0.02 * number, 1 - 0.02 * number]])]
        maps = [Attended(*each) for each in zip(words, said, weights, strict=True)]
        outcomes.append(replace(o, attention=Attention(np.eye(2), maps)))
    write(tmp_path, facts(), outcomes)
    for page in opened(browser, (tmp_path / "report.html").as_uri()):
        unfold(page)
        figure = chart(page, "attention_example")
        assert (
            figure.locator("caption").inner_text()
            == f"{FIRST}, seed 1. Columns, source: ein zwei 字. Rows, output: one0 two"
        )
        figure.get_by_label("Variant").select_option("mask=false, padded, seed 1")
        assert "output: one3 two" in figure.locator("caption").inner_text()
        figure.get_by_label("Sentence").select_option("vier نص")
        assert figure.locator("tbody td").all_inner_texts() == ["6", "94"]
        mean = chart(page, "attention_mean")
        assert not mean.locator("img").is_visible() and not mean.get_by_label("Sentence").count()
        mean.locator("td").first.hover()
        assert mean.locator("output").inner_text() == "The output at 0 % looks at the source at 0 %: 100 %"
        figure.locator("tbody td").last.hover()
        assert figure.locator("output").inner_text() == "“four” looks at “نص”: 94 %"
        figure.get_by_label("Variant").select_option(f"{FIRST}, seed 1")
        assert figure.locator("tbody td").all_inner_texts() == ["0", "100"], "the sentence stays chosen"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_clipped_table_shows_that_it_goes_on_and_keeps_its_first_column(
    browser: Any, address: str, scheme: str
) -> None:
    for page in opened(browser, address, viewport={"width": 360, "height": 800}, color_scheme=scheme):
        unfold(page)
        region = page.locator(".scroll:has(#table-trials)")
        region.scroll_into_view_if_needed()
        assert region.evaluate("(one) => one.scrollWidth > one.clientWidth + 100")
        shot = Image.open(io.BytesIO(region.screenshot())).convert("L")
        middle = [shot.getpixel((x, shot.height - 3)) for x in (shot.width - 1, shot.width - 60)]
        assert abs(middle[0] - middle[1]) > 40, "a shadow at the edge"
        region.evaluate("(one) => { one.scrollLeft = one.scrollWidth; }")
        shot = Image.open(io.BytesIO(region.screenshot())).convert("L")
        middle = [shot.getpixel((x, shot.height - 3)) for x in (shot.width - 1, shot.width - 60)]
        assert abs(middle[0] - middle[1]) < 12, "no shadow at the end"
        first = region.locator("tbody th").first.bounding_box()
        assert abs(first["x"] - region.bounding_box()["x"]) < 1
