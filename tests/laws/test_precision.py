"""Every model trains under ``precision: bf16``: its parts accept what torch's autocast hands them, whatever the mixture."""

from __future__ import annotations

from typing import Any

import choices
import torch
from test_model_laws import INPUTS_BT, SOURCE_BS, along

TARGETS_BT = torch.cat([INPUTS_BT[:, 1:], torch.full((3, 1), 2)], 1)


def test_every_model_trains_in_bf16(plain: Any) -> None:
    torch.manual_seed(0)
    model = choices.assemble(plain).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.output.nll(*along(model, SOURCE_BS, INPUTS_BT), TARGETS_BT).mean()
    loss.backward()
    assert bool(loss.isfinite()), "the loss is not finite"
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"
