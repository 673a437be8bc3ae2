r"""The checklist that conferences ask for, filled with the facts of the study, as LaTeX for an appendix.

It answers what can be read off the trials; the rest is left to the authors by name. Questions are in our words; each names
the question of the NeurIPS paper checklist and of the ACL Responsible NLP checklist that it answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.analysis import POWER, Comparison, Outcome
from harness.core.spec import flatten
from harness.report import levels
from harness.report.facts import StudyFacts
from harness.report.sentences import METHODS, verified_sentence
from harness.report.tables import detectable, number
from harness.report.tex_text import DEFINITION, broken, explained

YES, PARTLY, NO = "Yes", "Partly", "No"
WIDTH = 190.0
"""Points of the longest piece of a line that is not broken."""
OPEN = (
    "limitations, theory, ethics and broader impact, licences and consent of data, safeguards, human subjects and annotators, "
    "and the use of AI assistants (NeurIPS: the questions of these names; ACL: A, B1 to B5, D, E)"
)
SHARED = ("model", "training", "decoding")
"""Branches of a trial whose settings are hyperparameters."""


class Item(NamedTuple):
    """One question of the checklist, with its answer."""

    question: str
    asked: str
    """Who asks it, and where."""
    answer: str
    evidence: Sequence[str]
    """Sentences."""


def checklist(study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]) -> str:
    """Return the filled checklist of a study as LaTeX.

    Args:
        study: facts beside the trials.
        outcomes: all trials.
        comparisons: the answers to the claims first.
    """
    answers = comparisons[: len(study.claims)]
    items = [
        _claims(study, answers),
        _repeat(study),
        _code(study),
        _data(study),
        _settings(study),
        _search(study),
        _seeds(outcomes),
        _statistics(study, answers),
        _compute(study, outcomes),
        _software(study),
    ]
    foreign: dict[str, str] = {}
    lines = [line for item in items for line in _lines(item, foreign)]
    head = [*([DEFINITION] if foreign else []), r"\section*{Reproducibility checklist}", r"{\small\raggedright"]
    opened = broken(f"Left to the authors: {OPEN}.", WIDTH, {})
    return "\n".join([*head, *lines, rf"\par\medskip {opened}", *explained(foreign), r"\par}", ""])


def _lines(item: Item, foreign: dict[str, str]) -> list[str]:
    evidence = " ".join(broken(sentence, WIDTH, foreign) for sentence in item.evidence if sentence)
    return [
        rf"\par\medskip\textbf{{{broken(item.question, WIDTH, foreign)}}} ({broken(item.asked, WIDTH, foreign)})\\",
        rf"\textbf{{{item.answer}.}} {evidence}",
    ]


def _claims(study: StudyFacts, answers: Sequence[Comparison]) -> Item:
    late = sum(bool(c.exploratory) for c in answers)
    found = [f"{claim.name}: {c.marked_verdict}." for claim, c in zip(study.claims, answers, strict=True)]
    first = [
        f"{len(found)} claims were stated with the study, {len(found) - late} of them before any result was seen."
        if found
        else "The study states no claim; its comparisons are exploratory."
    ]
    answer = NO if not found else PARTLY if late else YES
    return Item("Are the claims stated, and answered by the results?", "NeurIPS: claims", answer, [*first, *found])


def _repeat(study: StudyFacts) -> Item:
    verified = verified_sentence(study.provenance.get("verified", {}))
    evidence = [f"One command runs the study again: {study.command}. The digest of its plan is {study.digest}."]
    evidence += [
        f"Verified: {verified.rstrip('.')}." if verified else "No trial has been run a second time to verify it."
    ]
    return Item(
        "Can the results be produced again?",
        "NeurIPS: experimental result reproducibility",
        YES if verified else PARTLY,
        evidence,
    )


def _code(study: StudyFacts) -> Item:
    states = {(made["git"]["commit"], made["git"]["dirty"]) for made in study.provenance.get("made_with", [])}
    clean = bool(states) and all(commit and not dirty for commit, dirty in states)
    named = sorted(f"commit {commit}{' with uncommitted changes' * dirty}" for commit, dirty in states if commit)
    evidence = [f"The results were computed by {' and by '.join(named)}."] if named else ["No commit is recorded."]
    stale = len(study.provenance.get("stale", []))
    evidence += [f"{stale} trials come from code that has changed since."] if stale else []
    answer = YES if clean and not stale else PARTLY if named else NO
    return Item(
        "Is the code that computed the results known?", "NeurIPS: open access to data and code", answer, evidence
    )


def _data(study: StudyFacts) -> Item:
    found = list(study.provenance.get("data", {}).values())
    evidence = [sentence for facts in found for sentence in _dataset(facts)]
    asked = "NeurIPS: open access to data and code; ACL: B6"
    return Item("Are the data named and counted?", asked, YES if evidence else NO, evidence or ["Nothing is recorded."])


def _dataset(facts: Mapping[str, Any]) -> Iterator[str]:
    pairs = ", ".join(f"{name} {facts[name]['pairs']:,}" for name in ("train", "validation", "test"))
    yield f"Pairs: {pairs}; vocabulary: source {facts['source_words']:,}, target {facts['target_words']:,}."
    left_out = sum(facts["left_out"].values()) + facts["train"]["too_long"]
    yield f"{left_out:,} rows were left out." if left_out else "No row was left out."
    yield f"sha256 of the rows: {facts['dataset_sha256']}."
    yield f"Revision: {facts['revision']}." if facts["revision"] else ""


def _settings(study: StudyFacts) -> Item:
    choices = [
        flatten(v["choice"]) for v in study.plan.get("variants", []) if isinstance(v, Mapping) and v.get("choice")
    ]
    paths = [p for p in dict.fromkeys(p for c in choices for p in c) if p.partition(".")[0] in SHARED]
    shared = [p for p in paths if all(p in c and c[p] == choices[0][p] for c in choices)]
    listed = ", ".join(
        f"{path}={_spelled(choices[0][path])}" for path in shared if choices[0][path] not in (None, {}, [])
    )
    varied = "; ".join(f"{path}: {', '.join(map(_spelled, values))}" for path, values in study.axes.items())
    evidence = [f"Varied: {varied}." if varied else "", f"The same in all variants: {listed}." if listed else ""]
    evidence += (
        [f"Matched: {'; '.join(f'{what}: {how}' for what, how in study.matched.items())}."] if study.matched else []
    )
    asked = "NeurIPS: experimental setting; ACL: C2"
    return Item("Are all hyperparameters given?", asked, YES if listed else NO, evidence)


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _search(study: StudyFacts) -> Item:
    asked, question = "NeurIPS: experimental setting; ACL: C2", "Is the search for hyperparameters described?"
    tuned = study.tuned
    if tuned is None:
        told = "The study tuned nothing: its settings were fixed before it ran."
        told += " Whether they were chosen by earlier runs, the authors must say."
        return Item(question, asked, PARTLY, [told])
    named = ", ".join(dict.fromkeys(path for point in tuned.tried for path in point))
    count = f"{len(tuned.tried)} of {tuned.grid} combinations were tried for each of {len(tuned.variants)} variants"
    how = f"{count}; the best {tuned.metric} on the validation split decided, with seed {tuned.seed}."
    best = [
        f"{name}: {', '.join(f'{p}={_spelled(v)}' for p, v in t.chosen.items())}." for name, t in tuned.variants.items()
    ]
    return Item(question, asked, YES, [f"Searched: {named}.", how, "Chosen:", *best])


def _seeds(outcomes: Sequence[Outcome]) -> Item:
    variants = list(dict.fromkeys(o.variant for o in outcomes))
    counts = sorted({sum(o.variant == v and o.status == "ok" for o in outcomes) for v in variants}) or [0]
    seeds = ", ".join(map(str, sorted({o.seed for o in outcomes})))
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    failed = sum(o.status != "ok" for o in outcomes)
    evidence = [
        f"Seeds: {seeds}; {many} finished runs of each of {len(variants)} variants.",
        "Tables give mean and standard deviation over seeds.",
    ]
    evidence += [f"{failed} of {len(outcomes)} trials did not finish; scores are of those that did."] if failed else []
    answer = YES if counts[0] > 2 and not failed else PARTLY if counts[-1] > 1 else NO
    return Item(
        "Were runs repeated with several seeds?", "NeurIPS: statistical significance; ACL: C3", answer, evidence
    )


def _statistics(study: StudyFacts, answers: Sequence[Comparison]) -> Item:
    question, asked = (
        "Are error bars and tests given, and what do they cover?",
        "NeurIPS: statistical significance; ACL: C3",
    )
    if not any(not math.isnan(c.p) for c in answers):
        return Item(question, asked, NO, ["No claim was tested."])
    evidence = list(dict.fromkeys(METHODS.get(c.method, "").format(unit=c.unit) for c in answers))
    pairs = list(zip(study.claims, answers, strict=False))
    rules = [levels.level(pairs), levels.correction(pairs), levels.seeds(study)]
    evidence += [*(rule for rule in rules if rule), "Intervals are not corrected for the number of claims."]
    known = [c for c in answers if math.isfinite(c.mde80) and c.mde80]
    if known:
        listed = "; ".join(f"{number(c.mde80, 3)} ({c.claim})" for c in known)
        evidence += [f"Smallest detectable difference with {100 * POWER:.0f} % power: {listed}."]
    evidence += [f"{c.claim}: detectable: {detectable(c)}." for c in answers if math.isinf(c.mde80)]
    return Item(question, asked, YES if all(not math.isnan(c.p) for c in answers) else PARTLY, evidence)


def _compute(study: StudyFacts, outcomes: Sequence[Outcome]) -> Item:
    trained = {o.stages.get("train", o.trial): o.costs for o in outcomes if o.status == "ok"}
    evidence = []
    for name in ("train_seconds", "train_flops"):
        values = [costs[name] for costs in trained.values() if name in costs]
        unit = "hours" if name == "train_seconds" else "FLOPs"
        total = sum(values) / (3600 if unit == "hours" else 1)
        evidence += [f"{len(values)} trainings, {total:.3g} {unit} in all."] if values else []
    sizes = sorted({costs["params"] for costs in trained.values() if "params" in costs})
    evidence += (
        [f"Parameters: {' to '.join(f'{size:,.0f}' for size in dict.fromkeys([sizes[0], sizes[-1]]))}."]
        if sizes
        else []
    )
    memory = [costs["peak_memory_mb"] for costs in trained.values() if "peak_memory_mb" in costs]
    evidence += [f"Peak memory: at most {max(memory):,.0f} MB."] if memory else []
    evidence += list(dict.fromkeys(map(_machine, study.provenance.get("made_with", []))))
    if study.tuned:
        hours = sum(found.train_seconds for found in study.tuned.variants.values()) / 3600
        evidence += [f"Tuning took {hours:.3g} more hours of training."]
    evidence += ["Runs that failed, and runs before this study, are not counted."]
    answer = YES if trained and study.provenance.get("made_with") else PARTLY if trained else NO
    return Item("What did it cost to compute?", "NeurIPS: compute resources; ACL: C1", answer, evidence)


def _machine(made: Mapping[str, Any]) -> str:
    place = made["processor"] if made["device"] == "cpu" else made["device"]
    return f"Machine: {made['platform']}, {place}, threads per trial: {made['threads']}."


def _software(study: StudyFacts) -> Item:
    made = [", ".join(f"{n} {v}" for n, v in m["versions"].items()) for m in study.provenance.get("made_with", [])]
    evidence = [f"{versions}." for versions in dict.fromkeys(made)]
    evidence += [f"{name}: {signature}." for name, signature in study.signatures.items()]
    return Item(
        "Are packages and the settings of metrics given?",
        "ACL: C4",
        YES if evidence else NO,
        evidence or ["None is recorded."],
    )
