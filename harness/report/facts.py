"""What a report says of its study beside the trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.study.claims import Claim


@dataclass(frozen=True)
class StudyFacts:
    """All that a report says about its study beside the trials."""

    name: str
    base: str
    question: str
    expectation: str
    digest: str
    """Names the study's plan; seeds the resamples."""
    command: str
    """The exact command that runs the study again."""
    claims: list[Claim] = field(default_factory=list)
    primary: str = ""
    """The metric that the base names as the one to judge its task by."""
    axes: dict[str, list[Any]] = field(default_factory=dict)
    """What varies: dotted path to values."""
    matched: dict[str, str] = field(default_factory=dict)
    """What the variants were made to have in common, and how."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Variants that cannot be built, each with the reason."""
    signatures: dict[str, str] = field(default_factory=dict)
    """How each metric is computed."""
    origins: list[tuple[str, str]] = field(default_factory=list)
    """Where the numbers come from, for readers: data, machine, software, code."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Dataset sha256, commit, package versions, hardware, ..."""
    plan: dict[str, Any] = field(default_factory=dict)
