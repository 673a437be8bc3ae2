"""Fairness of a comparison: matched quantities, metrics that are left out, and a checklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.analysis import Comparison, Outcome
from harness.analysis.comparable import mixed
from harness.report.facts import StudyFacts
from harness.report.section import Section
from harness.report.tables import NONE, Table, finished, number
from harness.trial.data_checks import known_by, percent_reachable, shared_in_words
from harness.trial.score import METRICS, corpus_scores

QUANTITIES: dict[str, tuple[str, str, int]] = {
    "parameters": ("params", "parameters", 0),
    "updates": ("updates", "updates made", 0),
    "epochs": ("epochs", "epochs", 1),
    "tokens": ("target_tokens", "target tokens seen", 0),
    "seconds": ("train_seconds", "training time (s)", 1),
}
"""Quantities that can be matched: the name in a study's ``match``, the cost that measures it, column title and decimals."""
NEAR = 0.05
"""Relative distance up to which a quantity counts as matched."""
BEYOND_BLEU = ("chrf", "exact_match", "numeric_error")
"""Metrics of output quality that follow human judgment better than BLEU, or that decide exactly whether an output is right."""


def sections(study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]) -> list[Section]:
    """Return the sections on matched quantities, the checklist, and metrics that are not comparable.

    Args:
        study: facts about the study.
        outcomes: all trials of the study, with all their scores.
        comparisons: the answers to the study's claims first.
    """
    about = (
        "Means over the finished seeds. A difference between variants that differ in size or in what they were trained "
        f"on may come from that. Apart: how much more the largest has than the smallest; near is within {100 * NEAR:.0f} %."
    )
    checklist = Section(
        "checklist",
        "Can it be believed? A checklist",
        "The four questions of Marie, Fujita and Rubino (ACL 2021) to comparisons of translation systems, answered from "
        "the trials of this report, and further ones about what the test can show.",
        [checklist_table(study, outcomes, comparisons)],
    )
    matched = Section(
        "matched", "What was matched", about, [matched_table(study, outcomes), arms_table(study, outcomes)]
    )
    return [matched, checklist, *left_out(mixed(outcomes))]


def left_out(refused: Mapping[str, str]) -> list[Section]:
    """Return a section with the metrics that the report leaves out and the reasons; none if all are comparable."""
    if not refused:
        return []
    about = (
        "These metrics were computed in different ways: their numbers do not compare, and stand in trials.csv alone."
    )
    rows = [[METRICS[name].title, reason] for name, reason in refused.items()]
    columns = ["metric", "why"]
    return [
        Section("left_out", "Left out", about, [Table("left_out", columns, rows, pd.DataFrame(rows, columns=columns))])
    ]


# ---------------------------------------------------------------------------------------------------------- matched


def matched_table(study: StudyFacts, outcomes: Sequence[Outcome]) -> Table:
    """One row per quantity: the request, the smallest and the largest variant, and their distance."""
    columns = ["quantity", "asked for", "smallest", "largest", "apart"]
    rows, plain = [], []
    for name, (cost, title, digits) in QUANTITIES.items():
        means = list(_means(outcomes, cost).values())
        if means:
            low, high, asked = min(means), max(means), study.matched.get(name, "no match")
            rows.append([title, asked, number(low, digits), number(high, digits), distance(low, high)])
            plain.append({"quantity": name, "asked": asked, "smallest": low, "largest": high})
    for title, values in (("data, sha256", _data(study, outcomes)), ("vocabularies", _vocabularies(study, outcomes))):
        known = sorted(set(values.values()))
        if known:
            apart = "equal" if len(known) == 1 else f"{len(known)} different ones"
            rows.append([title, "no match", known[0], known[-1], apart])
            plain.append({"quantity": title, "asked": "no match", "smallest": known[0], "largest": known[-1]})
    return Table("matched", columns, rows, pd.DataFrame(plain))


