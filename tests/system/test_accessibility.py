"""Axe finds nothing to object to in the pages: on screens of three widths, in light and dark, and on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from system.browsers import opened, unfold
from unit.report.test_index import report
from unit.report.test_pages import facts, synthetic, write

from harness.analysis.outcome import Attended, Attention
from harness.analysis.runs import diff
from harness.report.diff import html_page
from harness.report.index import write as write_index

pytestmark = pytest.mark.slow
HOME = Path(__file__).resolve().parents[2]
WIDTHS = (1280, 768, 360)
JOINT = "tutorial-d2l on tiny-en-fr, numbers"
"""The page of a study over several datasets, as it is committed."""


@pytest.fixture(scope="module")
def axe() -> Callable[[Any], list[str]]:
    """Return the rules that a page breaks, each with the first place."""
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

    def broken(page: Any) -> list[str]:
        found = Axe().run(page).response
        assert len(found["passes"]) > 15, "axe looked"
        return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]

    return broken


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report and the index of all, by title."""
    folder = tmp_path_factory.mktemp("results")
    for name, verdicts in (("a", {"one": "supported"}), ("b", {"one": "refuted", "two": "equivalent"})):
        report(folder, name, "numbers", verdicts)
    write_index(folder)
    seen = Attention(np.eye(12), [Attended(["one", "two"], ["eins", "zwei"], np.array([[0.9, 0.1], [0.2, 0.8]]))])
    outcomes = [replace(o, attention=seen) for o in synthetic(seeds=3, sentences=60)]
    write(folder / "masking", facts(), outcomes)
    results = HOME / "results"
    compared = diff(*(str(results / name / "numbers") for name in ("bottleneck", "attention-kinds")))
    (folder / "diff.html").write_text(html_page(compared), encoding="utf-8")
    return {
        "masking on numbers": folder / "masking/report.html",
        "Results": folder / "index.html",
        "Two studies compared": folder / "diff.html",
        JOINT: results / "tutorial-d2l/report.html",
    }


@pytest.mark.parametrize("media", ["light", "dark", "print"])
@pytest.mark.parametrize("title", ["masking on numbers", "Results", "Two studies compared", JOINT])
def test_axe_finds_no_violation(
    browser: Any, axe: Callable[[Any], list[str]], pages: dict[str, Path], title: str, media: str
) -> None:
    settings = {"media": "print"} if media == "print" else {"color_scheme": media}
    for page in opened(browser, pages[title].as_uri(), title):
        page.emulate_media(**settings)
        found = {}
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found[width, "folded"] = axe(page)
        unfold(page)
        for panel in page.locator(".panel summary").all()[:2]:
            if panel.is_visible():
                panel.click()
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found[width, "unfolded"] = axe(page)
        assert not {where: broken for where, broken in found.items() if broken}


def test_axe_would_tell(browser: Any, axe: Callable[[Any], list[str]], pages: dict[str, Path]) -> None:
    for page in opened(browser, pages["masking on numbers"].as_uri()):
        page.evaluate("document.querySelector('.lead').style.color = '#ddd'; document.documentElement.lang = ''")
        assert {text.partition(":")[0] for text in axe(page)} == {"color-contrast", "html-has-lang"}
