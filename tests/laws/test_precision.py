"""Every model trains and is searched in bf16: its parts accept what torch's autocast hands them, whatever the mixture."""

from __future__ import annotations

from typing import Any

import choices
import torch
from test_model_laws import INPUTS_BT, LIMIT, SOURCE_BS, along, searches

from harness.contracts import PAD
from harness.trial.precision import searching

TARGETS_BT = torch.cat([INPUTS_BT[:, 1:], torch.full((3, 1), 2)], 1)
CPU = torch.device("cpu")
ROUNDED = 0.05
"""How far a log-probability of a rounded model may be from its own in fp32, in nats a word: weights as first drawn, no search
may be further off."""


def test_every_model_trains_in_bf16(plain: Any) -> None:
    torch.manual_seed(0)
    model = choices.assemble(plain).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.output.nll(*along(model, SOURCE_BS, INPUTS_BT), TARGETS_BT).mean()
    loss.backward()
    assert bool(loss.isfinite()), "the loss is not finite"
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"


@torch.no_grad()
def test_every_search_in_bf16_reports_nearly_the_score_that_fp32_gives(plain: Any) -> None:
    torch.manual_seed(0)
    model = choices.assemble(plain).eval()
    for search in searches(model):
        with searching("bf16", CPU):
            tokens_BT, score_B, _ = search.find(model, SOURCE_BS, LIMIT)
        heard_BT = torch.cat([torch.full((3, 1), 1), tokens_BT[:, :-1]], 1)
        nll_BT = model.output.nll(*along(model, SOURCE_BS, heard_BT), tokens_BT).view_as(tokens_BT)
        exact_B = -(nll_BT * (tokens_BT != PAD)).sum(1)
        far = float(((score_B - exact_B) / (tokens_BT != PAD).sum(1)).abs().max())
        assert far <= ROUNDED, f"{type(search).__name__} is {far:.3f} nats a word off"
