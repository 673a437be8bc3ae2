"""Lets the trained model of a finished trial answer source texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.storage.store import Store
from harness.trial.batches import Pairs
from harness.trial.decode import hypotheses
from harness.trial.pipeline import SPLIT, Corridor, restore


def try_model(store: Store, name: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return a hypothesis with its score for each source text.

    Args:
        store: where the trial is.
        name: the digest of the trial, or its beginning.
        texts: source texts.

    Raises:
        SpecError: no finished trial, or more than one, has a digest with this beginning.
    """
    trial = restore(store, name)
    corridor = Corridor(store, (), "cpu")
    prepared, c = corridor.prepared(trial), trial.choice.decoding
    pairs = Pairs.of(prepared.source.encode(texts), [[] for _ in texts])
    model = corridor.model(trial)
    tested = prepared.pairs[SPLIT]
    answers = hypotheses(model, c.search.build(), pairs, c.limit, c.batch_size, prepared.target, like=tested)
    return [
        {"source": text, "hypothesis": h.text, "score": h.score, "truncated": h.truncated}
        for text, h in zip(texts, answers, strict=True)
    ]
