"""Work in pieces gives every model the numbers and gradients of the work done at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_model_laws import INPUTS_BT, SOURCE_BS, along, close

from harness.contracts import pieces
from harness.core import fast_paths


def test_pieces_change_no_number(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    targets_BT, parameters = INPUTS_BT.roll(-1, 1), list(model.parameters())

    def learn() -> Any:
        nll_N = model.output.nll(*along(model, SOURCE_BS, INPUTS_BT), targets_BT, targets_BT != 10, 0.1)
        return nll_N, torch.autograd.grad(nll_N.square().sum(), parameters, allow_unused=True, materialize_grads=True)

    with fast_paths.off():
        want = learn()
    for size in (1, 40):
        monkeypatch.setattr(pieces, "LARGE", 0)
        monkeypatch.setattr(pieces, "PIECE", size)
        close(learn(), want)
        with torch.no_grad():
            close(
                model.output.nll(*along(model, SOURCE_BS, INPUTS_BT), targets_BT, targets_BT != 10, 0.1),
                want[0].detach(),
            )
