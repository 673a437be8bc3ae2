"""A model that cannot learn eight pairs by heart has a mistake in it."""

from __future__ import annotations

from typing import Any

import choices
import pytest
import torch
from test_model_laws import along, said, search

from harness.contracts import BOS, EOS, PAD

SOURCES = [[4, 5, 6], [6, 5, 4], [7, 8], [8, 7], [9, 4, 7, 10], [10], [5, 5, 9], [4, 10, 8, 6]]
TARGETS = [[5, 6, 7], [7, 6, 5, 4], [8], [4, 9, 9], [10, 8, 5], [6, 10], [9, 4], [7, 5, 10, 8]]


BY_HEART = [
    pytest.param(
        *model.values, id=model.id, marks=[pytest.mark.slow, *([pytest.mark.full] if place >= choices.QUICK else [])]
    )
    for place, model in enumerate(choices.params())
]


def padded(rows: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


RATES = (0.01, 0.003)
"""Learning rates: what recurrent networks learn fast with makes some stacks of attention diverge."""


def learns(plain: Any, updates: int) -> tuple[bool, Any]:
    """Return whether a model learns with one of the rates, and the model."""
    learnt, model = learn(plain, updates, RATES[0])
    return (learnt, model) if learnt else learn(plain, updates, RATES[1])


def learn(plain: Any, updates: int, rate: float) -> tuple[bool, Any]:
    """Return whether a model says every target exactly before so many updates are over, and the model."""
    torch.manual_seed(0)
    model = choices.assemble(choices.enlarged(plain, 5)).train()
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    source_BS = padded(SOURCES)
    inputs_BT, targets_BT = padded([[BOS, *row] for row in TARGETS]), padded([[*row, EOS] for row in TARGETS])
    for update in range(1, updates + 1):
        loss = model.output.nll(*along(model, source_BS, inputs_BT), targets_BT, targets_BT != PAD).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        if update % 25 == 0 or update == updates:
            model.eval()
            if said(search("greedy").find(model, source_BS, 6)) == [[*row, EOS] for row in TARGETS]:
                return True, model
            model.train()
    return False, model


def check(learnt: bool, model: Any) -> None:
    """Learns by heart just when it hears the source, word after word; a context that sees positions may do so too."""
    decoder = model.decoder
    # Where only the output looks at the source and the first state is no help, words can be copied, not translated.
    copies = decoder.weighs_only and model.output.copies and not decoder.bridge.hears_source
    assert learnt or copies or not decoder.hears_order, "hears the source, word after word, and does not learn it"
    assert decoder.hears_order or decoder.sees_positions or not learnt, "learns what it claims not to hear"


@pytest.mark.parametrize("plain", choices.params()[: choices.QUICK : 6])
def test_eight_pairs_are_learnt_by_heart(plain: Any) -> None:
    learnt, model = learns(plain, 600)
    check(learnt, model)


@pytest.mark.parametrize("plain", BY_HEART)
def test_eight_pairs_are_learnt_by_heart_by_all(plain: Any) -> None:
    learnt, model = learns(plain, 600)
    check(learnt, model)
