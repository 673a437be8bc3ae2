"""Names in any script are drawn where a font has them, and numbered with a note where none has: never boxes or warnings."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib import font_manager

from harness.analysis import compare_all
from harness.report import figures, fonts, pages
from harness.report.facts import StudyFacts
from harness.report.point_charts import every_seed
from harness.report.section import Drawing, Figure
from unit.analysis.test_primary import outcome

NAMES = ["遮罩=true", "沒有遮罩", "mask=café Ω"]
OUTCOMES = [outcome(variant, seed) for variant in NAMES for seed in (1, 2)]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No fonts but the default, and those that a test adds, whatever this machine has."""
    default = [font for font in font_manager.fontManager.ttflist if font.name == fonts.DEFAULT]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", default)
    fonts.families.cache_clear(), fonts._code_points.cache_clear()
    yield
    fonts.families.cache_clear(), fonts._code_points.cache_clear()


def font_of(characters: str, path: Path) -> None:
    """Write a font that has these characters, each an empty square, and install it for this process."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    made = FontBuilder(1000, isTTF=True)
    names = [".notdef", *(f"u{ord(character):04X}" for character in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 800)), pen.lineTo((800, 800)), pen.lineTo((800, 0)), pen.closePath()
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(character): f"u{ord(character):04X}" for character in characters})
    made.setupGlyf(dict.fromkeys(names, pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Noto Sans CJK Test", "styleName": "Regular"})
    made.setupOS2(), made.setupPost()
    made.save(path)
    font_manager.fontManager.addfont(path)


def draw(folder: Path) -> Drawing:
    drawing = Figure("f", "", lambda: figures.by_variant(every_seed(OUTCOMES, "exact_match", NAMES)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return figures.draw(folder, [drawing])["f"]


@pytest.mark.usefixtures("only")
def test_what_no_font_has_is_numbered_and_the_numbers_are_explained(tmp_path: Path) -> None:
    assert draw(tmp_path).note == "[1] 遮罩; [2] 沒有遮罩"


@pytest.mark.usefixtures("only")
def test_what_a_font_has_is_drawn(tmp_path: Path) -> None:
    font_of("遮罩沒有", tmp_path / "han.ttf")
    assert draw(tmp_path / "figures").note == ""


@pytest.mark.usefixtures("only")
def test_labels_titles_and_legends_share_their_numbers() -> None:
    figure, axes = figures.canvas(4, 3)
    axes.plot([0, 1], [0, 1], label="二")
    axes.set_xticks([0, 1], ["一", "x 二 y"], rotation=60)
    axes.set_title("一 against 二")
    figures.legend(figure, axes)
    assert fonts.number_undrawn(figure) == "[1] 一; [2] 二"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["[1]", "x [2] y"]
    assert axes.get_xticklabels()[0].get_rotation() == 60
    assert axes.get_title(loc="center") == "[1] against [2]"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["[2]"]


@pytest.mark.usefixtures("only")
def test_a_report_explains_the_numbers_below_each_figure(tmp_path: Path) -> None:
    facts = StudyFacts("s", "b", "?", "", "d", "s2s run s", primary="exact_match")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph")
        pages.write(tmp_path, facts, OUTCOMES, compare_all(OUTCOMES, [], "d", facts.primary))
    for page in ("report-details.md", "report.html"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "No installed font draws these texts" in text, page
        assert "[2] 沒有遮罩" in text.replace("\\", "")


@pytest.mark.usefixtures("only")
def test_characters_that_cannot_be_drawn_are_code_points_in_a_map_of_attention() -> None:
    assert fonts.drawable(["abc", "\U000f0000", "一"]) == ["abc", "U+F0000", "U+4E00"]


def written(folder: Path) -> dict[str, bytes]:
    return {path.suffix: path.read_bytes() for path in draw(folder).files}


@pytest.mark.usefixtures("only")
def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    first: Any = written(tmp_path / "a")
    assert first == written(tmp_path / "b")
