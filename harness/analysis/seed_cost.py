"""The cost of one more seed of a whole study, from its finished trials."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from harness.analysis.outcome import Outcome


def seconds_per_seed(outcomes: Sequence[Outcome], seeds: int) -> float:
    """Return the seconds that one seed of every variant takes one worker: mean trainings and decodings, counted once each.

    Args:
        outcomes: all trials of the study; at least one has finished.
        seeds: the seeds of the study.
    """
    done = [outcome for outcome in outcomes if outcome.status == "ok"]
    trainings = {o.stages["train"]: o.costs["train_seconds"] for o in done}
    decoded = [
        len(o.test.sources) / o.costs["decode_sentences_per_second"]
        for o in done
        if "decode_sentences_per_second" in o.costs
    ]
    all_trainings = len({o.stages["train"] for o in outcomes if "train" in o.stages}) / seeds
    decodings = len(outcomes) / seeds
    return statistics.fmean(trainings.values()) * all_trainings + statistics.fmean(decoded or [0.0]) * decodings
