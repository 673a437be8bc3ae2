"""Decoded test sets, as later stages and reports read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file
from torch import Tensor


class Hypothesis(NamedTuple):
    """What was found for one source."""

    text: str
    tokens: list[int]
    score: float
    """Summed log-probability that the model gives, in nats."""
    truncated: bool
    """Whether the limit came before EOS."""
    proven: bool | None = None
    """Whether the search proved that no hypothesis within the limit is more probable; None if it never does."""

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, without a proof where the search never gives one."""
        return {name: value for name, value in self._asdict().items() if name != "proven" or value is not None}


class Decoded(NamedTuple):
    """What the decode stage wrote, in the order of the test sentences."""

    hypotheses: list[Hypothesis]
    nll: dict[str, Tensor]
    """``nll`` and ``free_nll``: see ``harness.trial.decode.Examined``."""
    oracle: list[str]
    """What the model says word by word when it is given the length of the first reference (Lake & Baroni 2018)."""


class Attended(NamedTuple):
    """Where a decoder looks while it says its own hypothesis."""

    source: list[str]
    """Source tokens, EOS among them: the columns."""
    said: list[str]
    """Tokens of the hypothesis, EOS among them where it was said: the rows."""
    weights_TS: Tensor


def load(folder: Path) -> Decoded:
    """Read what the decode stage wrote, the attention aside."""
    oracle = [line["text"] for line in _read_lines(folder / "oracle.jsonl")]
    return Decoded(load_hypotheses(folder), load_file(folder / "references.safetensors"), oracle)


def load_hypotheses(folder: Path) -> list[Hypothesis]:
    """Read what the search found."""
    return [Hypothesis(**line) for line in _read_lines(folder / "hypotheses.jsonl")]


def load_fp32(folder: Path) -> dict[int, Hypothesis]:
    """Read what the search found in fp32 for a sample of rows, by row; nothing where it searched in fp32 throughout."""
    path = folder / "fp32.jsonl"
    return {line.pop("row"): Hypothesis(**line) for line in _read_lines(path)} if path.exists() else {}


def load_attention(folder: Path) -> tuple[Tensor, list[Attended]] | None:
    """Read the mean attention on a grid of relative positions, target x source, and examples; None without attention."""
    if not (folder / "attention.safetensors").exists():
        return None
    weights = load_file(folder / "attention.safetensors")
    labels = _read_lines(folder / "attention.jsonl")
    return weights["mean"], [Attended(**line, weights_TS=weights[f"example_{row}"]) for row, line in enumerate(labels)]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
