"""Objectives beyond cross-entropy, on numbers worked by hand and against what they are short for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from harness.contracts import BOS, EOS, PAD, UNK, Batch, Memory, Output, Readout, Source, Streams, Words, sayable
from harness.core.spec import Incompatible, read
from harness.trial.model import ModelChoice, Seq2Seq
from variants.losses_adversarial import ProfessorForcing
from variants.losses_coverage import CoverageLoss
from variants.losses_self_paced import SelfPaced
from variants.losses_two_passes import ParallelSampling, RDrop, _gumbel
from variants.losses_unlikelihood import Unlikelihood, negatives

ATTENTION = {"kind": "attention", "score": "general", "mask": True, "place": "readout", "merge": "concat"}
TARGETS = torch.tensor([[4, 5, 4, EOS], [6, EOS, PAD, PAD]])
INPUTS = torch.tensor([[BOS, 4, 5, 4], [BOS, 6, EOS, PAD]])
BATCH = Batch(TARGETS, INPUTS, TARGETS)
REAL = torch.tensor([[True] * 4, [True, True, False, False]])


class Said(Output):
    """Reads log-probabilities off the features."""

    class Config(Output.Config):
        pass

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.words = 8

    def logp(self, readout: Readout, source: Source) -> Tensor:
        return readout.features_BTR


class Model:
    """Says given distributions and weights, those of one pass after the other, whatever it hears."""

    def __init__(self, *passes_BTV: Tensor, weights_BTS: Tensor | None = None) -> None:
        self.output, self.passes, self.calls = Said(), [p.log() for p in passes_BTV], 0
        self.weights_BTS = weights_BTS

    def read(self, source_BS: Tensor) -> tuple[tuple[()], Source]:
        mask_BS = source_BS != PAD
        return (), Source(Memory(mask_BS.unsqueeze(-1).float(), mask_BS, ()), ())

    def follow(self, *_: object) -> Readout:
        logp_BTV = self.passes[self.calls % len(self.passes)]
        self.calls += 1
        return Readout(logp_BTV, logp_BTV[..., :0] if self.weights_BTS is None else self.weights_BTS)


def streams(gold_BT: Tensor | None = None, replace: Any = "argmax") -> Streams:
    return Streams(gold_BT, replace, *(torch.Generator().manual_seed(n) for n in (1, 2)))


def distribution(*odds: float) -> Tensor:
    """The same distribution over eight words at all steps of both targets."""
    made = torch.tensor(odds, dtype=torch.float64)
    return (made / made.sum()).expand(2, 4, 8)


P, Q = distribution(1, 1, 2, 1, 3, 2, 4, 2), distribution(2, 1, 1, 4, 1, 1, 2, 4)


def small(context: Any = ATTENTION, seed: int = 1) -> Seq2Seq:
    """A model of random values in double precision that drops nothing."""
    torch.manual_seed(seed)
    cell = {"kind": "gru", "hidden": 5}
    decoder = {"kind": "rnn", "cell": cell, "bridge": "linear", "context": context}
    parts = {"embeddings": {"kind": "separate", "width": 4}, "encoder": {"kind": "rnn", "cell": cell}}
    model = Seq2Seq(read(ModelChoice, parts | {"decoder": decoder, "output": "linear"}), Words(8, 8)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 1.2)
    return model


def nll_of(p_BTV: Tensor) -> float:
    return -float(p_BTV.gather(-1, TARGETS.unsqueeze(-1)).squeeze(-1)[REAL].log().sum())


def test_r_drop_adds_both_directions_of_the_divergence() -> None:
    p, q = P[0, 0], Q[0, 0]
    there, back = (float((a * (a / b).log()).sum()) for a, b in ((p, q), (q, p)))
    assert there != pytest.approx(back)
    made = RDrop(RDrop.Config(alpha=3.0), None)(Model(P, Q), BATCH, streams(), 0)
    # Six words and EOS in all.
    assert float(made.value) == pytest.approx((nll_of(P) + nll_of(Q)) / 2 + 3.0 / 4 * 6 * (there + back))
    assert float(made.extras["kl"]) == pytest.approx(6 * (there + back) / 2) and int(made.normalizer) == 6


def test_r_drop_of_equal_passes_is_the_cross_entropy() -> None:
    assert float(RDrop(RDrop.Config(alpha=9.0), None)(Model(P), BATCH, streams(), 0).value) == pytest.approx(nll_of(P))


GOLD = torch.tensor([[True, False, False, False], [True, False, False, False]])


def test_as_many_passes_as_words_are_a_walk_through_time() -> None:
    model = small()
    walked = streams(GOLD).follow(model, BATCH)[0]
    expected = model.output.nll(walked, model.read(TARGETS)[1], TARGETS, REAL).sum()
    plain = model.output.nll(model(TARGETS, INPUTS), model.read(TARGETS)[1], TARGETS, REAL).sum()
    values = {}
    for passes in (1, 4):
        part = ParallelSampling(ParallelSampling.Config(passes=passes), model)
        values[passes] = float(part(model, BATCH, streams(GOLD), 0).value.detach())
    assert values[4] == pytest.approx(float(expected.detach()))
    assert float(plain.detach()) != pytest.approx(values[1]) != pytest.approx(values[4])
    part = ParallelSampling(ParallelSampling.Config(), model)
    assert float(part(model, BATCH, streams(), 0).value.detach()) == pytest.approx(float(plain.detach()))


def test_the_second_pass_hears_the_words_of_the_first_where_the_coins_say_so() -> None:
    model = small()
    heard: list[Tensor] = []
    follow = model.follow

    def spy(state: Any, source: Source, inputs_BT: Tensor, *rest: Any) -> Readout:
        heard.append(inputs_BT)
        return follow(state, source, inputs_BT, *rest)

    model.follow = spy  # type: ignore[method-assign]
    ParallelSampling(ParallelSampling.Config(), model)(model, BATCH, streams(GOLD), 0)
    said_BT = sayable(model.output.logp(model(TARGETS, INPUTS), model.read(TARGETS)[1])).argmax(-1)
    assert torch.equal(heard[0], INPUTS)
    assert torch.equal(heard[1][:, 1:], torch.where(GOLD, INPUTS, said_BT.roll(1, 1))[:, 1:])
    assert (heard[1][:, 0] == BOS).all() and not torch.equal(heard[1], INPUTS)


def test_sampled_words_have_their_probabilities() -> None:
    logp_NV = torch.tensor([0.7, 0.2, 0.1]).log().expand(4000, 3)
    words_N = (logp_NV + _gumbel(logp_NV, torch.Generator().manual_seed(0))).argmax(-1)
    assert (words_N.bincount() / 4000).tolist() == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


WEIGHTS = torch.tensor(
    [[[0.6, 0.4], [0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], [[1.0, 0.0], [0.3, 0.7], [1.0, 0.0], [1.0, 0.0]]],
    dtype=torch.float64,
)


def test_coverage_counts_what_is_attended_to_again() -> None:
    part = CoverageLoss(CoverageLoss.Config(weight=2.0), small())
    made = part(Model(P, weights_BTS=WEIGHTS), BATCH, streams(), 0)
    # Before step 2 to 4 of the first: (.6 .4), (1.1 .9), (2.0 1.0); before step 2 of the second: (1 0).
    again = (0.5 + 0.4) + (0.9 + 0.1) + (0.2 + 0.8) + 0.3
    assert float(made.extras["coverage"]) == pytest.approx(again)
    assert float(made.value) == pytest.approx(nll_of(P) + 2.0 * again)


def test_coverage_needs_attention_weights() -> None:
    with pytest.raises(Incompatible, match="the coverage loss needs attention weights"):
        CoverageLoss(CoverageLoss.Config(), small("none"))


def test_words_said_before_are_unlikely() -> None:
    assert negatives(TARGETS, 8)[0].nonzero().tolist() == [[1, 4], [2, 5], [3, 4], [3, 5]]
    assert negatives(TARGETS, 8)[1, :2].nonzero().tolist() == [[1, 6]]
    p = P[0, 0]
    unlikely = -sum(math.log(1 - float(p[word])) for word in (4, 5, 4, 5, 6))
    made = Unlikelihood(Unlikelihood.Config(alpha=0.5), None)(Model(P), BATCH, streams(), 0)
    assert float(made.extras["unlikelihood"]) == pytest.approx(unlikely)
    assert float(made.value) == pytest.approx(nll_of(P) + 0.5 * unlikely)


def test_a_word_that_is_certain_costs_no_infinity() -> None:
    certain = torch.full((2, 4, 8), 1e-300, dtype=torch.float64)
    certain[..., 4] = 1.0
    assert math.isfinite(float(Unlikelihood(Unlikelihood.Config(), None)(Model(certain), BATCH, streams(), 0).value))


def test_hard_pairs_wait_until_the_limit_has_grown() -> None:
    logs = P[0, 0].log()
    first, second = -float(2 * logs[4] + logs[5] + logs[EOS]), -float(logs[6] + logs[EOS])
    assert second / 2 < first / 4
    part = SelfPaced(SelfPaced.Config(start=(second / 2 + first / 4) / 2, growth=1.1), None)
    early, late = (part(Model(P), BATCH, streams(), update) for update in (0, 5))
    assert float(early.value) == pytest.approx(second) and int(early.extras["paced"]) == 2
    assert float(late.value) == pytest.approx(first + second) and int(late.extras["paced"]) == 6
    assert int(early.normalizer) == int(late.normalizer) == 6, "few easy pairs make small steps"
    assert part.limit(10**9) == math.inf


@pytest.mark.parametrize("both", [True, False])
def test_each_player_of_professor_forcing_learns_from_its_own_cost(both: bool) -> None:
    """Gradients are those of two separate minimizations; the judge's readouts are not the model's to change, nor reverse."""
    model = small()
    part = ProfessorForcing(ProfessorForcing.Config(weight=3.0, both=both, hidden=3), model).double()
    made = part(model, BATCH, streams(), 0)
    made.value.backward()
    assert all(parameter.requires_grad for parameter in part.parameters())
    forced = model(TARGETS, INPUTS)
    first_BT = torch.zeros_like(REAL)
    first_BT[:, 0] = True
    free = model(TARGETS, INPUTS, first_BT)
    real, other = (part.verdict(each.features_BTR, REAL) for each in (forced, free))
    judge = -F.logsigmoid(real).sum() - F.logsigmoid(-other).sum()
    fooled = -F.logsigmoid(other).sum() - (F.logsigmoid(-real).sum() if both else 0.0)
    nll = model.output.nll(forced, model.read(TARGETS)[1], TARGETS, REAL).sum()
    assert float(made.extras["judge"]) == pytest.approx(float(judge.detach()))
    assert float(made.extras["fooled"]) == pytest.approx(float(fooled.detach()))
    for module, cost in ((part, judge), (model, nll + 3.0 * fooled)):
        own = list(module.parameters())
        for parameter, expected in zip(own, torch.autograd.grad(cost, own, retain_graph=True), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, expected)


def test_a_judge_hears_words_and_not_padding() -> None:
    model = small()
    part = ProfessorForcing(ProfessorForcing.Config(hidden=3), model).double()
    features_BTR = model(TARGETS, INPUTS).features_BTR
    strange_BTR = torch.where(REAL.unsqueeze(-1), features_BTR, UNK)
    torch.testing.assert_close(part.verdict(features_BTR, REAL), part.verdict(strange_BTR, REAL))
