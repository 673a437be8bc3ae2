"""What a search learns of a model in passing is what the model says when it is asked afterwards, for all models and searches."""

from __future__ import annotations

from typing import Any

import torch
from test_model_laws import LIMIT, close, searches

from harness.trial import overheard
from harness.trial.decode import examine, hypotheses
from harness.trial.overheard import Overheard
from harness.trial.pairs import Pairs

PAIRS = Pairs.of([[3, 4, 5, 6], [8, 9], [5], [10, 4, 4], []], [[3, 4], [8, 9, 3, 11, 12, 4, 5, 5], [], [5, 5, 5], [12]])


class Numbers:
    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [[min(12, 4 + len(word)) for word in text.split()] for text in texts]


@torch.no_grad()
def test_what_is_overheard_is_what_is_asked(model: Any, monkeypatch: Any) -> None:
    seen = set()
    for searching in searches(model):
        if type(searching) in seen:
            continue
        seen.add(type(searching))
        for room in (2**26, 0)[: 1 + searching.says_best]:
            monkeypatch.setattr(overheard, "KEPT", room)
            listening, words = Overheard(model, PAIRS, 2, searching.says_best), Numbers()
            found = hypotheses(listening, searching, PAIRS, LIMIT, 2, words)  # type: ignore[arg-type]
            plainly = hypotheses(model, searching, PAIRS, LIMIT, 2, words)  # type: ignore[arg-type]
            assert found == plainly
            got, want = examine(model, PAIRS, found, 2, listening), examine(model, PAIRS, found, 2)
            assert got.oracle == want.oracle
            close((got.nll_N2, got.free_nll_N2), (want.nll_N2, want.free_nll_N2))
            close(got.attention, want.attention)
