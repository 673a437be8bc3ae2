"""The ledger of a study: one dated line for every plan that was frozen, and for the results that could be seen by then.

Lines are only ever added. Each holds the hash of the line before, so that a line that was changed or removed is found. A copy
stands beside the reports, and travels with them: a study that is run again into another store goes on from there.
"""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.core.names import inside
from harness.core.spec import SpecError
from harness.storage.disk import write
from harness.storage.store import Store
from harness.study.plan import Plan
from harness.study.standing import Standing
from harness.trial.encoded import TEST
from harness.trial.sealed import Split

NAME = "ledger.jsonl"
Event = Literal["frozen", "registered"]


class Attempt(BaseModel):
    """One line: a plan as it was frozen or registered."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    time: str
    """In UTC, to the second."""
    event: Event
    base: str
    plan: str
    """The digest of the plan."""
    claims: list[str]
    """The names of its claims."""
    trials: list[str]
    """The digests of its trials."""
    changes: list[str]
    """What differs from the plan before on this base: ``-`` and ``+`` lines, each with its dotted path."""
    seen: dict[str, int]
    """Other plans on this base that had finished trials by then, by digest, with their number."""
    previous: str
    """sha256 of the line before; "" in the first."""
    batches: list[list[int]] = []
    """Where the study declares ``unplanned:``, its seeds, batch by batch; else nothing."""
    evaluate: Split = "test"
    """The split that its trials are scored on; a line says so only where the test split was sealed."""

    @property
    def only_adds_seeds(self) -> bool:
        """Whether it is the plan before with more seeds, by the rule that it declares."""
        return len(self.batches) > 1 and all(line[1:].startswith("seeds: ") for line in self.changes)


class Frozen(NamedTuple):
    """What happened to a plan now."""

    event: Event
    changes: Sequence[str]
    """What differs from the plan before."""
    batches: list[list[int]]
    """Its seeds, batch by batch, where it declares a rule for adding them."""


def of_store(store: Store, study: str) -> Path:
    """Return the file of a study's ledger in a store."""
    return inside(store.root / "ledger", study) / NAME


def read(*paths: Path) -> list[Attempt]:
    """Return the attempts of one or more copies of a ledger, oldest first.

    Raises:
        SpecError: a copy is damaged, or a line of it was changed or removed.
    """
    found: dict[tuple[str, ...], Attempt] = {}
    for path in paths:
        alike = Counter[tuple[str, ...]]()
        for a in _lines(path):
            key = a.time, a.base, a.plan, a.event
            alike[key] += 1  # one copy may have it twice in a second
            found[*key, str(alike[key])] = a
    return sorted(found.values(), key=lambda attempt: attempt.time)


def _lines(path: Path) -> list[Attempt]:
    if not path.exists():
        return []
    before, attempts = "", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            attempt = Attempt.model_validate_json(line)
        except ValidationError:
            raise SpecError("is no line of a ledger; put the file back from a copy", place=f"{path}:{number}") from None
        if attempt.previous != before:
            message = "a line before this one was changed or removed; put the file back from a copy"
            raise SpecError(message, place=f"{path}:{number}")
        attempts.append(attempt)
        before = _hash(line)
    return attempts


def enter(plan: Plan, store: Store, results: Path | None, done: Frozen) -> None:
    """Add a line for a plan that is frozen or registered now, unless the last line on its base says the same.

    Args:
        plan: the plan, its data pinned.
        store: whose ledger it is.
        results: the folder of the study's reports, where an earlier store may have left a copy.
        done: what happened.
    """
    with _changing(plan.name, store, results) as attempts:
        on_base = [attempt for attempt in attempts if attempt.base == plan.base]
        if on_base and (on_base[-1].plan, on_base[-1].event) == (plan.digest, done.event):
            return
        now = Attempt(
            time=stamp(time.time()),
            event=done.event,
            base=plan.base,
            plan=plan.digest,
            claims=[claim.name for claim in plan.file.claims],
            trials=[trial.digest for _, _, trial in plan.trials()],
            changes=list(done.changes),
            seen=_seen(plan, attempts, store, results),
            previous="",
            batches=done.batches,
            evaluate=plan.split,
        )
        attempts.append(now)


def remember(attempt: Attempt, study: str, store: Store, results: Path | None) -> None:
    """Add the line of a plan that was frozen before ledgers were kept, unless there is one."""
    with _changing(study, store, results) as attempts:
        if all((known.base, known.plan) != (attempt.base, attempt.plan) for known in attempts):
            attempts.insert(0, attempt)
            attempts.sort(key=lambda each: each.time)


