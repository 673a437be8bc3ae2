"""Columns of the tables for papers, as a study file names them: metrics that are computed, and costs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.registry import suggest
from harness.core.spec import SpecError
from harness.study.grid import Variant

COSTS = (
    "params", "train_flops", "train_seconds", "target_tokens_per_second", "decode_sentences_per_second", "peak_memory_mb",
)  # fmt: skip
"""Costs that a table can show."""


def check(columns: Sequence[str], variants: Sequence[Variant]) -> None:
    """Check that every column is a metric of the variants that run, or a cost; each once.

    Raises:
        SpecError: one is not; its path says which.
    """
    running = [variant.choice for variant in variants if not variant.skipped]
    known = dict.fromkeys([*(name for choice in running for name in choice.decoding.scoring.wanted), *COSTS])
    for index, name in enumerate(columns):
        if name not in known:
            message = f"no metric or cost of this study is called '{name}'; {suggest(name, list(known))}"
            raise SpecError(message, path=f"columns.{index}")
        if name in columns[:index]:
            raise SpecError(f"'{name}' is named twice", path=f"columns.{index}")
