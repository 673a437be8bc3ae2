"""The laws of training tested: known mistakes are put into objectives, averaging, corruption and initializers, one at a time.

To add one, write a line into ``BUGS``, as in ``test_bugs.py``.
"""
# ruff: noqa: E501 (a bug is one line of a table)

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import test_averaging as averages
import test_training as laws
from test_bugs import Law, having, inject
from unit.trial import test_pretraining
from unit.variants import (
    test_averaging,
    test_initializers_by_part,
    test_losses,
    test_minimum_risk,
    test_objectives,
    test_training_parts,
)

from harness.trial.averaged import Averaged
from harness.trial.train import Training
from variants import (
    averaging,
    cells,
    corruption,
    initializers_by_part,
    losses,
    losses_adversarial,
    losses_coverage,
    losses_risk,
    losses_self_paced,
    losses_two_passes,
    losses_unlikelihood,
    orders_competence,
    pretraining,
)


def in_folder(law: Any, *values: Any) -> Law:
    """A law that wants a folder after its other parameters."""

    def ask() -> None:
        with tempfile.TemporaryDirectory() as folder:
            law(*values, Path(folder))

    return ask


RISK = having(test_minimum_risk.test_value_and_gradient_are_those_of_the_expected_risk, "edit", 0.3)
COUPLING = having(test_objectives.test_each_player_of_professor_forcing_learns_from_its_own_cost, True)
COVERAGE = having(test_objectives.test_coverage_counts_what_is_attended_to_again)
MEAN_KEPT = in_folder(averages.test_the_mean_is_evaluated_and_kept_and_training_goes_on_from_its_own, "last")
EVERY_UPDATE = in_folder(averages.test_a_moving_average_takes_in_every_update)
MOVING = having(test_averaging.test_exponential_weighs_the_past_less_and_less)
FORGET = having(test_initializers_by_part.test_a_forget_bias_decides_how_much_is_kept, 1.0)
APART = having(test_initializers_by_part.test_word_vectors_and_matrices_have_initializers_of_their_own)
EASY = having(test_training_parts.test_the_easiest_pairs_come_first_by_competence)
NO_END = having(test_losses.test_the_end_of_a_target_may_be_left_out, True, "token", 1.7532789486)

