"""Own words of the model while it trains: looked for only where they are heard, and the same as if all were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from harness.contracts import Words
from harness.core import fast_paths
from harness.core.spec import read
from harness.trial.model import ModelChoice, Seq2Seq

SOURCE_BS = torch.tensor([[5, 6, 2], [7, 2, 0], [8, 9, 2]])
INPUTS_BT = torch.tensor([[1, 4, 5, 6], [1, 7, 8, 9], [1, 4, 4, 4]])
GOLD_BT = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 0, 1]], dtype=torch.bool)
CELL = {"kind": "gru", "hidden": 64}


def model() -> Seq2Seq:
    """A model whose output has 2,100 x 64 numbers, enough for rows to be left out."""
    plain: dict[str, Any] = {
        "embeddings": {"kind": "separate", "width": 8},
        "encoder": {"kind": "rnn", "cell": CELL},
        "decoder": {"kind": "rnn", "cell": CELL, "bridge": "copy", "context": "none"},
        "output": "linear",
    }
    torch.manual_seed(0)
    return Seq2Seq(read(ModelChoice, plain), Words(2100, 2100)).double()


def walked(replace: Any) -> tuple[Tensor, Tensor, int]:
    """The readouts of a walk, the random number that comes next, and the rows that the output has seen."""
    made, seen, tosses = model(), [], torch.Generator().manual_seed(1)
    project = made.output.project
    project.register_forward_pre_hook(lambda _, args: seen.append(args[0][..., 0].numel()))  # type: ignore[operator,union-attr]
    readout = made(SOURCE_BS, INPUTS_BT, GOLD_BT, replace, tosses)
    return readout.features_BTR, torch.rand(1, generator=tosses), sum(seen)


@pytest.mark.parametrize("replace", ("argmax", "sample"))
def test_only_words_that_are_heard_are_looked_for(monkeypatch: pytest.MonkeyPatch, replace: str) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    features_BTR, following, seen = walked(replace)
    with fast_paths.off():
        plain_BTR, after, everyone = walked(replace)
    torch.testing.assert_close(features_BTR, plain_BTR, rtol=1e-12, atol=1e-12)
    assert torch.equal(following, after)
    assert (seen, everyone) == (int((~GOLD_BT).sum()), GOLD_BT.numel())
