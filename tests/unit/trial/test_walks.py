"""The two walks of a sentence, one until the model would end, say what they say side by side."""

from __future__ import annotations

from typing import Any

import choices
import pytest
import torch

from harness.contracts import BOS, EOS, PAD
from harness.core import fast_paths
from harness.trial.walks import on_its_own

SOURCE_BS = torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0], [9, 10, 2, 0], [4, 4, 2, 0], [6, 2, 0, 0]])
LENGTHS_B = torch.tensor([6, 2, 5, 1, 6])
REAL_BT = torch.arange(6) < LENGTHS_B.unsqueeze(1)


def model(feed: bool) -> Any:
    """A model with attention that ends now and then."""
    cell = {"kind": "lstm", "hidden": 6}
    context = {"kind": "attention", "score": "general", "mask": True, "place": "readout", "merge": "concat"}
    made = choices.build(
        {
            "embeddings": {"kind": "separate", "width": 5},
            "encoder": {"kind": "rnn", "cell": cell},
            "decoder": {"kind": "rnn", "cell": cell, "bridge": "copy", "context": context, "feed": feed},
            "output": {"kind": "linear"},
        }
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.0, 1.0)
        made.output.project.bias[EOS] += 4.0
    return made.double().eval()


@torch.no_grad()
@pytest.mark.parametrize("feed", (False, True))
def test_walks_that_part_are_walks_side_by_side(monkeypatch: pytest.MonkeyPatch, feed: bool) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    made, rows = model(feed), []
    targets_BT = torch.randint(4, 11, (5, 6), generator=torch.Generator().manual_seed(1)).masked_fill(~REAL_BT, PAD)
    begun = made.read(SOURCE_BS)
    made.output.project.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    nll_BT, words_BT = on_its_own(made, begun, targets_BT)
    parted, rows[:] = sum(rows), []
    with fast_paths.off():
        plain_BT, both_BT = on_its_own(made, begun, targets_BT)
    torch.testing.assert_close(nll_BT[REAL_BT], plain_BT[REAL_BT], rtol=1e-12, atol=1e-12)
    assert torch.equal(words_BT[REAL_BT], both_BT[REAL_BT])
    assert int(REAL_BT.sum()) < parted < sum(rows), "some model ended, and not all that ended was walked twice"
    assert not set(words_BT[REAL_BT].tolist()) & {PAD, BOS, EOS}
