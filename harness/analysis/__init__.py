"""Trials to tidy frames, and claims to answers with honest error bars: the door to pandas and scipy."""

from harness.analysis.answers import compare_all, primary_metrics
from harness.analysis.arm import Arm
from harness.analysis.compare import compare, holm
from harness.analysis.comparison import (
    COMPARISON_COLUMNS,
    ONE_SEED,
    POWER,
    SEEDS_ONLY,
    SENTENCES_ONLY,
    SUCCESS_RATES,
    TWO_WAY,
    Comparison,
    comparison_columns,
)
from harness.analysis.effects import curve_frame, factorial_effects, numeric_axes, steps
from harness.analysis.frames import comparisons_frame, lengths_frame, spelled, trials_frame, variants_frame
from harness.analysis.outcome import Outcome, TestSet, deviation, further_tests, on, split_of
from harness.analysis.resample import REPLICATES, Resampler
from harness.analysis.variance_components import ALPHA

__all__ = [
    "ALPHA",
    "COMPARISON_COLUMNS",
    "ONE_SEED",
    "POWER",
    "REPLICATES",
    "SEEDS_ONLY",
    "SENTENCES_ONLY",
    "SUCCESS_RATES",
    "TWO_WAY",
    "Arm",
    "Comparison",
    "Outcome",
    "Resampler",
    "TestSet",
    "compare",
    "compare_all",
    "comparison_columns",
    "comparisons_frame",
    "curve_frame",
    "deviation",
    "factorial_effects",
    "further_tests",
    "holm",
    "lengths_frame",
    "numeric_axes",
    "on",
    "primary_metrics",
    "spelled",
    "split_of",
    "steps",
    "trials_frame",
    "variants_frame",
]
