"""The third stage: a search over a split, and what the model says of the references."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.batches import Pairs, collate, evaluation_width, in_order
from harness.contracts import EOS, PAD, Search
from harness.model import Seq2Seq
from harness.registry import Choice
from harness.score import ScoringChoice
from harness.vocabulary import Vocabulary


class DecodingChoice(Choice):
    """The decoding branch of a trial."""

    search: Search.Config
    """How words are chosen."""
    limit: int = Field(ge=1)
    """Tokens of a hypothesis at most, EOS counted; hypotheses cut there are counted and reported."""
    batch_size: int = Field(default=64, ge=1)
    """Sentences at once; changes cost, never output."""
    scoring: ScoringChoice = ScoringChoice()
    """How hypotheses are compared with references."""


class Hypothesis(NamedTuple):
    """What was found for one source."""

    text: str
    tokens: list[int]
    score: float
    """Summed log-probability that the model gives, in nats."""
    truncated: bool
    """Whether the limit came before EOS."""


@torch.no_grad()
def hypotheses(
    model: Seq2Seq,
    search: Search,
    pairs: Pairs,
    limit: int,
    batch_size: int,
    target: Vocabulary,
    like: Pairs | None = None,
) -> list[Hypothesis]:
    """Return one hypothesis per pair, in the order of the pairs; batching changes nothing but the time.

    A model that hears padding is shown as much of it as if the pairs stood among those of ``like``.
    """
    model.eval()
    width = evaluation_width(model.hears_padding, pairs, *([like] if like is not None else []))
    found: dict[int, Hypothesis] = {}
    for index in in_order(pairs, batch_size):
        tokens_BT, score_B = search.find(model, collate(pairs, index, width).source_BS, limit)
        for row, tokens, score in zip(index.tolist(), tokens_BT.tolist(), score_B.tolist(), strict=True):
            ended = EOS in tokens
            said = tokens[: tokens.index(EOS)] if ended else [token for token in tokens if token != PAD]
            found[row] = Hypothesis(target.decode(said), said, score, not ended)
    return [found[row] for row in range(pairs.size)]


@torch.no_grad()
def reference_nll(model: Seq2Seq, pairs: Pairs, batch_size: int, *, free: bool) -> Tensor:
    """Return the NLL of each reference and its number of tokens (EOS counted), N x 2.

    Teacher-forced, or with the model hearing its own most probable words (``free``).
    """
    model.eval()
    width = evaluation_width(model.hears_padding, pairs)
    made_N2 = torch.zeros(pairs.size, 2, dtype=torch.float64)
    for index in in_order(pairs, batch_size):
        batch = collate(pairs, index, width)
        gold_BT = None
        if free:
            gold_BT = torch.zeros_like(batch.inputs_BT, dtype=torch.bool)
            gold_BT[:, 0] = True
        real_BT = batch.targets_BT != PAD
        features_NR = model(batch.source_BS, batch.inputs_BT, gold_BT).features_BTR[real_BT]
        nll_BT = torch.zeros(real_BT.shape, dtype=torch.float64, device=real_BT.device)
        nll_BT[real_BT] = model.output.nll(features_NR, batch.targets_BT[real_BT]).double()
        made_N2[index] = torch.stack([nll_BT.sum(1), real_BT.sum(1)], 1).cpu()
    return made_N2


def decode(
    model: Seq2Seq, choice: DecodingChoice, pairs: Pairs, target: Vocabulary, folder: Path, device: torch.device
) -> dict[str, Any]:
    """Write ``hypotheses.jsonl`` and ``references.safetensors`` for one split and return facts about cost."""
    model, pairs = model.to(device), pairs.to(device)
    began = time.monotonic()
    found = hypotheses(model, choice.search.build(), pairs, choice.limit, choice.batch_size, target)
    seconds = time.monotonic() - began
    with (folder / "hypotheses.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for hypothesis in found:
            file.write(json.dumps(hypothesis._asdict(), ensure_ascii=False) + "\n")
    nll = {
        "nll": reference_nll(model, pairs, choice.batch_size, free=False),
        "free_nll": reference_nll(model, pairs, choice.batch_size, free=True),
    }
    save_file(nll, folder / "references.safetensors")
    return {
        "decode_seconds": seconds,
        "decode_sentences_per_second": len(found) / seconds,
        "truncated": sum(hypothesis.truncated for hypothesis in found),
    }


def load(folder: Path) -> tuple[list[Hypothesis], dict[str, Tensor]]:
    """Read what ``decode`` wrote."""
    lines = (folder / "hypotheses.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [Hypothesis(**json.loads(line)) for line in lines], load_file(folder / "references.safetensors")
