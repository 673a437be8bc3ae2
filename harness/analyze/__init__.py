"""Trials to tidy frames, and claims to answers with honest error bars: the door to pandas and scipy."""

from harness.analyze.answers import compare_all, primary_metrics
from harness.analyze.compare import (
    ALPHA,
    COMPARISON_COLUMNS,
    ONE_SEED,
    POWER,
    Arm,
    Comparison,
    compare,
    detectable,
    holm,
)
from harness.analyze.frames import lengths_frame, spelled, trials_frame, variants_frame
from harness.analyze.outcome import Outcome, TestSet
from harness.analyze.resample import REPLICATES, Resampler

__all__ = [
    "ALPHA",
    "COMPARISON_COLUMNS",
    "ONE_SEED",
    "POWER",
    "REPLICATES",
    "Arm",
    "Comparison",
    "Outcome",
    "Resampler",
    "TestSet",
    "compare",
    "compare_all",
    "detectable",
    "holm",
    "lengths_frame",
    "primary_metrics",
    "spelled",
    "trials_frame",
    "variants_frame",
]