def arms_table(study: StudyFacts, outcomes: Sequence[Outcome]) -> Table:
    """One row per variant: its size, its data, and the length of its training."""
    costs = {name: (_means(outcomes, cost), title, digits) for name, (cost, title, digits) in QUANTITIES.items()}
    costs = {name: values for name, values in costs.items() if values[0]}
    facts = {"data, sha256": _data(study, outcomes), "vocabularies": _vocabularies(study, outcomes)}
    facts = {title: values for title, values in facts.items() if values}
    variants = [v for v in dict.fromkeys(o.variant for o in outcomes) if finished(outcomes, {v})]
    rows = [
        [v]
        + [number(means[v], digits) if v in means else NONE for means, _, digits in costs.values()]
        + [values.get(v, NONE) for values in facts.values()]
        for v in variants
    ]
    columns = ["variant", *(title for _, title, _ in costs.values()), *facts]
    plain = [{"variant": v} | {n: means.get(v) for n, (means, _, _) in costs.items()} for v in variants]
    return Table("matched_by_variant", columns, rows, pd.DataFrame(plain))


def distance(low: float, high: float) -> str:
    """Return the distance of the smallest and the largest amount in words, relative to the smallest."""
    if high - low <= 1e-12 * abs(high):
        return "equal"
    if low <= 0:
        return "not within any factor"
    apart = high / low - 1
    double = apart >= 0.9995  # printed as 100.0 %
    size = f"{high / low:.1f} times" if double else f"{100 * apart:.1f} %"
    if apart <= NEAR + 1e-9:
        return f"near, {size}"
    return f"apart, {size} as much" if double else f"apart by {size}"


def _means(outcomes: Sequence[Outcome], cost: str) -> dict[str, float]:
    """Return the mean of a cost over the finished seeds of each variant that has it."""
    known: dict[str, list[float]] = {}
    for o in outcomes:
        if o.status == "ok" and cost in o.costs:
            known.setdefault(o.variant, []).append(o.costs[cost])
    return {variant: float(np.mean(values)) for variant, values in known.items()}


