"""Compares two runs of a study, or of two studies on one base: choices, results, and whether the differences are real."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from harness.analysis.read_run import UNREADABLE, Row, Run, read
from harness.analysis.run_difference import Change, change, corrected
from harness.analysis.variant_pairs import Pair, leading, of_studies, same_names
from harness.contracts import Metric
from harness.core import spec
from harness.core.registry import Choice
from harness.core.spec import SpecError, encode, flatten
from harness.study.claims import Claim
from harness.trial.pipeline import TrialChoice
from harness.trial.score import METRICS, ScoringChoice, naming, signature

ALL = "all variants"


@dataclass(frozen=True)
class Altered:
    """A difference in the choices or the provenance of run A and run B."""

    what: str
    """Dotted path of a choice, or a fact about data, code, software or machine."""
    a: str
    """Empty if run A has no value."""
    b: str
    where: str = ""
    """The variants with this choice."""


@dataclass(frozen=True)
class Contradiction:
    """A trial with the same digest in both runs, but different results."""

    trial: str
    variant: str
    seed: str
    a: str
    b: str


@dataclass(frozen=True)
class Verdict:
    """The verdicts of both runs on one claim; empty for a run without the claim."""

    claim: str
    a: str
    b: str


@dataclass(frozen=True)
class Mean:
    """The scores of all seeds of one variant in one run."""

    run: str
    """``A`` or ``B``."""
    study: str
    variant: str
    title: str
    """Name and unit of the metric that decides."""
    digits: int
    """Decimals of its scores."""
    scores: list[float]


@dataclass(frozen=True)
class Diff:
    """All differences between two runs of a study, or between runs of two studies on one base."""

    a: str
    b: str
    altered: list[Altered]
    made_otherwise: list[Altered]
    """Data, code, software, machine."""
    identical: list[str]
    """Digests of the trials whose numbers agree in all stored digits."""
    contradictions: list[Contradiction]
    gone: list[str]
    new: list[str]
    scores: list[Change]
    verdicts: list[Verdict]
    studies: list[str] = field(default_factory=list)
    """The names of two studies; empty for two runs of one study."""
    means: list[Mean] = field(default_factory=list)
    """Of two studies, the scores of every variant of both, best first."""
    splits: list[str] = field(default_factory=list)
    """The split that A and the split that B is scored on, if these differ: no score and no verdict is compared then."""

    def plain(self) -> dict[str, Any]:
        """Return the differences as plain data, with null for unknown values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)), parse_constant=lambda _: None)
        return plain


def diff(name_a: str, name_b: str) -> Diff:
    """Compare two runs on one base, of one study or of two.

    Raises:
        SpecError: results cannot be read, or are of different bases.
    """
    a, b = read(name_a), read(name_b)
    try:
        with naming([*_own_metrics(a), *_own_metrics(b)]):
            return _diff(name_a, name_b, a, b)
    except SpecError:
        raise
    except UNREADABLE as error:
        message = f"the files of one are not files of a report ({type(error).__name__}: {error})"
        raise SpecError(f"{message}; `s2s report` writes them again", place=f"{name_a} and {name_b}") from None


def _own_metrics(run: Run) -> Iterator[Metric]:
    """Yield the metrics that a run names or sets for itself."""
    for variant in run.plan["variants"]:
        if variant["choice"]:
            yield from spec.read(ScoringChoice, variant["choice"]["decoding"]["scoring"]).own


