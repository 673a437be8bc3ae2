"""How the terminal shows a study before it runs: variants, claims, trials, and the sample size that it needs."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness.cli.terminal import duration, entry, grid, heading, indented, number_of, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.study.claims import Claim, Group
    from harness.study.plan import Plan
    from harness.workflows.register import Registration


USUAL = 0.8
"""The power that the headline of a claim is about."""
STATES = {"absent": "not run yet"}
"""Words for the states of trials that are not clear by themselves."""


def print_validated(plan: Plan, before: str = "") -> None:
    """Print the variants of a valid study, the variants that each claim compares, and a sentence on an earlier plan."""
    from harness.study.claims import groups  # slow to import, and not needed to report a mistake
    from harness.study.enough_seeds import fixed_streams, too_few

    running = sum(not variant.skipped for variant in plan.variants)
    upto = "up to " if plan.sequential else ""
    size = f"{number_of(running, 'variant')} with {upto}{number_of(len(plan.seeds), 'seed')}"
    say(
        Text(
            f"{plan.name} on {plan.base} is valid: {size}, {upto}{number_of(running * len(plan.seeds), 'trial')}",
            style="bold",
        )
    )
    say(*map(indented, _scoring(plan)), heading("variants"))
    say(grid([str(number), variant.name, variant.skipped] for number, variant in enumerate(plan.variants, 1)))
    factors = {variant.name: variant.factors for variant in plan.variants if not variant.skipped}
    say(*([heading("claims")] if plan.file.claims else []))
    for claim in plan.file.claims:
        with plan.naming():
            say(entry(claim.name, _question(claim)))
        compared = groups(claim, factors)
        say(grid([[_role(claim, group), "; ".join(group.variants)] for group in compared], indent=6))
    warnings = [*too_few(plan), *fixed_streams(plan), *([before] if before else [])]
    say(*_rule(plan), *(indented(sentence, style="yellow") for sentence in warnings))


def _rule(plan: Plan) -> list[RenderableType]:
    """Return a line on seeds that may be added, where the study declares a rule for it."""
    text = "unplanned: combine: seeds may be added after results (--replan --seeds N, N in all); half of the level is kept for that"
    return [indented(text)] if plan.file.unplanned else []


def print_registered(done: Registration) -> None:
    """Print what proves that a plan was there before its results, and a command that tags it."""
    say(Text(f"{done.study} on {done.base} is registered: {number_of(len(done.claims), 'claim')}", style="bold"))
    facts = [("plan", done.plan), ("sha256", done.sha256), ("of", done.file), ("registered", done.registered)]
    say(grid([[name, value] for name, value in facts]))
    say(*([indented(done.attempt)] if done.attempt else []), heading("tag it, or give the sha256 to a registry"))
    name = f"registered/{done.study}/{done.base}/{done.plan}"
    say(indented(f"git tag -a {shlex.quote(name)} -m {shlex.quote(f'sha256 {done.sha256}')}"))


def _scoring(plan: Plan) -> list[str]:
    """Return how texts are scored: a line for each way, with its variants where there are several; and on which split."""
    ways: dict[str, list[str]] = {}
    for variant in (variant for variant in plan.variants if not variant.skipped):
        how = variant.choice.decoding.scoring
        case = "ignores letter case" if how.lowercase else "respects letter case"
        ways.setdefault(f"scoring {case}; tokenizer for scoring: {how.tokenize}", []).append(variant.name)
    said = [f"{way}: {'; '.join(names)}" if len(ways) > 1 else way for way, names in ways.items()]
    return [*said, *([plan.sealed] if plan.sealed else [])]


def _question(claim: Claim) -> str:
    """Return the assertion of a claim: its direction, its margin, its metric and test set, and its conditions."""
    from harness.trial.score import METRICS

    better = " (lower is better)" if METRICS[claim.metric].direction == "lower" else ""
    scored = claim.metric + better + (f" on {claim.on}" if claim.on else "")
    if claim.succeeds_at is not None:
        text = f"more seeds reach {claim.succeeds_at:g} in {scored}"
    elif claim.wins is not None:
        text = f"its seeds win more than {100 * claim.wins:g} % of pairs in {scored}"
    elif claim.within is not None:
        text = f"no difference of more than {claim.within:g} in {scored}"
    else:
        text = f"better by more than {claim.by:g} in {scored}"
    if claim.trend:
        text += f" with {'more' if claim.better_with_more else 'less'} {claim.trend}, from end to end of its line"
    conditions = [_settings(condition) for condition in claim.conditions if condition]
    text += ", when " + " rather than ".join(conditions) if conditions else ""
    return text + ("; secondary" if claim.family == "secondary" else "")


def _role(claim: Claim, group: Group) -> str:
    """Return the role of a group of variants in its claim, with the condition that it belongs to."""
    sides = ("equal", "to") if claim.within is not None else ("better", "than")
    role = _settings(group.said) if claim.trend else sides[group.said != claim.better]
    return f"{role}, {_settings(claim.conditions[group.condition])}" if claim.rather_than else role


def _settings(condition: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={v if isinstance(v, str) else json.dumps(v)}" for path, v in condition.items())


def print_plan(plan: Plan, rows: Mapping[str, Any]) -> None:
    """Print the trials of each variant by state, the reasons for stale and failed ones, and the time to run the rest."""
    say(Text(f"{plan.name} on {plan.base}: {' '.join(plan.file.question.split())}", style="bold"))
    say(*map(indented, _scoring(plan)), *_rule(plan))
    shown = [[row["variant"], _states(row), _size(row["params"])] for row in rows["variants"]]
    say("", grid(shown, indent=0, headers=["variant", "trials", "parameters"], right=1))
    for why, trials in _reasons(rows["variants"]).items():
        say(indented(f"{why}: {trials}", style="yellow"))
    for warning in rows.get("warnings", ()):
        say(indented(warning, style="yellow"))
    states = Counter(trial["state"] for row in rows["variants"] for trial in row["trials"])
    say("")
    if plan.sequential:
        say(
            f"seeds are added until the claims are decided, {plan.looks[-1]} at most; this counts the seeds planned so far"
        )
    if failed := states["failed"]:
        say(Text(f"{number_of(failed, 'trial')} failed before", style="red"))
    if not rows["to_run"]:
        say(f"nothing to do: {'all' if not failed else 'the other'} {number_of(states['done'], 'trial')} are done")
        return
    about = rows["estimate_seconds"] if rows["trainings"] else None
    took = "" if about is None else f", about {duration(about)} of training with {_workers(rows)}"
    say(f"to run: {number_of(rows['to_run'], 'trial')}, {number_of(rows['trainings'], 'training')}{took}")


def _workers(rows: Mapping[str, Any]) -> str:
    return f"{number_of(rows['estimate_workers'], 'worker')} (estimated from {rows['estimate_from']})"


def _size(params: int | None) -> str:
    return "" if params is None else f"{params:,}"


def _states(row: Mapping[str, Any]) -> Text:
    if row["skipped"]:
        return Text(f"skipped: {row['skipped']}", style="dim")
    counted = Counter(trial["state"] for trial in row["trials"])
    return Text(", ".join(f"{count} {STATES.get(state, state)}" for state, count in counted.items()))


def _reasons(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the reasons for stale and failed trials, each with its trials."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for trial in row["trials"]:
            if trial["state"] in ("stale", "failed"):
                variants = found.setdefault(f"{trial['state']}, {trial['why']}", {})
                variants.setdefault(row["variant"], []).append(str(trial["seed"]))
    return {
        why: "; ".join(f"{name} · seed{'s' * (len(seeds) > 1)} {' '.join(seeds)}" for name, seeds in variants.items())
        for why, variants in found.items()
    }


def print_needs(found: Mapping[str, Any]) -> None:
    """Print the seeds, time or sentences that each claim needs, and the smallest effect that each number of seeds detects."""
    say(Text(f"{found['study']} on {found['base']}, as planned with {number_of(found['seeds'], 'seed')}", style="bold"))
    say(*(indented(_headline(row), by=0, hang=2) for row in found["claims"]))
    for row in found["claims"]:
        find = row["find"]
        what = f"no difference beyond {find['within']:g}" if "within" in find else f"a gain of {find['gain']:g}"
        what += f", as more than {find['more_than']:g}" if find.get("more_than") else ""
        say(heading(row["claim"]))
        say(
            indented(f"to find: {what} in {row['metric']}"),
            indented(
                f"noise, from {row['from']}: SD over seeds {row['sd_seed']:.3g}; of a difference over sentences "
                f"{round(row['sd_sentence'], 6):.3g}, with {row['sentences']:,} sentences; seeds are {row['share_of_seeds']:.0%} "
                "of the variance as planned"
            ),
        )
        shown = [
            [_level(at["alpha"], row["levels"]), _percent(at["power_as_planned"]), f"{want['power']:.0%}",
             *_wanted(want)]
            for at in row["levels"] for want in at["for"]
        ]  # fmt: skip
        headers = ["level", "planned", "power", "seeds", "time left", "or sentences", "or both"]
        say(grid(shown, headers=headers, right=6))
        say(*(indented(_exaggerated(at, row["levels"])) for at in row["levels"] if at["type_m"] is not None))
        seeds, *levels = (list(values) for values in zip(*(d.values() for d in row["detectable"]), strict=True))
        word = "margin shown" if "within" in find else "gain found"
        say(indented(f"smallest {word} with 80 % power, by seeds per variant:"))
        lines = zip(row["levels"], levels, strict=True)
        cells = [[_level(at["alpha"], row["levels"]), *(_found(value) for value in line)] for at, line in lines]
        say(grid(cells, headers=["", *map(str, seeds)], right=len(seeds)))
    say("", f"planned: the power with the seeds as planned, {found['seeds']} per variant; power: what the seeds, the sentences or "
        "both (seeds on sentences) to the right of it reach; Holm: the worst case of correcting for all claims")  # fmt: skip
    cost = found["cost"]
    say("", f"one more seed of every variant takes {duration(cost['seconds_per_seed'])} "
        f"({number_of(cost['workers'], 'worker')}; from {number_of(cost['trainings_timed'], 'finished training')})"
        if cost else "the time is not known before a trial has run; `s2s plan` estimates it")  # fmt: skip


def _headline(row: Mapping[str, Any]) -> str:
    """Return in a sentence what a claim needs, at the strictest level that it is tested at."""
    at = row["levels"][-1]
    want = min(at["for"], key=lambda want: abs(float(want["power"]) - USUAL))
    power = f"- {row['claim']}: power {_percent(at['power_as_planned'])} as planned"
    if want["seeds"] is None:
        return f"{power}; no number of seeds reaches {want['power']:.0%}"
    time = "" if want["seconds"] is None else f", {duration(want['seconds'])} from here"
    return f"{power}; {want['power']:.0%} takes {number_of(want['seeds'], 'seed')} a side{time}"


def _level(alpha: float, levels: list[Mapping[str, Any]]) -> str:
    if len(levels) == 1:
        return f"{alpha:.3g}"
    return f"{alpha:.3g} {'alone' if alpha == levels[0]['alpha'] else 'Holm'}"


def _exaggerated(at: Mapping[str, Any], levels: list[Mapping[str, Any]]) -> str:
    """Return by how much significant results of the plan would be wrong."""
    return (
        f"as planned, at {_level(at['alpha'], levels)}: a significant result would overstate this gain {at['type_m']:.2g} times on "
        f"average (type M), and {100 * at['type_s']:.2g} % would point the other way (type S)"
    )


def _found(difference: float) -> str:
    """Return the smallest difference that is found; "none" where none is, however large."""
    return "none" if difference == math.inf else f"{difference:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _wanted(want: Mapping[str, Any]) -> Iterator[str]:
    for name in ("seeds", "seconds", "or_sentences"):
        shown = duration if name == "seconds" else "{:,}".format
        yield "-" if want[name] is None else shown(want[name])
    both = want["or_both"]
    yield f"{both['seeds']:,} on {both['sentences']:,}" if both else "-"