def _data(study: StudyFacts, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Return the sha256 of the rows that each variant was trained and tested on, shortened."""
    return {v: facts["dataset_sha256"][:12] for v, facts in _prepared(study, outcomes).items()}


def _vocabularies(study: StudyFacts, outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {
        v: f"source {facts['source_words']:,}, target {facts['target_words']:,}"
        for v, facts in _prepared(study, outcomes).items()
    }


def _prepared(study: StudyFacts, outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    data = study.provenance.get("data", {})
    return {
        o.variant: data[o.stages["prepare"]] for o in outcomes if o.status == "ok" and o.stages.get("prepare") in data
    }


# -------------------------------------------------------------------------------------------------------- checklist


class Reply(NamedTuple):
    """The answer to one question of the checklist."""

    question: str
    answer: str
    """``yes``, ``partly`` or ``no``."""
    evidence: str


def checklist_table(study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]) -> Table:
    """One row per question, with answer and evidence: four of Marie, Fujita and Rubino 2021 (section 5), two more."""
    done = [o for o in outcomes if o.status == "ok"]
    replies = [
        _other_metric(study, done),
        _tested(comparisons[: len(study.claims)]),
        _computed(done),
        _same_data(study, done),
        *_test_questions(study, done),
    ]
    columns = ["question", "answer", "evidence"]
    rows = [list(reply) for reply in replies] if done else []
    return Table("checklist", columns, rows, pd.DataFrame(rows, columns=columns))


def _other_metric(study: StudyFacts, done: Sequence[Outcome]) -> Reply:
    question = "Is there a metric that judges better than BLEU, or a human evaluation?"
    known = [METRICS[name].title for name in BEYOND_BLEU if any(name in o.metrics for o in done)]
    if not known:
        return Reply(question, "no", "neither; no human has judged the outputs")
    evidence = f"{', '.join(known)}; no human has judged the outputs"
    bleu = [claim.name for claim in study.claims if claim.metric == "bleu"]
    if bleu:
        return Reply(question, "partly", f"{evidence}; BLEU alone decides {len(bleu)} of {len(study.claims)} claims")
    return Reply(question, "yes", evidence)


def _tested(answers: Sequence[Comparison]) -> Reply:
    question = "Is statistical significance tested?"
    tested = sum(not np.isnan(c.p) for c in answers)
    if not answers:
        return Reply(question, "no", "the study states no claim to test")
    seeds = min(min(c.seeds_a, c.seeds_b) for c in answers)
    evidence = f"{tested} of {len(answers)} claims, over at least {seeds} seeds a side"
    evidence += "; Holm-corrected over the claims" if tested > 1 else ""
    return Reply(question, "yes" if tested == len(answers) else "partly" if tested else "no", evidence)


def _computed(done: Sequence[Outcome]) -> Reply:
    question = "Were all scores computed here, by one tool and setting each, and none copied?"
    signed = sum(name in o.signatures for o in done for name in o.metrics)
    total = sum(len(o.metrics) for o in done)
    copied = sum(not _recomputed(o) for o in done)
    refused = mixed(done)
    evidence = f"{signed:,} of {total:,} scores carry a signature"
    evidence += f"; those of {len(done) - copied:,} of {len(done):,} trials follow from their sentences, recomputed"
    evidence += (
        f"; differently computed and left out: {', '.join(METRICS[n].title for n in refused)}" if refused else ""
    )
    right = signed == total and not copied
    return Reply(question, "no" if not right else "partly" if refused else "yes", evidence)


def _recomputed(o: Outcome) -> bool:
    """Return whether the scores of a trial follow from its per-sentence statistics."""
    recomputed = corpus_scores(o.statistics)
    return all(
        name in recomputed and np.isclose(recomputed[name], value, rtol=1e-9) for name, value in o.metrics.items()
    )


def _same_data(study: StudyFacts, done: Sequence[Outcome]) -> Reply:
    question = "Were all variants trained and tested on the same preprocessed data?"
    prepared = {o.stages.get("prepare", "") for o in done}
    tests = {(*map(tuple, o.test.references), *((n, own.test.name) for n, own in o.tests.items())) for o in done}
    evidence = "one preparation for all" if len(prepared) == 1 else f"{len(prepared)} preparations"
    evidence += ", the same test references" if len(tests) == 1 else f", {len(tests)} sets of test references"
    varied = [path for path in study.axes if path.startswith("data.")]
    evidence += f"; the study varies {', '.join(varied)}" if varied else ""
    return Reply(question, "yes" if len(prepared) == len(tests) == 1 else "no", evidence)


def _test_questions(study: StudyFacts, done: Sequence[Outcome]) -> list[Reply]:
    """Return, for each test set, whether training has seen it and whether a perfect model can score in full."""
    sets = {"": _prepared(study, done)} | study.provenance.get("tests", {})
    known = {name: [facts for facts in found.values() if "ceiling" in facts] for name, found in sets.items()}
    return [reply for name, facts in known.items() if facts for reply in _test_answers(name, facts, study.split)]


def _test_answers(name: str, known: Sequence[dict[str, Any]], split: str) -> list[Reply]:
    """Return the two answers about a test set, worst preparation first."""
    shares = [facts["overlap"][split]["tokens"][known_by(facts, split)] / facts[split]["pairs"] for facts in known]
    worst = known[shares.index(max(shares))]
    rows, what, overlap = worst[split]["pairs"], known_by(worst, split), worst["overlap"][split]
    shared = overlap["tokens"][what]
    fresh = Reply(
        f"Are the {what} of test set {name} new to the model?" if name else f"Are the {split} {what} new to the model?",
        "yes" if not shared else "no" if shared == rows else "partly",
        f"in train as the model sees them, {shared_in_words(overlap, rows)}",
    )
    most = [
        min(percent_reachable(facts["ceiling"][split], lowercased=without) for facts in known)
        for without in (False, True)
    ]
    full = Reply(
        f"Can a perfect model match every reference{name and f' of test set {name}'}?",
        "yes" if most[0] == 100 else "no" if most[1] < 100 else "partly",
        f"the target tokenizer brings back {most[0]:.4g} % of its references, {most[1]:.4g} % without case",
    )
    return [fresh, full]
