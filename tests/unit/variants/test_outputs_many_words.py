"""Outputs for many words and of high rank, against torch's own and against loops over their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.contracts import Embeddings, Memory, Output, Readout, Source, Words
from harness.core.spec import Incompatible

SOURCE = Source(Memory(torch.zeros(2, 1, 1), torch.ones(2, 1, dtype=torch.bool), ()), ())
TARGETS_BT = torch.tensor([[0, 5, 6, 19], [11, 12, 3, 8]])


def made(kind: str, readout: int = 8, words: int = 20, **settings: Any) -> Any:
    torch.manual_seed(0)
    embeddings = Embeddings.kinds["separate"].Config(width=5).build(words=Words(9, words))
    return Output.kinds[kind].Config(**settings).build(readout=readout, embeddings=embeddings).double()


def readout(width: int = 8) -> Readout:
    torch.manual_seed(1)
    return Readout(torch.randn(2, 4, width).double(), torch.zeros(2, 4, 0).double())


# ------------------------------------------------------------------------------------------------------- adaptive


def test_adaptive_softmax_is_torchs_own() -> None:
    output, said = made("adaptive_softmax", cutoffs=(6, 12, 500), divide=2.0), readout()
    torchs = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [6, 12], div_value=2.0).double()
    assert [p.shape for p in output.parameters()] == [p.shape for p in torchs.parameters()]
    with torch.no_grad():
        for ours, theirs in zip(output.parameters(), torchs.parameters(), strict=True):
            theirs.copy_(ours)
    flat = said.features_BTR.flatten(0, 1)
    torch.testing.assert_close(output.logp(said, SOURCE).flatten(0, 1), torchs.log_prob(flat))
    torch.testing.assert_close(output.nll(said, SOURCE, TARGETS_BT), -torchs(flat, TARGETS_BT.flatten()).output)


def test_adaptive_softmax_says_why_it_cannot_be() -> None:
    with pytest.raises(Incompatible, match="a vocabulary of 20 words has none beyond the cutoff 20"):
        made("adaptive_softmax", cutoffs=(20,))
    with pytest.raises(Incompatible, match=r"\[12, 6\] do not rise"):
        made("adaptive_softmax", cutoffs=(12, 6))
    with pytest.raises(Incompatible, match="width 8 leaves no features for 2 clusters"):
        made("adaptive_softmax", cutoffs=(6, 12), divide=4.0)


def test_adaptive_softmax_computes_the_clusters_of_targets_alone() -> None:
    output = made("adaptive_softmax", cutoffs=(6, 12), divide=2.0)
    seen: list[int] = []
    for tail in output.tails:
        tail.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    output.nll(readout(), SOURCE, TARGETS_BT)
    assert seen == [3, 2], "6, 11 and 8; 19 and 12"


# -------------------------------------------------------------------------------------------- mixture, bottleneck


def test_a_mixture_of_softmaxes_is_a_mean_of_probabilities() -> None:
    output, said = made("mixture_of_softmaxes", components=3, width=4), readout()
    got = output.logp(said, SOURCE).exp()
    for row in range(2):
        for step in range(4):
            r = said.features_BTR[row, step]
            prior = (output.prior.weight @ r).softmax(0)
            want = torch.zeros(20).double()
            for k in range(3):
                latent = torch.tanh(output.latent.weight[4 * k : 4 * k + 4] @ r)
                want += prior[k] * (output.project.weight @ latent + output.project.bias).softmax(0)
            torch.testing.assert_close(got[row, step], want)


def test_a_mixture_has_a_higher_rank_than_one_softmax() -> None:
    torch.manual_seed(2)
    said = Readout(torch.randn(1, 60, 3).double(), torch.zeros(1, 60, 0).double())
    ranks = [
        int(torch.linalg.matrix_rank(made(kind, readout=3, **settings).logp(said, SOURCE)[0]))
        for kind, settings in (("linear", {}), ("mixture_of_softmaxes", {"components": 3, "width": 3}))
    ]
    assert ranks[0] <= 5 < ranks[1], "readouts of width three, a bias and the normalizer"


def test_a_bottleneck_is_a_product_of_narrow_matrices() -> None:
    output, said = made("bottleneck", width=3), readout()
    logits = said.features_BTR @ (output.project.weight @ output.narrow.weight).T + output.project.bias
    torch.testing.assert_close(output.logp(said, SOURCE), logits.log_softmax(-1))
    assert sum(p.numel() for p in output.parameters()) == 3 * 8 + 20 * 3 + 20


# ---------------------------------------------------------------------------------------------------------- tying


@pytest.mark.parametrize(("kind", "joint", "tables"), (("separate", False, 2), ("shared", True, 1)))
def test_two_way_and_three_way_tying(kind: str, joint: bool, tables: int) -> None:
    """Tied to separate tables, the output shares its table with the decoder's input; tied to a shared one, with all."""
    embeddings = Embeddings.kinds[kind].Config(width=5).build(words=Words(20, 20, joint))
    output = Output.kinds["tied"].Config().build(readout=5, embeddings=embeddings)
    both = nn.ModuleList([embeddings, output])
    assert [tuple(p.shape) for p in both.parameters()] == [(20, 5)] * tables + [(20,)]
    before = embeddings.target(TARGETS_BT), embeddings.source(TARGETS_BT)
    with torch.no_grad():
        output.weight += 1.0
    assert not torch.equal(embeddings.target(TARGETS_BT), before[0])
    assert torch.equal(embeddings.source(TARGETS_BT), before[1]) == (tables == 2)
