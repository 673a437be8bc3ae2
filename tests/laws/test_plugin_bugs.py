"""The laws tested on plugins: a mistake put into a plugin, or into what serves it, is noticed; asked by ``test_plugins.py``."""
# ruff: noqa: E501 (a bug is one line of a table)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import choices
import pytest
import test_cell_laws
import test_model_laws as laws
from test_bugs import Law, having, inject, models

from harness.contracts import model
from harness.trial.model import Seq2Seq
from variants import searches_beam

COPYING = models(laws.test_a_copying_model_knows_each_word_of_its_own_sentence)
TWO_FACES = models(laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)
READING = having(test_cell_laws.test_walking_is_stepping, "matrix", 3)
HEARING_COPIES = models(laws.test_words_that_are_not_known_are_heard_alike)

BUGS: dict[str, list[tuple[str, Any, str, str, Law]]] = {
    "coverage_context": [
        ("beam: the memory of the context not reordered", searches_beam.Beam.find, "state = select(state, taken)", "state = (*select(state[:-1], taken), select(state[-1], torch.arange(len(taken)).clamp(max=len(before) - 1)))", models(laws.test_search_reports_the_score_the_model_gives)),
        ("coverage forgotten between steps", "Coverage.forward", "memory + weights_BS", "weights_BS * 0", models(laws.test_every_parameter_learns)),
        ("coverage of another sentence", "Coverage.forward", "memory + weights_BS", "memory + weights_BS.roll(1, 0)", models(laws.test_padding_and_company_change_nothing)),
    ],
    "copying_output": [
        ("copied to another sentence", "PointerGenerator.logp", "source.copies_BS.unsqueeze(1)", "source.copies_BS.roll(1, 0).unsqueeze(1)", COPYING),
        ("counted rows of another sentence", "PointerGenerator.counted", "counted_BT.nonzero()[:, 0]", "counted_BT.nonzero()[:, 0] * 0", TWO_FACES),
        ("a word numbered by its last position", Seq2Seq._copies, "(ids_BS.unsqueeze(2) == ids_BS.unsqueeze(1)).int().argmax(-1)", "torch.arange(ids_BS.shape[1]).expand_as(ids_BS)", COPYING),
        ("words matched by their ids, not their texts", Seq2Seq._copies, "self.meanings_V[ids_BS.clamp_max(self.words.source - 1)]", "ids_BS", COPYING),
        ("an unknown word heard as another", Seq2Seq._known, "ids.where(ids < size, UNK)", "ids % size", HEARING_COPIES),
    ],
    "matrix_cell": [
        ("matrix state transposed", "MatrixCell.step", "return visible_BH, matrix_BDD", "return visible_BH, matrix_BDD.transpose(1, 2)", READING),
        ("a matrix of another sentence", "MatrixCell.step", "forget_B11 * matrix_BDD", "forget_B11 * matrix_BDD.roll(1, 0)", models(laws.test_padding_and_company_change_nothing)),
        ("padding changes a matrix", model._kept, "torch.where(real_B.view(-1, *[1] * (new.ndim - 1)), new, old)", "new if new.ndim > 2 else torch.where(real_B.view(-1, 1), new, old)", models(laws.test_padding_and_company_change_nothing)),
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
