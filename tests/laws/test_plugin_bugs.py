"""The laws tested on plugins: a mistake put into a plugin, or into what serves it, is noticed; asked by ``test_plugins.py``."""
# ruff: noqa: E501 (a bug is one line of a table)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import choices
import pytest
import test_model_laws as laws
from test_bugs import Law, inject, models

from variants import searches

BUGS: dict[str, list[tuple[str, Any, str, str, Law]]] = {
    "coverage_context": [
        ("beam: the memory of the context not reordered", searches.Beam.find, "state = select(state, (first_B1 + parent_BK).flatten())", "state = (*select(state[:-1], (first_B1 + parent_BK).flatten()), state[-1])", models(laws.test_search_reports_the_score_the_model_gives)),
        ("coverage forgotten between steps", "Coverage.forward", "memory + weights_BS", "weights_BS * 0", models(laws.test_every_parameter_learns)),
        ("coverage of another sentence", "Coverage.forward", "memory + weights_BS", "memory + weights_BS.roll(1, 0)", models(laws.test_padding_and_company_change_nothing)),
    ],
}  # fmt: skip
NAME = Path(choices.PLUGIN).stem
CASES = BUGS.get(NAME, [])


@pytest.mark.skipif(not choices.PLUGIN, reason="no plugin is named: test_plugins.py asks with each of them")
@pytest.mark.parametrize(("function", "old", "new", "law"), [bug[1:] for bug in CASES], ids=[bug[0] for bug in CASES])
def test_a_bug_is_noticed(function: Any, old: str, new: str, law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(function, str):
        part, method = function.split(".")
        function = getattr(getattr(sys.modules[f"plugin_{NAME}"], part), method)
    inject(monkeypatch, function, old, new)
    with pytest.raises(AssertionError):
        law()
