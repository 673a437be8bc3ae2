"""The fourth stage: the hypotheses for a test set are compared with its references."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.contracts import Dataset, Scored
from harness.trial import decoded, score
from harness.trial.decoded import Hypothesis
from harness.trial.encoded import Prepared
from harness.trial.score import ScoringChoice

TRIAL = "trial.json"
"""The file that says what a trial is, beside the scores of its main test set: by it, a trial is found by its digest."""


def run(
    choice: ScoringChoice, dataset: Dataset, prepared: Prepared, further: Path | None, hypotheses: Path, folder: Path
) -> dict[str, Any]:
    """Score the hypotheses for a test set, write statistics and scores, and return the scores.

    Args:
        choice: the metrics and how they compare.
        dataset: where the test set comes from: it knows which numbers its texts mean.
        prepared: the data of the trial.
        further: the folder of a further test set; None: the main one.
        hypotheses: the folder of the decode stage.
        folder: where to write.
    """
    found, nll, oracle = decoded.load(hypotheses)
    rows = prepared.test(further).rows
    facts = score.score(choice, _scored(choice, dataset, prepared, rows, found, nll=nll, oracle=oracle), folder)
    if exact := decoded.load_fp32(hypotheses):
        some = [rows[row] for row in exact]
        both = {"bf16": [found[row] for row in exact], "fp32": list(exact.values())}
        facts["fp32"] = {name: _scores(choice, dataset, prepared, some, said) for name, said in both.items()}
    return facts


def _scored(
    choice: ScoringChoice,
    dataset: Dataset,
    prepared: Prepared,
    rows: Sequence[Mapping[str, Any]],
    found: Sequence[Hypothesis],
    **known: Any,
) -> Scored:
    """Return what metrics look at; ``known``: what the model says of the references, as ``decoded`` reads it."""
    proofs = [hypothesis.proven for hypothesis in found]
    if nll := known.pop("nll", None):
        known |= {name: nll[name].numpy() for name in ("nll", "free_nll")}
    return score.record(
        [hypothesis.text for hypothesis in found],
        [row["references"] for row in rows],
        tokenize=choice.tokenize,
        lowercase=choice.lowercase,
        sources=[row["source"] for row in rows],
        labels=partial(_labels, prepared, rows),
        value=dataset.value if dataset.numeric else None,
        truncated=[hypothesis.truncated for hypothesis in found],
        model_scores=[hypothesis.score for hypothesis in found],
        proven=proofs if None not in proofs else None,
        **known,
    )


def _scores(
    choice: ScoringChoice,
    dataset: Dataset,
    prepared: Prepared,
    rows: Sequence[Mapping[str, Any]],
    found: Sequence[Hypothesis],
) -> dict[str, float]:
    """Return the scores of some hypotheses, diagnostics aside."""
    metrics = [metric for metric in choice.wanted.values() if not metric.diagnostic]
    scored = _scored(choice, dataset, prepared, rows, found)
    return score.corpus_scores(score.sentence_statistics(scored, metrics), metrics)


def write_trial(trial: Mapping[str, Any], folder: Path) -> None:
    """Write what a trial is, as plain data, beside the scores of its main test set."""
    (folder / TRIAL).write_text(json.dumps(trial, indent=1, ensure_ascii=False), encoding="utf-8")


def _labels(prepared: Prepared, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return all target texts of the training split, as the model can say them, and all references of a test set."""
    ids, starts = prepared.pairs["train"].target, prepared.pairs["train"].target_starts.tolist()
    trained = {tuple(ids[start:end].tolist()) for start, end in itertools.pairwise(starts)}
    known = {prepared.target.decode(target) for target in trained}
    return known.union(*(row["references"] for row in rows))
