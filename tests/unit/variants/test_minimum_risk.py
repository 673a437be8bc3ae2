"""Minimum risk training on a model of pairs of words, small enough that all it can say is written down."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import sacrebleu
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import BOS, EOS, PAD, Batch, Memory, Output, Readout, Source, Streams
from variants.losses_risk import MinimumRisk, bleu_risk, drawn, edit_risk, repeated

WORDS = 5
"""Four special ones, of which UNK may be said, and one more."""
REFERENCE = [3, 4, EOS]


class Next(Output):
    """The log-probabilities of a word after another, off a table."""

    class Config(Output.Config):
        pass

    def __init__(self, table: Tensor) -> None:
        nn.Module.__init__(self)
        self.words, self.table_VV = WORDS, nn.Parameter(table)

    def logp(self, readout: Readout, source: Source) -> Tensor:
        return (readout.features_BTR @ self.table_VV).log_softmax(-1)


class Pairs:
    """Says a word by the one before it, whatever the source."""

    def __init__(self, table: Tensor) -> None:
        self.output = Next(table)

    def read(self, source_BS: Tensor) -> tuple[tuple[()], Source]:
        mask_BS = source_BS != PAD
        return (), Source(Memory(mask_BS.unsqueeze(-1).double(), mask_BS, ()), ())

    def advance(self, heard_BT: Tensor, state: Any, source: Source) -> tuple[Readout, Any]:
        features_BTR = F.one_hot(heard_BT, WORDS).double()
        return Readout(features_BTR, features_BTR[..., :0]), state

    def follow(self, state: Any, source: Source, inputs_BT: Tensor, *_: object) -> Readout:
        return self.advance(inputs_BT, state, source)[0]

    def next_logp(self, readout: Readout, source: Source) -> Tensor:
        return self.output.logp(readout, source)[:, -1]


def table() -> Tensor:
    return torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


BATCH = Batch(torch.tensor([[4, EOS]]), torch.tensor([[BOS, *REFERENCE[:-1]]]), torch.tensor([REFERENCE]))
ALL = [[*said, EOS] for length in range(3) for said in itertools.product((3, 4), repeat=length)]
"""What can be said in three steps of which the last is EOS."""


def expected(table_VV: Tensor, sharpness: float, risk: Any) -> Tensor:
    """The risk over all hypotheses, from the formula."""
    logp_VV = table_VV.log_softmax(-1)
    logs = [sum(logp_VV[a, b] for a, b in itertools.pairwise([BOS, *said])) for said in ALL]
    shares = torch.stack([(sharpness * log).exp() for log in logs])
    risks = torch.tensor([risk(said[:-1], REFERENCE[:-1]) for said in ALL], dtype=torch.float64)
    return (shares * risks).sum() / shares.sum()


@pytest.mark.parametrize("sharpness", [1.0, 0.3])
@pytest.mark.parametrize("risk", ["bleu", "edit"])
def test_value_and_gradient_are_those_of_the_expected_risk(risk: Any, sharpness: float) -> None:
    """With samples enough to meet all that can be said; the gradient by finite differences of the formula."""
    model, formula = Pairs(table()), {"bleu": bleu_risk, "edit": edit_risk}[risk]
    config = MinimumRisk.Config(samples=2000, sharpness=sharpness, risk=risk, extra=0)
    streams = Streams(None, "argmax", torch.Generator(), torch.Generator().manual_seed(1))
    made = MinimumRisk(config, None)(model, BATCH, streams, 0)
    assert float(made.value.detach()) == pytest.approx(float(expected(table(), sharpness, formula)))
    assert int(made.normalizer) == int(made.positions) == 1
    made.value.backward()
    for place in itertools.product(range(WORDS), repeat=2):
        step = torch.zeros(WORDS, WORDS, dtype=torch.float64)
        step[place] = 1e-5
        up, down = (float(expected(table() + sign * step, sharpness, formula)) for sign in (1, -1))
        assert float(model.output.table_VV.grad[place]) == pytest.approx((up - down) / 2e-5, abs=1e-8)  # type: ignore[index]


def test_samples_come_as_often_as_they_are_probable() -> None:
    model = Pairs(table())
    state, source = model.read(torch.full((6000, 1), 4))
    said_BT = drawn(model, state, source, torch.rand(6000, 3, generator=torch.Generator().manual_seed(0)))
    rows = [tuple(row) for row in said_BT.tolist()]
    logp_VV = table()[:, [EOS, 3, 4]].log_softmax(-1)  # PAD and BOS are never said
    for said in ALL:
        # The third word is EOS, whatever its probability.
        pairs = list(itertools.pairwise([BOS, *said]))[: 2 if len(said) == 3 else None]
        share = math.exp(sum(float(logp_VV[a, {EOS: 0, 3: 1, 4: 2}[b]]) for a, b in pairs))
        assert rows.count((*said, *[PAD] * (3 - len(said)))) / 6000 == pytest.approx(share, abs=0.03)


def test_a_hypothesis_counts_once() -> None:
    said_BKT = torch.tensor([[[3, EOS], [4, EOS], [3, EOS], [4, EOS]]])
    assert repeated(said_BKT).tolist() == [[False, False, True, True]]


def test_likelihood_is_added() -> None:
    values = []
    for likelihood in (0.0, 2.0):
        streams = Streams(None, "argmax", torch.Generator(), torch.Generator().manual_seed(1))
        config = MinimumRisk.Config(samples=3, likelihood=likelihood)
        made = MinimumRisk(config, None)(Pairs(table()), BATCH, streams, 0)
        values.append((float(made.value.detach()), float(made.extras["risk"])))
    logp_VV = table().log_softmax(-1)
    nll = -float(logp_VV[BOS, 3] + logp_VV[3, 4] + logp_VV[4, EOS])
    assert values[1][0] == pytest.approx(values[0][0] + 2.0 * nll) and values[0] == (values[1][1],) * 2


@pytest.mark.parametrize(
    ("said", "reference"), [("a b c d e", "a b c d e"), ("a b x d e f", "a b c d"), ("a", "a b c"), ("x y", "a b")]
)
def test_bleu_is_that_of_sacrebleu(said: str, reference: str) -> None:
    oracle = sacrebleu.BLEU(smooth_method="add-k", smooth_value=1, tokenize="none", effective_order=False)
    score = oracle.sentence_score(said, [reference]).score
    assert bleu_risk(*([ord(word) for word in text.split()] for text in (said, reference))) == pytest.approx(
        1 - score / 100, abs=1e-9
    )


def test_risks_of_empty_sentences() -> None:
    for risk in (bleu_risk, edit_risk):
        assert [risk([], []), risk([], [4]), risk([4], [])] == [0, 1, 1]


def test_edits_are_counted_and_divided_by_the_longer_side() -> None:
    said, reference = ([ord(letter) for letter in word] for word in ("kitten", "sitting"))
    assert edit_risk(said, reference) == edit_risk(reference, said) == pytest.approx(3 / 7)
