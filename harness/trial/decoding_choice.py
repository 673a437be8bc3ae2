"""The decoding branch of a trial: its search, its sizes, and how its hypotheses are scored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.contracts import Search
from harness.core.registry import Choice
from harness.trial.score import ScoringChoice


class DecodingChoice(Choice):
    """The decoding branch of a trial."""

    search: Search.Config
    """How words are chosen."""
    limit: int = Field(ge=1)
    """Tokens of a hypothesis at most, EOS counted; hypotheses cut there are counted and reported."""
    batch_size: int = Field(default=64, ge=1)
    """Sentences at once; changes cost, never output."""
    precision: Literal["fp32", "bf16"] = Field(default="fp32", json_schema_extra={"neutral": "fp32"})
    """Precision of the model's products while it searches; with ``bf16`` a sample is searched in fp32 too, and differences are
    reported. Likelihoods and attention are always computed in fp32."""
    scoring: ScoringChoice = ScoringChoice()
    """How hypotheses are compared with references."""
