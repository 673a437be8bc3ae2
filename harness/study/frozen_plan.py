"""Plans frozen before their first trial: the meaning of the study then, and the claims that came later."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.names import inside
from harness.core.spec import SpecError, digest, encode, flatten, read
from harness.storage import garbage
from harness.storage import store as disk
from harness.storage.store import Store
from harness.study import extension, ledger
from harness.study.claims import Claim, groups
from harness.study.frozen_schema import check_frozen
from harness.study.plan import Plan
from harness.study.planning import with_files
from harness.trial.pipeline import Trial
from harness.trial.sealed import VALIDATION

PILOT = "answered on the validation split, as a pilot; the test split is sealed"
"""Why claims are exploratory while the test split is sealed."""
LOOKED = ", of the same trainings on the validation split; other seeds would be new to it"
"""Ends the reason of a claim that is exploratory for what a pilot showed of the very trainings that the test is about."""


def check(plan: Plan, store: Store) -> bool:
    """Return whether this very plan was frozen before.

    Raises:
        SpecError: the study has changed since its plan was frozen; names the differences.
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


def foreseen(plan: Plan, store: Store) -> str:
    """Return in a sentence how a plan differs from the one that was frozen before, as far as can be told without data.

    That is "" where it does not, where none was frozen, and where widths that data decide are part of the plan.
    """
    try:
        before = _frozen(plan, store)
        if not before or (plan.file.match and plan.file.match.parameters):
            return ""
        now = replace(with_files(plan), revisions=before["revisions"])
    except SpecError as fault:  # of the store, or of a file that a run will ask for: the study is valid all the same
        return str(fault)
    if now.digest == before["digest"]:
        return ""
    lines = _difference(before, now.frozen()).splitlines()
    changed = dict.fromkeys(re.split(r"[.:]", line[1:], maxsplit=1)[0] for line in lines)
    return f"the plan that was frozen before differs ({', '.join(changed)}): a run prints how, and --replan accepts this one"


def missing(plan: Plan) -> SpecError:
    """Return the error for a plan that was never frozen when its results are requested."""
    told = "nothing of this study is in the store; `s2s run` runs it"
    return SpecError(told, place=f"{plan.name} on {plan.base}")


def freeze(plan: Plan, store: Store, results: Path | None = None, event: ledger.Event = "frozen") -> None:
    """Store the plan before its first trial, and enter it into the study's ledger; it stays until a run with ``--replan``.

    A claim that is added after results is exploratory from then on. A claim that was stated in time and is later removed
    or changed is recorded as dropped: it still counts in the correction of p values. Scores of the same trainings on the
    validation split count as results too, for a training that does well there does well on the test.

    Args:
        plan: the plan, its data pinned.
        store: where it is stored.
        results: the folder of the study's reports, which may have a copy of the ledger from an earlier store.
        event: whether it is registered or run.
    """
    before = _frozen(plan, store)
    late = {"exploratory": _late(plan, store, before), "dropped": _dropped(plan, store, before)}
    seen = bool(before) and _visible(plan, store, before)
    came = extension.batches(plan, before, ledger.read(ledger.of_store(store, plan.name)), seen=seen)
    said = plan.frozen() | {"digest": plan.digest} | late | ({"batches": came} if came else {})
    text = json.dumps(said, indent=1, ensure_ascii=False)
    changes = _difference(before, plan.frozen()).splitlines() if before else []
    if before:
        ledger.remember(_attempt(plan, store, before), plan.name, store, results)
    ledger.enter(
        plan, store, results, ledger.Frozen(event, changes, came)
    )  # first: a plan without its line would hide an attempt
    disk.write(file_of(plan, store), text)


def _attempt(plan: Plan, store: Store, before: dict[str, Any]) -> ledger.Attempt:
    """Return the line of the plan that was frozen before, as far as its files tell."""
    path = file_of(plan, store)
    return ledger.Attempt(
        time=ledger.stamp(path.stat().st_mtime),
        event="frozen",
        base=plan.base,
        plan=before["digest"],
        claims=[said["name"] for said in before["claims"]],
        trials=garbage.listed(path.parent, "score"),
        changes=[],
        seen={},
        previous="",
    )


