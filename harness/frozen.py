"""A plan frozen before its first trial: what the study meant then, and which claims came later."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import store as disk
from harness.claims import Claim, groups
from harness.spec import SpecError, digest, encode, flatten, read
from harness.store import Store
from harness.study import Plan
from harness.trial import Trial


def check(plan: Plan, store: Store) -> bool:
    """Return whether this very plan was frozen before.

    Raises:
        SpecError: the study means something else than when its plan was frozen, with what differs.
    """
    before, now = _frozen(plan, store), plan.frozen()
    if not before:
        return False
    if before["digest"] != plan.digest:
        raise SpecError(
            f"the study changed since its plan was frozen:\n{_difference(before, now)}\n"
            "Finished trials stay in the store either way. Run it with --replan to accept the new plan, or under "
            "another file name to keep both.",
            place=f"{plan.name} on {plan.base}",
        )
    return True


def freeze(plan: Plan, store: Store) -> None:
    """Write the plan down, before its first trial; it stands until a run with ``--replan``.

    A claim that is new although results can have been seen is exploratory from then on. One that was stated in time and
    is no longer there, or changed, is kept as dropped: it counts among those that p values are corrected for.
    """
    before = _frozen(plan, store)
    late = {"exploratory": _late(plan, store, before), "dropped": _dropped(plan, store, before)}
    text = json.dumps(plan.frozen() | {"digest": plan.digest} | late, indent=1, ensure_ascii=False)
    disk.write(_path(plan, store), text)


def exploratory(plan: Plan, store: Store) -> dict[str, str]:
    """Return the claims of a plan that were written after results could be seen, by name, with the reason."""
    frozen = _frozen(plan, store)
    if not frozen and any(_seen(plan, store, plan.seeds)):
        return dict.fromkeys((claim.name for claim in plan.file.claims), "no run of the study has frozen its plan")
    said: dict[str, str] = frozen.get("exploratory", {})
    return said


def dropped(plan: Plan, store: Store) -> list[str]:
    """Return the names of claims that were stated in time, and left out or changed when results could be seen."""
    return [said["name"] for said in _frozen(plan, store).get("dropped", [])]


def _late(plan: Plan, store: Store, before: dict[str, Any]) -> dict[str, str]:
    if not before:
        return _written_late(plan, store)
    done = _seen(plan, store, _seeds(plan, before))
    late = f"written or changed after {sum(done)} of {len(done)} trials had finished" if any(done) else ""
    reseeded = "the seeds were changed after results could be seen"
    reseeded = reseeded if any(done) and before["seeds"] != plan.frozen()["seeds"] else ""
    reasons = before.get("exploratory", {})
    earlier = {_meaning(read(Claim, said)): reasons.get(said["name"], "") for said in before["claims"]}
    made = {claim.name: earlier.get(_meaning(claim), late) or reseeded for claim in plan.file.claims}
    return {name: reason for name, reason in made.items() if reason}


def _written_late(plan: Plan, store: Store) -> dict[str, str]:
    """Return the claims of a study without an earlier plan that trials of other studies had answered before."""
    running = [variant for variant in plan.variants if not variant.skipped]
    done = {v.name: sum(_done(store, plan.trial(v, seed)) for seed in plan.seeds) for v in running}
    made = {}
    for claim in plan.file.claims:
        with suppress(SpecError):  # what it compares will not run
            found = groups(claim, {variant.name: variant.factors for variant in running})
            fewest = min(done[name] for group in found for name in group.variants)
            if fewest >= min(2, len(plan.seeds)):
                made[claim.name] = (
                    f"written when {fewest} seeds of all that it compares had finished, for another study"
                )
    return made


def _dropped(plan: Plan, store: Store, before: dict[str, Any]) -> list[dict[str, Any]]:
    if not before or not any(_seen(plan, store, _seeds(plan, before))):
        return []
    now, late = {_meaning(claim) for claim in plan.file.claims}, before.get("exploratory", {})
    stated = [said for said in before["claims"] if said["name"] not in late] + before.get("dropped", [])
    return [said for said in stated if _meaning(read(Claim, said)) not in now]


def _seeds(plan: Plan, before: dict[str, Any]) -> list[int]:
    """Return the seeds of a plan and of the one before: new seeds in place of those seen are a second attempt."""
    design = before["seeds"]
    earlier = range(1, design["max"] + 1) if isinstance(design, dict) else design
    return list(dict.fromkeys([*plan.seeds, *earlier]))


def _seen(plan: Plan, store: Store, seeds: Iterable[int]) -> list[bool]:
    """Return whether the results of each trial of a plan, with these seeds, are there."""
    runnable = [variant for variant in plan.variants if not variant.skipped]
    return [_done(store, plan.trial(variant, seed)) for seed in seeds for variant in runnable]


def _done(store: Store, trial: Trial) -> bool:
    return store.record("score", trial.digest) is not None


def _meaning(claim: Claim) -> str:
    return digest(encode(claim, meaning=True))


def _frozen(plan: Plan, store: Store) -> dict[str, Any]:
    path = _path(plan, store)
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return said


def _path(plan: Plan, store: Store) -> Path:
    return store.root / "studies" / plan.name / plan.base / "plan.json"


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the lines of two frozen plans that differ, each with its dotted path."""
    lines = difflib.unified_diff(_lines(before), _lines(now), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def _lines(plan: dict[str, Any]) -> list[str]:
    variants = {v["name"]: v for v in plan["variants"]}
    claims = {c["name"]: c for c in plan["claims"]}
    named = {k: v for k, v in plan.items() if k not in ("digest", "exploratory", "dropped")} | {
        "variants": variants,
        "claims": claims,
    }
    return sorted(f"{path}: {json.dumps(value, ensure_ascii=False)}" for path, value in flatten(named).items())
