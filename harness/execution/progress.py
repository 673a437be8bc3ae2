"""What is known of a run while it lasts, from the events of its trials: how they end, their curves, the time that is left."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from harness.core.spec import digest, encode
from harness.study.plan import Plan

SEED = " · seed "
"""Stands between variant and seed in the name of a trial."""
POINTS = 12
"""Evaluations that a curve holds, the latest ones."""
LATEST = 5
"""Failed trials that are kept, the latest first."""
AFTER = 0.1
"""Decoding and scoring as a share of training, while no trial has ended."""


@dataclass(frozen=True)
class Outline:
    """What a run sets out to do."""

    study: str
    base: str
    total: int
    """Number of trials; the most there can be, if seeds are added."""
    adds_seeds: bool
    """Whether the run ends earlier once its claims are decided."""
    seeds: Mapping[str, int]
    """Trials of each variant, by its name."""
    sharing: tuple[str, ...] = ()
    """Variants whose trials share the training of an earlier variant, and only decode and score."""

    @property
    def of(self) -> str:
        """Study and base, in words."""
        return f"{self.study} on {self.base}"

    @property
    def bound(self) -> str:
        """The words before numbers that seeds which are added make smaller."""
        return " at most" if self.adds_seeds else ""

    @property
    def plain(self) -> dict[str, Any]:
        """The outline as plain data, from which ``Outline(**data)`` makes it again."""
        return asdict(self)


def outline(plan: Plan) -> Outline:
    """Return what a run of a plan sets out to do."""
    seeds = {variant.name: len(plan.seeds) for variant in plan.variants if not variant.skipped}
    return Outline(plan.name, plan.base, sum(seeds.values()), plan.sequential, seeds, tuple(sorted(sharing(plan))))


def sharing(plan: Plan) -> set[str]:
    """Return the variants whose trials share the training of an earlier variant, and only decode and score."""
    seen, found = set[str](), set[str]()
    for variant in plan.variants:
        if not variant.skipped:
            choice = variant.choice
            key = digest(
                [encode(part, meaning=True) for part in (choice.data.changed(tests={}), choice.model, choice.training)]
            )
            if key in seen:
                found.add(variant.name)
            seen.add(key)
    return found


def variant_of(name: str) -> str:
    """Return the variant in the name of a trial."""
    return name.rpartition(SEED)[0]


class Failed(NamedTuple):
    """A trial that failed."""

    name: str
    status: str
    reason: str

    @property
    def text(self) -> str:
        """The failure in a line."""
        return f"{self.name}: {self.status}{f': {self.reason}' if self.reason else ''}"


class Progress:
    """The state of a run, by the events that it has heard; times are seconds of any one clock.

    Events of a trial are ``{}`` when it begins, ``{"stage": "train"}`` when a stage begins, a point of its curve
    (``update``, ``updates``, ``loss``, ``dev_nll``), the reason for which it ``waits``, and at its end a ``status`` with
    a ``reason``. A ``note`` is for the reader, and changes nothing.

    Args:
        outline: what the run sets out to do.
        now: the present time.
    """

    def __init__(self, outline: Outline, now: float) -> None:
        self.outline, self.total = outline, outline.total
        self.found, self.done, self.failed = 0, 0, 0
        self.running: dict[str, dict[str, Any]] = {}
        self.waiting: dict[str, str] = {}
        self.ended_of = Counter[str]()
        """Trials of each variant that have ended."""
        self.failed_of = Counter[str]()
        self.curves: dict[str, deque[float]] = {}
        """Validation losses of the latest trial of each variant that has any."""
        self.failures: deque[Failed] = deque(maxlen=LATEST)
        self.began, self.worked = now, 0.0
        self._spent: dict[str, list[float]] = {}
        """Seconds of the finished trials of each variant."""
        self._after: list[float] = []
        """What trials took, as multiples of their training."""
        self._lost = 0.0
        """Seconds of failed trials."""

    @property
    def ended(self) -> int:
        """The number of trials that have ended: found, done or failed."""
        return self.found + self.done + self.failed

    def hear(self, name: str, event: Mapping[str, Any], now: float) -> float:
        """Take an event of a trial into account; return the seconds of a trial that ends with it, else 0."""
        if "waits" in event:
            self.running.pop(name, None)
            self.waiting[name] = event["waits"]
        if "waits" in event or "note" in event:
            return 0.0
        if event:  # an empty event begins a trial that may turn out to be busy still
            self.waiting.pop(name, None)
        if "status" in event:
            return self._end(name, event, now)
        self.worked = self.worked or now
        trial = self.running.setdefault(name, {"began": now, "curve": deque(maxlen=POINTS)})
        trial.update(event)
        if "update" in event:
            trial["trained"] = now - trial["began"]
        if "dev_nll" in event:
            trial["curve"].append(event["dev_nll"])
            self.curves[variant_of(name)] = trial["curve"]
        return 0.0

    def _end(self, name: str, event: Mapping[str, Any], now: float) -> float:
        trial, variant = self.running.pop(name, {"began": now}), variant_of(name)
        self.ended_of[variant] += 1
        if event["status"] == "found":
            self.found += 1
            return 0.0
        seconds: float = now - trial["began"]
        if event["status"] == "ok":
            self.done += 1
            self._spent.setdefault(variant, []).append(seconds)
            if trial.get("trained"):
                self._after.append(seconds / trial["trained"])
        else:
            self.failed += 1
            self.failed_of[variant] += 1
            self._lost += seconds
            self.failures.appendleft(Failed(name, event["status"], event.get("reason", "")))
        return seconds

    @property
    def done_now(self) -> float:
        """The number of trials done since the start, with the finished parts of running ones."""
        parts = [trial["update"] / trial["updates"] for trial in list(self.running.values()) if trial.get("updates")]
        return float(self.done + self.failed + sum(parts))

    def remaining(self, now: float) -> float | None:
        """Return the remaining seconds, by what the trials of each variant took so far; None while it is unknown.

        A variant of which no trial has ended costs what its first one seems to; one that has not begun, what others cost
        that train, or that share the training of another, as it does.
        """
        costs = {variant: sum(seconds) / len(seconds) for variant, seconds in self._spent.items()}
        whole = sum(self._after) / len(self._after) if self._after else 1 + AFTER
        running = self.running.copy()  # a display asks from a thread of its own
        begun = {name: trial["update"] / trial["updates"] / whole for name, trial in running.items()
                 if trial.get("updates") and trial.get("trained")}  # fmt: skip
        for name, share in begun.items():
            costs.setdefault(variant_of(name), running[name]["trained"] / share)
        if not costs:
            return None
        shares = set(self.outline.sharing)
        training = [cost for variant, cost in costs.items() if variant not in shares] or list(costs.values())
        usual = sum(training) / len(training)
        shared = [cost for variant, cost in costs.items() if variant in shares]
        light = sum(shared) / len(shared) if shared else usual * AFTER
        partly = sum(share * costs[variant_of(name)] for name, share in begun.items())
        done = sum(map(sum, self._spent.values())) + self._lost + partly
        open_of = {name: max(0, count - self.ended_of[name]) for name, count in self.outline.seeds.items()}
        left = sum(count * costs.get(name, light if name in shares else usual) for name, count in open_of.items())
        counted, wanted = sum(open_of.values()), self.total - self.ended
        left = left * wanted / counted if counted else wanted * usual  # a part of a study has fewer trials
        return (now - self.worked) / done * max(0.0, left - partly) if done > 0 else None
