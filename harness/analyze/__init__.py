"""Trials to tidy frames, and claims to answers with honest error bars: the door to pandas and scipy."""

from harness.analyze.answers import compare_all, primary_metrics
from harness.analyze.arms import Arm
from harness.analyze.compare import (
    COMPARISON_COLUMNS,
    ONE_SEED,
    POWER,
    SEEDS_ONLY,
    SENTENCES_ONLY,
    SUCCESS_RATES,
    TWO_WAY,
    Comparison,
    compare,
    holm,
)
from harness.analyze.effects import curve_frame, effects, numeric_axes, steps
from harness.analyze.frames import lengths_frame, spelled, trials_frame, variants_frame
from harness.analyze.outcome import Outcome, TestSet, deviation
from harness.analyze.resample import REPLICATES, Resampler
from harness.analyze.twoway import ALPHA

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
    "curve_frame",
    "deviation",
    "effects",
    "holm",
    "lengths_frame",
    "numeric_axes",
    "primary_metrics",
    "spelled",
    "steps",
    "trials_frame",
    "variants_frame",
]