BUGS: list[tuple[str, Any, str, str, Law]] = [
    # objectives
    ("EOS not counted, but divided by", losses.CrossEntropy._normalizer, "not self.cfg.count_eos", "False", NO_END),
    ("R-drop in one direction", losses_two_passes.RDrop.forward, "(one_NV.exp() - other_NV.exp()) * (one_NV - other_NV)", "2 * one_NV.exp() * (one_NV - other_NV)", having(test_objectives.test_r_drop_adds_both_directions_of_the_divergence)),
    ("own words heard one step early", losses_two_passes.ParallelSampling._mixed, "torch.cat([batch.inputs_BT[:, :1], logp_BTV.argmax(-1)[:, :-1]], 1)", "logp_BTV.argmax(-1)", having(test_objectives.test_the_second_pass_hears_the_words_of_the_first_where_the_coins_say_so)),
    ("each pass begins from the reference", losses_two_passes.ParallelSampling._mixed, "model.follow(state, source, heard_BT)", "model.follow(state, source, batch.inputs_BT)", having(test_objectives.test_as_many_passes_as_words_are_a_walk_through_time)),
    ("coverage loss over padding", losses_coverage.CoverageLoss.forward, "batch.weighted(twice_BT[counted_BT], counted_BT)", "twice_BT", COVERAGE),
    ("coverage of the present step", losses_coverage.CoverageLoss.forward, "weights_BTS.cumsum(1) - weights_BTS", "weights_BTS.cumsum(1)", COVERAGE),
    ("the target itself is unlikely", losses_unlikelihood.negatives, "(before_BTV > 0) & (said_BTV == 0)", "before_BTV > 0", having(test_objectives.test_words_said_before_are_unlikely)),
    ("hard pairs are learned first", losses_self_paced.SelfPaced.forward, "< self.limit(update)", ">= self.limit(update)", having(test_objectives.test_hard_pairs_wait_until_the_limit_has_grown)),
    ("risk not renormalized", losses_risk.MinimumRisk.forward, ".softmax(1)", ".exp()", RISK),
    ("a sample that comes twice counts twice", losses_risk.MinimumRisk.forward, ".masked_fill(repeated(tokens_BKT), -torch.inf)", "", RISK),
    ("risk of a sample against another pair", losses_risk.MinimumRisk.forward, "risks(tokens_BKT,", "risks(tokens_BKT.flip(1),", RISK),
    ("EOS left out of the probability of a sample", losses_risk.sequence_logp, "tokens_BT != PAD", "tokens_BT > EOS", RISK),
    ("the most probable word in place of a sample", losses_risk.drawn, "draws_BT[:, t : t + 1].to(below_BV)", "0.5", having(test_minimum_risk.test_samples_come_as_often_as_they_are_probable)),
    ("pieces of a batch draw other samples", losses_risk.drawn, "draws_BT[:, t : t + 1].to(below_BV)", "draws_BT[0, t].to(below_BV)", in_folder(laws.test_splitting_a_batch_changes_nothing, {"kind": "minimum_risk", "samples": 3, "sharpness": 0.5}, "fused")),
    ("the judge learns from the model's cost", losses_adversarial.ProfessorForcing.forward, "self.requires_grad_(False)", "pass", COUPLING),
    ("the judge's cost reaches the model", losses_adversarial.ProfessorForcing.forward, "free.features_BTR.detach()", "free.features_BTR", COUPLING),
    ("the judge hears padding", losses_adversarial.ProfessorForcing.verdict, "real_BT.sum(1).cpu()", "real_BT.sum(1).cpu() * 0 + real_BT.shape[1]", having(test_objectives.test_a_judge_hears_words_and_not_padding)),
    # averaging
    ("the average is one update late", Training._update, "self.updater.make(batch, self.at.update, self.last)\n    self.at.update += 1\n    self.averaged.follow(self.at.update)", "self.at.update += 1; self.averaged.follow(self.at.update); self.updater.make(batch, self.at.update - 1, self.last)", EVERY_UPDATE),
    ("the average is not freed of its start", averaging.Exponential.mean, "1 - self.cfg.decay**update", "1.0", MOVING),
    ("the average keeps what it should take in", averaging.Exponential.follow, "1 - self.cfg.decay", "self.cfg.decay", EVERY_UPDATE),
    ("checkpoints change with the parameters", averaging.LastCheckpoints.follow, "parameter.clone()", "parameter", having(test_averaging.test_the_last_checkpoints_count_and_older_ones_do_not)),
    ("training goes on from the average", Averaged.in_place, "self._set(own)", "pass", MEAN_KEPT),
    ("the average is evaluated and not kept", Training._parameters, "with self.averaged.in_place(self.at.update):", "if True:", MEAN_KEPT),
    ("the average is kept and not evaluated", Training._evaluate, "with self.averaged.in_place(self.at.update):", "if True:", MEAN_KEPT),
    ("a checkpoint forgets the average", Averaged.state, "self.part.kept", "[]", in_folder(laws.test_same_seed_same_curve_bit_for_bit_and_killed_is_never_killed, "averaging-exponential")),
    # corruption
    ("word dropout at evaluation", Training._evaluate, 'self.pairs["validation"], ', 'self.pairs["validation"] if self.choice.corruption.kind == "none" else self.pairs["validation"]._replace(source=self.pairs["validation"].source.clamp_max(3)), ', in_folder(averages.test_evaluation_hears_all_words)),
    ("padding and EOS are dropped", corruption.WordDropout._dropped, " & (ids_BS > UNK)", "", having(averages.test_targets_and_special_words_stay, "word_dropout")),
    ("a word dropped in one place alone", corruption.WordDropout._dropped, 'if self.cfg.drops == "word":', "if False:", having(averages.test_all_occurrences_of_a_word_are_dropped_together_if_it_says_so)),
    ("source dropped in place of the target", corruption.WordDropout.corrupted, "self.cfg.target, generator", "self.cfg.source, generator", having(averages.test_word_dropout_drops_as_many_words_as_it_says_on_the_side_that_it_says)),
    # orders, pretraining, initializers
    ("the hardest pairs come first", orders_competence.Competence.rows, "argsort(stable=True)", "argsort(stable=True, descending=True)", EASY),
    ("a linear competence for its square root", orders_competence.Competence.competence, "power = 2 if", "power = 1 if", EASY),
    ("target words heard by their numbers", pretraining.Trained._posed, "_meanings(model.words)[target.long()]", "target", having(test_pretraining.test_a_task_gives_targets_their_sources, "autoencoder", [[5, 3, 6], [3]])),
    ("forget bias on the wrong gate", cells.Lstm.forget_biases, ".chunk(4)[1]", ".chunk(4)[0]", FORGET),
    ("forget bias set twice", initializers_by_part.ByPart.fill, "other.zero_()", "other.fill_(self.cfg.forget_bias)", FORGET),
    ("forget bias of one direction alone", initializers_by_part._forget_biases, "for gate in module.forget_biases()", "for gate in module.forget_biases()[::2]", FORGET),
    ("word vectors begin from the matrices' values", initializers_by_part.ByPart.fill, "table.weight.copy_(values)", "pass", APART),
    ("the identity of another scale", initializers_by_part.Identity.fill, ".mul_(self.cfg.scale)", "", having(test_initializers_by_part.test_identity_keeps_the_state_of_an_elman_network)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("function", "old", "new", "law"), [bug[1:] for bug in BUGS], ids=[bug[0] for bug in BUGS])
def test_a_bug_is_noticed(function: Any, old: str, new: str, law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(monkeypatch, function, old, new)
    with pytest.raises(AssertionError):
        law()