@contextmanager
def _changing(study: str, store: Store, results: Path | None) -> Iterator[list[Attempt]]:
    """Yield the attempts of all copies, to be added to, and write them; other processes wait meanwhile."""
    with store.claim("ledger", study):
        attempts = read(of_store(store, study), *([results / NAME] if results else []))
        yield attempts
        _write(of_store(store, study), attempts)


def stamp(seconds: float) -> str:
    """Return a time as lines have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seen(plan: Plan, attempts: Sequence[Attempt], store: Store, results: Path | None) -> dict[str, int]:
    """Return the other plans on the base of a plan that have finished trials, with their number.

    They have finished in this store or, as later lines and the report beside the ledger say, in an earlier one.
    """
    reported = _reported(results / plan.base / "trials.csv") if results else set()
    found: dict[str, int] = {}
    for attempt in attempts:
        if attempt.base == plan.base and attempt.plan != plan.digest:
            here = sum(store.record("score", trial) is not None for trial in attempt.trials)
            known = [
                here,
                len(reported & set(attempt.trials)),
                *(later.seen.get(attempt.plan, 0) for later in attempts),
            ]
            found |= {attempt.plan: max(known)} if any(known) else {}
    return found


def _reported(path: Path) -> set[str]:
    """Return the digests of the finished trials of a report; none where there is none."""
    with suppress(OSError, ValueError, csv.Error), path.open(encoding="utf-8", newline="") as file:
        return {row.get("trial", "") for row in csv.DictReader(file) if row.get("status") == "ok"}
    return set()


def _write(path: Path, attempts: Sequence[Attempt]) -> None:
    """Write a ledger whole: every line with the hash of the line before."""
    lines: list[str] = []
    for attempt in attempts:
        previous = _hash(lines[-1]) if lines else ""
        said = attempt.model_copy(update={"previous": previous}).model_dump(exclude_defaults=True)
        lines.append(json.dumps(said, ensure_ascii=False))
    write(path, "".join(f"{line}\n" for line in lines))


def publish(store: Store, study: str, results: Path) -> Path | None:
    """Write a copy of a study's ledger beside its reports; return it, or None where the study has no ledger."""
    attempts, copy = read(of_store(store, study), results / NAME), results / NAME
    if not attempts:
        return None
    _write(copy, attempts)
    return copy


def admit(store: Store, study: str, lines: str, place: str) -> None:
    """Take the lines of a ledger from elsewhere into that of a store.

    Raises:
        SpecError: they are no ledger.
    """
    with store.claim("ledger", study):
        theirs = of_store(store, study).with_name(f"{NAME}.from-elsewhere")
        write(theirs, lines)
        try:
            attempts = read(of_store(store, study), theirs)
        except SpecError as error:
            raise SpecError(error.message, place=place) from None
        finally:
            theirs.unlink()
        _write(of_store(store, study), attempts)


def standing(plan: Plan, store: Store) -> Standing:
    """Return the place of a plan among the attempts at its study."""
    attempts = read(of_store(store, plan.name))
    on_base = [a for a in attempts if a.base == plan.base]
    first = _first_of_each(on_base)
    plans = [plan for plan, _ in groupby(first[a.plan] for a in on_base)]
    mine = [a for a in on_base if a.plan == plan.digest]
    if not mine:  # frozen before ledgers were kept
        return Standing(number=len(plans) + 1, seen=_seen(plan, attempts, store, None))
    registered = next((a.time for a in on_base if a.event == "registered" and first[a.plan] == first[plan.digest]), "")
    seen = {other: count for other, count in mine[-1].seen.items() if first.get(other) != first[plan.digest]}
    pilots = {a.plan for a in on_base if a.evaluate != TEST}
    return Standing(
        number=len(plans) - plans[::-1].index(first[plan.digest]),
        registered=registered,
        seen=seen,
        sealed={plan: count for plan, count in seen.items() if plan in pilots},
        again=plans.count(first[plan.digest]) > 1,
        batches=mine[-1].batches,
    )


def _first_of_each(attempts: Sequence[Attempt]) -> dict[str, str]:
    """Return, for each plan, the one that it adds seeds to by a declared rule, or itself."""
    first: dict[str, str] = {}
    for before, attempt in zip([None, *attempts], attempts, strict=False):
        extends = before is not None and attempt.only_adds_seeds
        first.setdefault(attempt.plan, first[before.plan] if before is not None and extends else attempt.plan)
    return first


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
