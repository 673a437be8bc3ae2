"""Lets the trained model of a finished trial answer source texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.contracts import EOS
from harness.storage.store import Store
from harness.trial.batches import Pairs, collate, evaluation_width
from harness.trial.decode import Hypothesis, hypotheses
from harness.trial.model import Seq2Seq
from harness.trial.pipeline import SPLIT, Corridor, restore
from harness.trial.prepare import Prepared


def try_model(store: Store, name: str, texts: Sequence[str], *, attention: bool = False) -> list[dict[str, Any]]:
    """Return for each source text a hypothesis, its log-probability, and the source words that the model does not know.

    Args:
        store: where the trial is.
        name: the digest of the trial, or its beginning.
        texts: source texts.
        attention: also return where the model looks: source tokens, target tokens and weights, or None if it has no
            attention.

    Raises:
        SpecError: no finished trial, or more than one, has a digest with this beginning.
    """
    trial = restore(store, name)
    corridor = Corridor(store, (), "cpu")
    prepared, c = corridor.prepared(trial), trial.choice.decoding
    pairs = Pairs.of(prepared.source.encode(texts), [[] for _ in texts])
    model, like = corridor.model(trial), prepared.pairs[SPLIT]
    found = hypotheses(model, c.search.build(), pairs, c.limit, c.batch_size, prepared.target, like=like)
    answers = []
    for index, (text, h) in enumerate(zip(texts, found, strict=True)):
        unknown = prepared.source.unknown_words(text)
        answer = {"source": text, "hypothesis": h.text, "score": h.score, "truncated": h.truncated, "unknown": unknown}
        if attention:
            answer["attention"] = _attention(model, prepared, pairs, index, h)
        answers.append(answer)
    return answers


@torch.no_grad()
def _attention(
    model: Seq2Seq, prepared: Prepared, pairs: Pairs, index: int, found: Hypothesis
) -> dict[str, Any] | None:
    """Return the weights with which a model says its hypothesis: a row for each token, a column for each source token."""
    width = evaluation_width(model.hears_padding, pairs, prepared.pairs[SPLIT])
    begun = model.read(collate(pairs, torch.tensor([index]), width).source_BS)
    own = Pairs.of([[]], [found.tokens])
    weights_BTS = model.advance(collate(own, torch.tensor([0])).inputs_BT, *begun)[0].weights_BTS
    if not weights_BTS.shape[-1]:
        return None
    start, end = pairs.source_starts.tolist()[index : index + 2]
    heard = [*pairs.source[start:end].tolist(), EOS]
    said = [*found.tokens, *([] if found.truncated else [EOS])]
    return {
        "source": [prepared.source.token(number) for number in heard],
        "said": [prepared.target.token(number) for number in said],
        "weights": weights_BTS[0, : len(said), : len(heard)].tolist(),
    }


def draw_attention(answers: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw where the model looks for each answer as SVG and PNG, and return the files."""
    from harness.report import figures
    from harness.report.section import Figure

    drawn = []
    for number, answer in enumerate(answers, 1):
        if (shown := answer["attention"]) is not None:
            parts = shown["source"], shown["said"], shown["weights"], answer["source"]
            drawn.append(Figure(f"attention_{number}", "", partial(figures.attention_example, *parts)))
    return [path for files in figures.draw(folder, drawn).values() for path in files]