def _diff(name_a: str, name_b: str, a: Run, b: Run) -> Diff:
    """Compare two runs from their files."""
    if a.plan["base"] != b.plan["base"]:
        titles = [f"{run.plan['study']} on {run.plan['base']}" for run in (a, b)]
        raise SpecError(f"these are runs on different bases: {titles[0]}, and {titles[1]}; scores compare on one base")
    one = a.plan["study"] == b.plan["study"]
    pairs = same_names(a.plan, b.plan) if one else of_studies((a.plan, b.plan), (a.trials, b.trials), _whole)
    splits = [_split(run.plan) for run in (a, b)]
    apart = splits[0] != splits[1]
    mine, theirs = ({row["trial"]: row for row in run.trials} for run in (a, b))
    both = [trial for trial in mine if trial in theirs]
    found = [c for trial in both if (c := _contradiction(trial, mine[trial], theirs[trial]))]
    return Diff(
        name_a,
        name_b,
        altered=[*_plan_rows(a.plan, b.plan, one=one), *_choice_rows(a.plan, b.plan, pairs, one=one)],
        made_otherwise=_made_rows(a.provenance, b.provenance),
        identical=[trial for trial in both if trial not in {c.trial for c in found}],
        contradictions=found,
        gone=[trial for trial in mine if trial not in theirs],
        new=[trial for trial in theirs if trial not in mine],
        scores=[] if apart else _changes(a, b, pairs),
        verdicts=_verdicts(a.comparisons, b.comparisons),
        studies=[] if one else [run.plan["study"] for run in (a, b)],
        means=[] if one or apart else _means(a, b),
        splits=splits if apart else [],
    )


# ------------------------------------------------------------------------------------------------ choices, provenance


def _altered(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Altered]:
    for name in dict.fromkeys([*a, *b]):
        left, right = (_spelled(own[name]) if name in own else "" for own in (a, b))
        # Only the newer run has a setting that was added later; its empty value means "as before".
        later = (name not in a or name not in b) and not (a.get(name) or b.get(name))
        if left != right and not later:
            yield Altered(name, left, right)


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _plan_rows(a: Mapping[str, Any], b: Mapping[str, Any], *, one: bool) -> list[Altered]:
    """Return differences of two plans besides the variants; claims are matched by name; of two studies, little compares."""
    if not one:
        about = ("study", "question", "seeds")
        return list(_altered(*({n: plan[n] for n in about} | {"evaluate": _split(plan)} for plan in (a, b))))

    def named(plan: Mapping[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in plan.items() if key not in ("variants", "claims", "digest")}
        own |= {"evaluate": _split(plan)}
        own |= {
            f"variant {v['name']}": f"skipped, {v['skipped']}" if v["skipped"] else "runs" for v in plan["variants"]
        }
        return flatten(own)

    claims = [{f"claim {claim['name']}": _meant(Claim, claim) for claim in plan["claims"]} for plan in (a, b)]
    return [*_altered(named(a), named(b)), *_altered(*claims)]


def _split(plan: Mapping[str, Any]) -> str:
    """Return the split on which a plan scores its trials."""
    return str(plan.get("evaluate") or "test")


def _choice_rows(a: Mapping[str, Any], b: Mapping[str, Any], pairs: Sequence[Pair], *, one: bool) -> list[Altered]:
    """Return the choices that differ within pairs of variants; a change of several pairs is one row."""
    choices = [{v["name"]: _whole(v["choice"]) for v in plan["variants"] if v["choice"]} for plan in (a, b)]
    shared = [pair for pair in pairs if pair.a in choices[0] and pair.b in choices[1]]
    having: dict[Altered, list[str]] = {}
    for pair in shared:
        for row in _altered(flatten(choices[0][pair.a]), flatten(choices[1][pair.b])):
            having.setdefault(row, []).append(pair.title)
    return [
        Altered(row.what, row.a, row.b, ALL if len(titles) == len(shared) and one else "; ".join(titles))
        for row, titles in having.items()
    ]


def _whole(choice: dict[str, Any]) -> dict[str, Any]:
    """Return what all choices of a trial mean."""
    return _meant(TrialChoice, choice)


def _meant(kind: type[Choice], plain: dict[str, Any]) -> dict[str, Any]:
    """Return what a choice means: settings that came later, and have their neutral value, say nothing.

    A choice that this version cannot read, of a part that is not known here, is taken as it is spelled.
    """
    try:
        meant: dict[str, Any] = encode(spec.read(kind, plain), meaning=True)
    except SpecError:
        return plain
    return {name: value for name, value in meant.items() if value}


def _made_rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Altered]:
    return list(_altered(_made(a), _made(b)))


