"""What the harness costs beside the work of a whole study, from the start of the command to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.execution.local_pool import slots
from tests.bench.measure import Row, command, middle
from tests.bench.watched import EVENTS, TAKEN_UP


@dataclass(frozen=True)
class Spent:
    """Where the time of one trial went, in seconds."""

    began: float
    ended: float
    train: float
    """In the training loop, with its validations, as the trial's record says."""
    decode: float
    score: float

    @property
    def work(self) -> float:
        """Seconds that any program would need."""
        return self.train + self.decode + self.score

    @property
    def whole(self) -> float:
        """Seconds from its first stage to its end."""
        return self.ended - self.began


@dataclass(frozen=True)
class Watched:
    """One run of a study as seen from outside."""

    began: float
    seconds: float
    trials: list[Spent]
    words: float
    """Target tokens that the trainings read."""
    tracking_cpu: float
    """CPU seconds of the process that fills MLflow, until the last trial ended."""

    @property
    def span(self) -> float:
        """Seconds from the beginning of the first trial to the end of the last."""
        return max(t.ended for t in self.trials) - min(t.began for t in self.trials)


def watch(home: Path, *words: str) -> Watched:
    """Run a study in an empty store and return where the time went."""
    home.mkdir(parents=True)
    began = time.time()
    seconds = command("run", *words, home=home, module="tests.bench.watched")
    facts = [json.loads(path.read_text())["facts"] for path in home.glob("runs/stages/train/*/stage.json")]
    trained = sum(each["train_seconds"] for each in facts)
    read = sum(each["train_seconds"] * each["target_tokens_per_second"] for each in facts)
    events = [json.loads(line) for line in (home / EVENTS).read_text(encoding="utf-8").splitlines()]
    return Watched(began, seconds, _trials(events, trained), read, max(spent for *_, spent in events))


def _trials(events: Sequence[tuple[float, str, str, float]], trained: float) -> list[Spent]:
    """Divide time by trial; the time in training loops is known of all together and is shared out by their lengths."""
    heard: dict[str, dict[str, float]] = {}
    for moment, name, said, _ in events:
        heard.setdefault(name, {})[said] = moment
    training = sum(at["decode"] - at["train"] for at in heard.values())
    return [
        Spent(
            began=at[TAKEN_UP],
            ended=at["ok"],
            train=(at["decode"] - at["train"]) / training * trained,
            decode=at["score"] - at["decode"],
            score=at["ok"] - at["score"],
        )
        for at in heard.values()
    ]


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield the cost of ``s2s run masking --seeds 1`` with MLflow, in an empty store and again; then that of all its seeds."""
    name, runs = ("masking", "--seeds", "1"), []
    for number in range(repeats):
        runs.append(watch(home / f"study-{number}", *name))
    workers = min(len(slots("cpu")), len(runs[0].trials))
    work = [sum(trial.work for trial in run.trials) for run in runs]
    yield middle("whole study, fresh", [run.seconds for run in runs], "s", note=f"{workers} workers")
    yield middle("work of its stages", work, "worker s", note="training loops, decoding, scoring")
    spare = [run.seconds - done / workers for run, done in zip(runs, work, strict=True)]
    yield middle("harness, of the study", spare, "s", "<= 3", "whole - work / workers")
    yield middle("  before the first trial", [min(t.began for t in run.trials) - run.began for run in runs], "s")
    yield middle(
        "  after the last trial", [run.began + run.seconds - max(t.ended for t in run.trials) for run in runs], "s"
    )
    shares = [100 * (1 - trial.work / trial.whole) for run in runs for trial in run.trials]
    yield middle("harness, of a trial", shares, "%", "<= 5")
    again = [command("run", *name, home=home / f"study-{number}") for number in range(repeats)]
    yield middle("the same command again", again, "s", "<= 5")
    whole = watch(home / "whole", "masking")
    yield Row(f"masking, all {len(whole.trials)} trials, fresh", whole.seconds / 60, "min", "<= 3", "once")