def refer(plan: Plan, store: Store) -> None:
    """Record in the store which stages belong to the study: what is not recorded by any study counts as garbage."""
    keys: dict[str, list[str]] = {}
    for stage in (stage for _, _, trial in plan.trials() for stage in trial.stages.values()):
        keys.setdefault(stage.name, []).append(stage.key)
    garbage.refer(folder(store, plan.name, plan.base), keys)


def exploratory(plan: Plan, store: Store) -> dict[str, str]:
    """Return the claims of a plan that were stated after results or are answered in a pilot, by name, with the reason."""
    if plan.split == VALIDATION:
        return dict.fromkeys((claim.name for claim in plan.file.claims), PILOT)
    frozen = _frozen(plan, store)
    if not frozen and any(_seen(plan, store, plan.seeds)):
        return dict.fromkeys((claim.name for claim in plan.file.claims), "no run of the study has frozen its plan")
    said: dict[str, str] = frozen.get("exploratory", {})
    return said


def batches(plan: Plan, store: Store) -> list[list[int]]:
    """Return the seeds of a study batch by batch; in one batch where no rule for adding them is declared."""
    came: list[list[int]] = _frozen(plan, store).get("batches", [])
    return came or [list(plan.seeds)]


def dropped(plan: Plan, store: Store) -> list[str]:
    """Return the names of claims that were stated in time, and removed or changed after results."""
    return [said["name"] for said in _frozen(plan, store).get("dropped", [])]


def _late(plan: Plan, store: Store, before: dict[str, Any]) -> dict[str, str]:
    if not before:
        return _written_late(plan, store)
    done = _seen(plan, store, _seeds(plan, before))
    tested = any(done)
    piloted = [] if tested else _seen(plan, store, plan.seeds, _piloted)
    known = done if tested else piloted
    ending = "" if tested else LOOKED
    late = f"written or changed after {sum(known)} of {len(known)} trials had finished{ending}" if any(known) else ""
    attempts = ledger.read(ledger.of_store(store, plan.name))
    reseeded = dict.fromkeys((claim.name for claim in plan.file.claims), "")
    if tested or (any(piloted) and before["seeds"] != plan.frozen()["seeds"]):
        found = {claim.name: extension.undeclared(plan, before, attempts, claim) for claim in plan.file.claims}
        reseeded |= {name: f"{reason}{ending}" for name, reason in found.items() if reason}
    reasons = {n: why for n, why in before.get("exploratory", {}).items() if any(known) or not why.endswith(LOOKED)}
    earlier = {_meaning(read(Claim, said)): reasons.get(said["name"], "") for said in before["claims"]}
    made = {claim.name: earlier.get(_meaning(claim), late) or reseeded[claim.name] for claim in plan.file.claims}
    return {name: reason for name, reason in made.items() if reason}


def _written_late(plan: Plan, store: Store) -> dict[str, str]:
    """Return the claims of a study without an earlier plan that trials of other studies have answered already."""
    running = [variant for variant in plan.variants if not variant.skipped]
    known = {
        where: {v.name: sum(scored(store, plan.trial(v, seed)) for seed in plan.seeds) for v in running}
        for where, scored in (("", _done), (LOOKED, _piloted))
    }
    made: dict[str, str] = {}
    for claim in plan.file.claims:
        with suppress(SpecError):  # what it compares will not run
            found = groups(claim, {variant.name: variant.factors for variant in running})
            for where, done in known.items():
                fewest = min(done[name] for group in found for name in group.variants)
                if fewest >= min(2, len(plan.seeds)):
                    reason = (
                        f"written when {fewest} seeds of all that it compares had finished, for another study{where}"
                    )
                    made.setdefault(claim.name, reason)
    return made


def _dropped(plan: Plan, store: Store, before: dict[str, Any]) -> list[dict[str, Any]]:
    if not before or not _visible(plan, store, before):
        return []
    now, late = {_meaning(claim) for claim in plan.file.claims}, before.get("exploratory", {})
    stated = [said for said in before["claims"] if said["name"] not in late] + before.get("dropped", [])
    return [said for said in stated if _meaning(read(Claim, said)) not in now]


