"""In figures no text leaves the canvas and legends overlap nothing: long names, names in any script, a hundred variants."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from harness.analysis import Outcome
from harness.report import drawing, figures, fonts, line_charts, point_charts
from harness.report.drawing import BEST, FOCUS, GREY, Order, in_focus, order_of
from harness.report.section import Figure
from harness.study.claims import Claim

LONG = [
    f"training.loss.mask=true, model.decoder.context.score=additive, model.encoder.cell.kind=lstm, {n}"
    for n in range(12)
]
SCRIPTS = [
    "遮罩=true, 沒有 dropout, 編碼器雙向, 解碼器注意力機制, 詞嵌入寬度", "注意なし（ベースライン）", "بدون انتباه", "🎉 party=on",
    "café Ω β2", "x" * 70, "주의 없음", "Наблюдение=нет", "W" * 60,
]  # fmt: skip
HUNDRED = [f"model.encoder.kind=rnn, model.decoder.context.score=dot, hidden={n}, dropout=0.{n}" for n in range(100)]
SENTENCE = ("Der Mann mit dem sehr langen Namen geht langsam durch die große Stadt . " * 2).split()
METRIC = "exact_match"


def outcomes(names: Sequence[str]) -> list[Outcome]:
    made = []
    for place, name in enumerate(names):
        for seed in (1, 2):
            score = 10.0 + (place * 37) % 80 + seed
            curve = [{"update": u, "dev_nll": 3.0 - place / len(names) * u / 1000} for u in (0, 500, 1000)]
            made.append(
                Outcome(
                    f"{place}-{seed}", name, seed, "ok", factors={"case": name}, metrics={METRIC: score}, curve=curve
                )
            )
    return made


def means(names: Sequence[str], **columns: Any) -> pd.DataFrame:
    rows = [{"variant": n, "mean": 50.0 + i % 9, "low": 45.0, "high": 60.0} | columns for i, n in enumerate(names)]
    return pd.DataFrame(rows)


def groups(names: Sequence[str]) -> pd.DataFrame:
    kinds = [(0, "statement"), (1, "question"), (2, "everything else")]
    return pd.concat([means(names, place=place, group=group, sentences=50) for place, group in kinds])


def profiles(names: Sequence[str]) -> pd.DataFrame:
    taus = np.linspace(0, 1, 5)
    parts = [
        pd.DataFrame({"variant": n, "above": taus, "share": 1 - taus, "low": 0.8 - taus, "high": 1.0}) for n in names
    ]
    return pd.concat(parts)


def costs(names: Sequence[str]) -> pd.DataFrame:
    rows = [means(names, cost=cost, spent=1.0, front=False).assign(spent=range(1, len(names) + 1)) for cost in "abc"]
    return pd.concat(rows)


LEVELS = pd.DataFrame({"level": [1, 2], "mean": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5]})
TITLES = {cost: f"cost {cost} (FLOPs)" for cost in "abc"}
DRAWN: dict[str, Callable[[Order], Any]] = {
    "by_variant": lambda order: figures.by_variant(point_charts.every_seed(outcomes(order), METRIC, order)),
    "learning_curves": lambda order: figures.line_figure(line_charts.learning_curves(outcomes(order), order)),
    "by_group": lambda order: figures.by_group(
        point_charts.by_group(groups(order), METRIC, order, "rarest source word")
    ),
    "pareto": lambda order: figures.pareto(point_charts.pareto(costs(order), METRIC, order, TITLES)),
    "performance_profiles": lambda order: figures.performance_profiles(
        line_charts.performance_profiles(profiles(order))
    ),
    "iqm_levels": lambda order: figures.iqm_levels(
        point_charts.iqm_levels(means(order).rename(columns={"mean": "iqm", "low": "iqm_low", "high": "iqm_high"}))
    ),
    "heat_maps": lambda order: figures.heat_maps({name: np.eye(6) for name in order}, order),
    "attention_example": lambda order: figures.attention_example(SENTENCE, SENTENCE, np.eye(28), order[0]),
    "attention_of_one": lambda order: figures.attention_example([order[0]], [order[0]], np.eye(1), order[0]),
    "level_curve": lambda order: figures.level_curve(line_charts.level_curve(LEVELS, METRIC, order[0])),
}


def order(names: Sequence[str]) -> Order:
    return order_of(outcomes(names), [], METRIC)


def made(draw: Callable[[Order], Any], names: Sequence[str]) -> Any:
    """Draw a figure as reports do; every warning is an error."""
    with matplotlib.rc_context(drawing.style()), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(order(names))
        fonts.number_undrawn(figure)
        drawing.fit_headline(figure)
        figure.draw_without_rendering()
    return figure


def texts(figure: Any) -> list[Text]:
    """Return the texts that are seen: none of hidden axes, and no ticks beyond the limits."""
    unseen = set()
    for axes in figure.axes:
        drawn = {id(tick) for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()}
        ticks = [tick for axis in (axes.xaxis, axes.yaxis) for tick in (*axis.majorTicks, *axis.minorTicks)]
        unseen |= {id(tick.label1) for tick in ticks if id(tick) not in drawn}
        unseen |= {id(text) for text in axes.findobj(Text)} if not axes.get_visible() else set()
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and id(t) not in unseen]


def outside(figure: Any) -> list[str]:
    """Return the texts that are not wholly on the canvas."""
    page = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    return [t for t, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > page.x1 + 1 or b.y1 > page.y1 + 1]


def overlapped(figure: Any) -> list[str]:
    """Return what lies under a legend or under the title."""
    above = [*figure.legends, *([figure._suptitle] if figure._suptitle else [])]
    boxes = [("axes", axes.get_tightbbox()) for axes in figure.axes if axes.get_visible()]
    boxes += [(type(each).__name__, each.get_window_extent()) for each in above]
    covers = [each.get_window_extent() for each in above]
    return [what for cover in covers for what, box in boxes if box is not cover and _shared(cover, box) > 1.0]


def _shared(one: Any, other: Any) -> float:
    if np.allclose(one.extents, other.extents):
        return 0.0
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, wide) * max(0.0, high)


@pytest.mark.parametrize("names", [LONG, SCRIPTS, HUNDRED], ids=["long", "scripts", "hundred"])
@pytest.mark.parametrize("kind", DRAWN)
def test_no_text_leaves_the_canvas_and_nothing_lies_under_legends_and_titles(kind: str, names: Sequence[str]) -> None:
    figure = made(DRAWN[kind], names)
    assert not outside(figure)
    assert not overlapped(figure)
    assert figure.get_figheight() <= 18 and figure.get_figwidth() <= 14


@pytest.mark.parametrize("names", [LONG, HUNDRED], ids=["long", "hundred"])
@pytest.mark.parametrize("kind", ["by_variant", "iqm_levels"])
def test_the_names_of_rows_stay_apart(kind: str, names: Sequence[str]) -> None:
    (axes,) = made(DRAWN[kind], names).axes
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert len(boxes) == len(names) and all(one.y0 > other.y1 - 2 for one, other in pairwise(boxes))


# ------------------------------------------------------------------------------------------------ claimed and best


def test_few_variants_all_have_a_name_and_of_many_the_claimed_and_the_best() -> None:
    assert in_focus(order(LONG)) == LONG and len(LONG) == FOCUS
    claim = Claim(name="c", better={"case": HUNDRED[1]}, than={"case": HUNDRED[0]}, metric=METRIC)
    found = order_of(outcomes(HUNDRED), [claim], METRIC)
    scores = {o.variant: o.metrics[METRIC] for o in outcomes(HUNDRED)}
    best = sorted(HUNDRED, key=lambda name: -scores[name])[:BEST]
    assert set(found.focus) == {*best, HUNDRED[0], HUNDRED[1]} and list(found) == HUNDRED
    nll = Order(HUNDRED, {name: float(n) for n, name in enumerate(HUNDRED)}, lower=True)
    assert nll.focus == HUNDRED[:BEST]


def test_a_claim_about_all_variants_brings_none_into_focus() -> None:
    halves = [{"case": name, "half": n % 2} for n, name in enumerate(HUNDRED)]
    trials = [Outcome(str(n), HUNDRED[n], 1, "ok", factors=f, metrics={METRIC: float(n)}) for n, f in enumerate(halves)]
    claim = Claim(name="c", better={"half": 1}, than={"half": 0}, metric=METRIC)
    assert order_of(trials, [claim], METRIC).focus == HUNDRED[-BEST:]


def test_others_are_grey_and_counted_in_the_legend_and_the_title_says_so() -> None:
    figure = made(DRAWN["performance_profiles"], HUNDRED)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][-1] == f"{100 - BEST} others"
    colors = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len(colors) == 100 and colors.count(GREY) == 100 - BEST
    assert "grey: neither claimed nor" in " ".join(figure._suptitle.get_text().split())
    assert "grey" not in made(DRAWN["performance_profiles"], LONG)._suptitle.get_text()


def test_many_lines_are_drawn_in_a_panel_for_each_variant_in_focus_before_all_others_in_grey() -> None:
    figure = made(DRAWN["learning_curves"], HUNDRED)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == BEST and not figure.legends
    for axes, variant in zip(shown, order(HUNDRED).focus, strict=True):
        assert axes.get_title(loc="left") == drawing.shortened([variant], 40)[0]
        colors = [line.get_color() for line in axes.get_lines()]
        assert len(colors) == 100 and colors.count(GREY) == 99
        assert axes.get_ylim() == shown[0].get_ylim()
    assert figure._suptitle.get_text().replace("\n", " ").endswith("grey: all others")
    assert "grey" not in made(DRAWN["learning_curves"], LONG)._suptitle.get_text()


def test_lines_of_unlike_grids_are_all_drawn_whole() -> None:
    made_of = [replace(o, curve=[{"update": u, "dev_nll": 2.0} for u in range(10 + i % 7, 900, 100 + i % 7)])
               for i, o in enumerate(outcomes(HUNDRED))]  # fmt: skip
    figure = made(lambda order: figures.line_figure(line_charts.learning_curves(made_of, order)), HUNDRED)
    lines = figure.axes[0].get_lines()
    assert len(lines) == 100 and all(
        np.isfinite(line.get_ydata()).all() and len(line.get_ydata()) > 5 for line in lines
    )


def test_many_variants_without_one_in_focus_are_grey_in_one_panel() -> None:
    none = Order(HUNDRED, {}, lower=False)
    figure = figures.line_figure(line_charts.learning_curves(outcomes(HUNDRED), none))
    (axes,) = figure.axes
    assert not none.focus and {line.get_color() for line in axes.get_lines()} == {GREY}


def test_maps_of_many_variants_are_those_in_focus() -> None:
    figure = made(DRAWN["heat_maps"], HUNDRED)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert len(titles) == BEST and "5 of 100 variants" in figure._suptitle.get_text()


def test_ticks_of_a_logarithmic_axis_are_numbers() -> None:
    ticks = [text.get_text() for text in texts(made(DRAWN["pareto"], LONG)) if "10" in text.get_text()]
    assert "10" in ticks and not any("$" in tick for tick in ticks)


def test_maps_of_one_sentence_have_it_at_their_axes() -> None:
    (axes, _) = made(DRAWN["attention_example"], LONG).axes
    assert " ".join(axes.get_xlabel().split()) == f"source: {' '.join(SENTENCE)}"
    assert " ".join(axes.get_ylabel().split()) == f"output: {' '.join(SENTENCE)}"


# ------------------------------------------------------------------------------------------------------------- files


def test_figures_are_also_vector_files_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    figure = Figure("f", "", lambda: DRAWN["by_variant"](order(SCRIPTS)))
    first, second = (drawing.draw(tmp_path / name, [figure])["f"].paper for name in "ab")
    assert first.suffix == ".pdf" and first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"%PDF") and b"/Type3" not in first.read_bytes()
    assert first.stat().st_size < 60_000


def test_wide_characters_count_twice() -> None:
    assert drawing.wrapped("ab cd", 2) == "ab\ncd"
    assert drawing.wrapped("a.longer_name=true, x", 10) == "a.longer_\nname=true,\nx"
    assert drawing.wrapped("字" * 10, 8) == "字字字字\n字字字字\n字字"
    assert drawing.shortened(["short", "a" * 30 + "end"], 20) == ["short", "a" * 9 + "…" + "a" * 7 + "end"]