def _made(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return data, code, software and machine by name, all values that occur."""
    known: dict[str, set[str]] = {}
    for facts in provenance.get("data", {}).values():
        known.setdefault("data, sha256", set()).add(facts["dataset_sha256"])
    for stage, prints in provenance.get("code", {}).items():
        known.setdefault(f"code of {stage}", set()).update(prints)
    for facts in provenance.get("made_with", []):
        for name, value in flatten(facts).items():
            known.setdefault(name, set()).add(_spelled(value))
    return {name: ", ".join(sorted(values)) for name, values in known.items()}


# ------------------------------------------------------------------------------------------------------------- results


def _contradiction(trial: str, a: Row, b: Row) -> Contradiction | None:
    about = trial, a["variant"], a["seed"]
    if a["status"] != b["status"]:
        return Contradiction(*about, a["status"], b["status"])
    names = [name for name in METRICS if name in a and name in b and a[name] != b[name]]
    values = [", ".join(f"{name} {own[name] or 'none'}" for name in names) for own in (a, b)]
    return Contradiction(*about, *values) if names else None


def _changes(a: Run, b: Run, pairs: Sequence[Pair]) -> list[Change]:
    """Return every pair of variants and metric that both runs have, without metrics that are measured differently."""
    choices = [{v["name"]: v["choice"] for v in run.plan["variants"]} for run in (a, b)]
    rows = []
    for pair in pairs:
        mine, theirs = (_trials(run, variant) for run, variant in ((a, pair.a), (b, pair.b)))
        for name in METRICS:
            scores = [_scores(trials, name) for trials in (mine, theirs)]
            if all(scores) and _measure(name, choices[0][pair.a], mine) == _measure(name, choices[1][pair.b], theirs):
                row = change(pair.title, name, *scores)
                rows.append(
                    replace(row, title=METRICS[name].title, digits=METRICS[name].digits, better=METRICS[name].direction)
                )
    return corrected(rows)


def _means(a: Run, b: Run) -> list[Mean]:
    """Return the scores of every variant in the metric that decides, best first."""
    metric = leading((a.plan, b.plan), (a.trials, b.trials))
    if not metric:
        return []
    title, digits, direction = METRICS[metric].title, METRICS[metric].digits, METRICS[metric].direction
    found = [
        Mean(letter, run.plan["study"], variant["name"], title, digits, list(scores.values()))
        for letter, run in (("A", a), ("B", b))
        for variant in run.plan["variants"]
        if (scores := _scores(_trials(run, variant["name"]), metric))
    ]
    sign = -1 if direction == "higher" else 1
    return sorted(found, key=lambda row: sign * sum(row.scores) / len(row.scores))


def _trials(run: Run, variant: str) -> list[Row]:
    return [row for row in run.trials if row["variant"] == variant]


def _scores(trials: Sequence[Row], metric: str) -> dict[int, float]:
    return {int(t["seed"]): float(t[metric]) for t in trials if t["status"] == "ok" and t.get(metric)}


def _measure(metric: str, choice: Mapping[str, Any], trials: Sequence[Row]) -> tuple[str, ...]:
    """Return the facts besides the outputs that a metric depends on; likelihoods per token depend on the vocabulary."""
    how = spec.read(ScoringChoice, choice["decoding"]["scoring"])
    signed = signature(how.wanted.get(metric, METRICS[metric]), how)
    prepared = sorted({t["prepare"] for t in trials}) if "tokens:model" in signed else []
    return signed, *prepared


def _verdicts(a: Sequence[Row], b: Sequence[Row]) -> list[Verdict]:
    # Rows that answer no claim have an empty one; older reports call it "exploratory".
    answers = [[row for row in own if row["claim"] not in ("", "exploratory")] for own in (a, b)]
    verdicts = [{row["claim"]: _marked(row) for row in own if row["verdict"]} for own in answers]
    return [
        Verdict(claim, *(own.get(claim, "") for own in verdicts))
        for claim in dict.fromkeys([*verdicts[0], *verdicts[1]])
    ]


def _marked(row: Row) -> str:
    """Return the verdict of a row, marked where its claim is younger than its results."""
    return f"exploratory, {row['verdict']}" if row.get("exploratory") else row["verdict"]
