"""Outputs against numbers worked by hand."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest
import torch

from harness.contracts import Embeddings, Memory, Output, Readout, Source, Words

SOURCE = Source(Memory(torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool), ()), ())


def output(kind: str, readout: int = 2, width: int = 2) -> tuple[Any, Any]:
    torch.manual_seed(0)
    embeddings = Embeddings.kinds["separate"].Config(width=width).build(words=Words(9, 4))
    return Output.kinds[kind].Config().build(readout=readout, embeddings=embeddings), embeddings


def by_hand(kind: str) -> Any:
    """An output whose logits at (1, 2) are 0, 1, 2 and 1."""
    made, embeddings = output(kind)
    weight = made.project.weight if kind == "linear" else embeddings.target_weight_VE
    bias = made.project.bias if kind == "linear" else made.bias
    with torch.no_grad():
        weight[:] = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        bias[:] = torch.tensor([0.0, 0.0, 0.0, -2.0])
    return made


@pytest.mark.parametrize("kind", ("linear", "tied"))
def test_log_probabilities_and_smoothing(kind: str) -> None:
    made, readout = by_hand(kind), Readout(torch.tensor([[[1.0, 2.0]]]), torch.zeros(1, 1, 0))
    whole = log(1 + exp(1) + exp(2) + exp(1))
    want = [logit - whole for logit in (0.0, 1.0, 2.0, 1.0)]
    assert made.logp(readout, SOURCE)[0, 0].tolist() == pytest.approx(want, abs=1e-6)
    target_BT = torch.tensor([[2]])
    assert made.nll(readout, SOURCE, target_BT).item() == pytest.approx(whole - 2, abs=1e-6)
    # Four words: nine tenths on the target, a tenth on the mean of all four, whose logits have the mean 1.
    assert made.nll(readout, SOURCE, target_BT, None, 0.1).item() == pytest.approx(
        0.9 * (whole - 2) + 0.1 * (whole - 1), abs=1e-6
    )


def test_a_tied_output_is_the_table_itself() -> None:
    made, embeddings = output("tied")
    assert made.weight is embeddings.target_weight_VE
    with torch.no_grad():
        embeddings.target_weight_VE[3] += 1.0
    features = torch.tensor([[0.5, 1.0]])
    torch.testing.assert_close(made.logits(features)[0, 3], embeddings.target_weight_VE[3] @ features[0])
    model = torch.nn.ModuleList([embeddings, made])
    assert [tuple(p.shape) for p in model.parameters()] == [(9, 2), (4, 2), (4,)]


def test_a_tied_output_of_another_width_has_a_map_in_between() -> None:
    made, embeddings = output("tied", readout=5)
    features = torch.randn(3, 5)
    want = features @ made.project.weight.T @ embeddings.target_weight_VE.T + made.bias
    torch.testing.assert_close(made.logits(features), want)
    assert [tuple(p.shape) for p in made.project.parameters()] == [(2, 5)]
