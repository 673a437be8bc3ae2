"""The laws of ensembles tested: known mistakes are put into their training and their answers, one at a time.

To add one, write a line into ``BUGS``, as in ``test_bugs.py``.
"""
# ruff: noqa: E501 (a bug is one line of a table)

from __future__ import annotations

from typing import Any

import pytest
import test_ensemble_laws as laws
import test_ensemble_training as training
from test_bugs import Law, having, inject
from test_training_bugs import in_folder

from harness.contracts import training_choice
from harness.core import seeds
from harness.trial import ensemble, members

HAND = having(laws.test_the_mean_of_two_distributions_by_hand)
IN_ORDER = having(laws.test_the_members_are_heard_in_the_order_of_their_parameters)
ITS_OWN = in_folder(training.test_every_member_is_a_training_of_its_own)
AS_ONE = in_folder(training.test_what_is_kept_is_read_as_one_model)


def killed(monkeypatch: pytest.MonkeyPatch) -> Law:
    """The law of killed members, of the one in the middle."""

    def ask(folder: Any) -> None:
        training.test_killed_in_any_member_it_goes_on_bit_for_bit(1, 4, "none", folder, monkeypatch)

    return in_folder(ask)


def searched(monkeypatch: pytest.MonkeyPatch) -> Law:
    """The laws of searches, for an ensemble of models that copy."""
    return having(laws.test_an_ensemble_is_searched_as_a_model_is, laws.COPYING, monkeypatch)


BUGS: list[tuple[str, Any, str, str, Any]] = [
    ("the mean of log-probabilities", ensemble.mean_of_probabilities, "(logps - largest.masked_fill(largest.isneginf(), 0.0)).exp().mean(0).log()", "(logps - largest).mean(0)", HAND),
    ("a word that no member says is no number", ensemble.mean_of_probabilities, ".masked_fill(largest.isneginf(), 0.0)", "", HAND),
    ("the attention of the first member alone", ensemble.Ensemble.advance, "torch.stack([readout.weights_BTS for readout, _ in said]).mean(0)", "said[0][0].weights_BTS", IN_ORDER),
    ("all members go on from the state of the first", ensemble.Ensemble.advance, "tuple(after for _, after in said)", "tuple(said[0][1] for _ in said)", searched),
    ("the first member speaks for all", ensemble._MeanOutput.logp, "member.output.logp(_apart(own_BTR, member), view)", "self.each[0].output.logp(_apart(own_BTR, member), view)", AS_ONE),
    ("members of different seeds are the same", seeds.member_seed, 'f"{seed}/member/{member}"', 'f"member/{member}"', having(training.test_ensembles_of_two_seeds_have_no_member_in_common)),
    ("members draw the same fixed stream", members.by_itself, "member_seed(seed, number)", "seed", in_folder(training.test_members_share_no_random_stream, "order")),
    ("every member has the seed of the first", members._trained, "member_seed(seed, number), own", "seed, own", ITS_OWN),
    ("the folder of a member stays", members.train_all, "shutil.rmtree(_folder(at, number), ignore_errors=True)", "pass", ITS_OWN),
    ("a finished member is trained again", members.train_all, "_finished(at, number) or _trained", "_trained", killed),
    ("the curve begins anew with every member", members._write, 'point | {"update": before + point["update"], "member": number}', 'point | {"member": number}', ITS_OWN),
    ("the cost of one member", members._facts, "sum(one[name] for one in each)", "each[0][name]", ITS_OWN),
    ("an ensemble foreseen as one model", training_choice.foreseen_seconds, "choice.members * min", "min", having(training.test_the_time_of_an_ensemble_is_that_of_its_members)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("function", "old", "new", "law"), [bug[1:] for bug in BUGS], ids=[bug[0] for bug in BUGS])
def test_a_bug_is_noticed(function: Any, old: str, new: str, law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Law = law(monkeypatch) if law in (killed, searched) else law
    inject(monkeypatch, function, old, new)
    with pytest.raises(AssertionError):
        asked()