def _seeds(plan: Plan, before: dict[str, Any]) -> list[int]:
    """Return the seeds of a plan and of the previous plan: new seeds after results are a second attempt."""
    design = before["seeds"]
    earlier = range(1, design["max"] + 1) if isinstance(design, dict) else design
    return list(dict.fromkeys([*plan.seeds, *earlier]))


def _visible(plan: Plan, store: Store, before: dict[str, Any]) -> bool:
    """Return whether results could be seen: on the test, or of a training of the plan itself on the validation split."""
    return any(_seen(plan, store, _seeds(plan, before))) or any(_seen(plan, store, plan.seeds, _piloted))


def _done(store: Store, trial: Trial) -> bool:
    """Return whether results of a training on the test split exist."""
    return store.record("score", trial.unsealed.digest) is not None


def _piloted(store: Store, trial: Trial) -> bool:
    """Return whether results of a training on the validation split exist: its seed is no new one for the test."""
    return store.record("score", trial.sealed.digest) is not None


def _seen(plan: Plan, store: Store, seeds: Iterable[int], scored: Callable[[Store, Trial], bool] = _done) -> list[bool]:
    """Return whether the results of each trial of a plan with these seeds exist."""
    runnable = [variant for variant in plan.variants if not variant.skipped]
    return [scored(store, plan.trial(variant, seed)) for seed in seeds for variant in runnable]


def _meaning(claim: Claim) -> str:
    return digest(encode(claim, meaning=True))


def _frozen(plan: Plan, store: Store) -> dict[str, Any]:
    return _read(file_of(plan, store))


def _read(path: Path) -> dict[str, Any]:
    """Return a frozen plan, or None if there is none.

    Raises:
        SpecError: the file is no frozen plan.
    """
    if not path.exists():
        return {}
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check_frozen(said)
    except (ValueError, RecursionError) as error:
        message = (
            f"the plan that was frozen is damaged ({error}); put the file back from a copy, or remove it: the results stay, "
            "but claims count as exploratory then"
        )
        raise SpecError(" ".join(message.split()), place=str(path)) from None
    return said


def file_of(plan: Plan, store: Store) -> Path:
    """Return the file of a frozen plan in a store."""
    return folder(store, plan.name, plan.base) / "plan.json"


def folder(store: Store, study: str, base: str) -> Path:
    """Return the folder of a study on a base in a store.

    Raises:
        SpecError: a name is no valid folder name.
    """
    return inside(store.root / "studies", study, base)


# --------------------------------------------------------------------------------------------------- from elsewhere


def admissible(said: Any, store: Store) -> Path:
    """Return the file for a plan that was frozen elsewhere; nothing is written yet.

    Raises:
        SpecError: it is no frozen plan, or the store has another plan of the study; names the differences.
    """
    plan = check_frozen(said)
    path = folder(store, plan.study, plan.base) / "plan.json"
    before = _read(path)
    if before and before != said:
        late = {
            key: [before.get(key), said.get(key)]
            for key in ("exploratory", "dropped", "batches")
            if before.get(key) != said.get(key)
        }
        raise SpecError(
            f"another plan of this study is frozen here; here (-), in the archive (+):\n{_difference(before, said)}"
            + "".join(f"\n{key}: {here} here, {there} in the archive" for key, (here, there) in late.items())
            + "\nUse another store (S2S_STORE) to have both.",
            place=f"{plan.study} on {plan.base}",
        )
    return path


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the lines of two frozen plans that differ, each with its dotted path."""
    lines = difflib.unified_diff(_lines(before), _lines(now), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def _lines(plan: dict[str, Any]) -> list[str]:
    variants = {v["name"]: v for v in plan["variants"]}
    claims = {c["name"]: c for c in plan["claims"]}
    named = {k: v for k, v in plan.items() if k not in ("digest", "exploratory", "dropped", "batches")} | {
        "variants": variants,
        "claims": claims,
    }
    return sorted(f"{path}: {json.dumps(value, ensure_ascii=False)}" for path, value in flatten(named).items())
