"""What a run does with failures, busy trials and dead workers, with an executor that plays out a script."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from harness.execution import failures, runner, scheduler
from harness.execution.failures import Failure, disk_trouble, out_of_memory
from harness.execution.local_pool import Ended, Task, never
from harness.execution.runner import title
from harness.execution.scheduler import Listen, Ran, Rounds, Settings
from harness.storage import locks
from harness.storage.store import Busy, Store
from harness.study import planning
from harness.trial import prepare
from harness.trial.pipeline import Corridor, Trial

ROOT = Path(__file__).resolve().parents[3]
Script = Callable[[str, int], dict[str, Any] | Ended]
"""What becomes of a trial (by name) at its n-th attempt: an event with a status, or the end of its worker."""


class Played:
    """An executor that does what a script says."""

    capacity = 2

    def __init__(self, store: Store, script: Script) -> None:
        self.store, self.script = store, script
        self.attempts: Counter[str] = Counter()
        self.rounds: list[tuple[int | None, list[str]]] = []
        self.trials: dict[str, Trial] = {}

    def run(
        self,
        tasks: Iterable[Task],
        listen: Listen,
        timeout: float | None = None,
        *,
        at_once: int | None = None,
        enough: Callable[[], bool] = never,
    ) -> Iterator[Ended]:
        handed: list[str] = []
        self.rounds.append((at_once, handed))
        for task in tasks:
            if enough():
                return
            ended = Ended(task.name, "done")
            for name, *_ in task.payload["trials"]:
                handed.append(name)
                self.attempts[name] += 1
                said = self.script(name, self.attempts[name])
                if isinstance(said, Ended):
                    ended = said._replace(name=task.name)
                    break
                if said["status"] == "ok":
                    finish(self.store, self.trials[name])
                listen(task.name, {"trial": name} | said)
            yield ended


def finish(store: Store, trial: Trial) -> None:
    for stage in trial.stages.values():
        store.make(stage, lambda folder: (folder / "out").write_text("x") and {}, {})


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> dict[str, Trial]:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(scheduler, "PAUSE", 0.0)
    plan = planning.resolve(planning.load("masking", seeds=1))
    return {title(variant, seed): trial for variant, seed, trial in plan.trials()}


def ran(
    home: Path, trials: dict[str, Trial], script: Script, **settings: Any
) -> tuple[Ran, Played, list[tuple[str, dict[str, Any]]]]:
    heard: list[tuple[str, dict[str, Any]]] = []
    played = Played(Store(home), script)
    played.trials = trials
    run = Rounds(
        trials, played.store, (), Settings(played, **settings), lambda name, event: heard.append((name, event))
    )
    made = run.run()
    closed = [name for name, event in heard if "status" in event]
    assert len(closed) == len(set(closed)) == len(trials) - made.untried, "every trial is reported once"
    return made, played, heard


def ok(_name: str, _attempt: int) -> dict[str, Any]:
    return {"status": "ok", "made": ["train"]}


def test_all_is_well_and_done_before(tmp_path: Path, trials: dict[str, Trial]) -> None:
    made, _, _ = ran(tmp_path, trials, ok)
    assert made == Ran(made=4, stages={"train": 4})
    made, played, heard = ran(tmp_path, trials, ok)
    assert made == Ran(found=4) and not played.rounds and {e["status"] for _, e in heard} == {"found"}


def first(trials: dict[str, Trial]) -> str:
    return next(iter(trials))


def only_first(trials: dict[str, Trial], what: Callable[[int], dict[str, Any] | Ended]) -> Script:
    return lambda name, attempt: what(attempt) if name == first(trials) else ok(name, attempt)


BUSY = {"status": "busy", "owner": "process 12 on far", "work": "train-key"}
MEASURED = {"peak_memory_mb": 1234.5, "free_memory_mb": 56.0}
NO_MEMORY = {"status": "out_of_memory", "reason": "MemoryError", "measured": MEASURED, "log": "last\nlines"}
KILLED = Ended("", "killed", reason="was killed by SIGKILL", log="a line", measured=MEASURED)


@pytest.mark.parametrize("how", [NO_MEMORY, KILLED, KILLED._replace(status="out_of_memory")], ids=str)
def test_what_had_no_memory_or_was_killed_runs_once_more_alone_and_last(
    how: Any, tmp_path: Path, trials: dict[str, Trial]
) -> None:
    script = only_first(trials, lambda attempt: how if attempt == 1 else ok("", 2))
    made, played, heard = ran(tmp_path, trials, script)
    assert made.made == 4 and made.failed == 0 and not list(tmp_path.glob("failures/*"))
    assert [(at_once, len(names)) for at_once, names in played.rounds] == [(None, 4), (1, 1)]
    told = next(event for name, event in heard if name == first(trials) and "waits" in event)
    assert "alone" in told["waits"] and "1,234 MB" in told["note"] and "56 MB were free" in told["note"]


@pytest.mark.parametrize(
    ("how", "status", "final"),
    [(NO_MEMORY, "out_of_memory", True), (KILLED, "error", False),
     (KILLED._replace(status="out_of_memory"), "out_of_memory", True)],
    ids=str,
)  # fmt: skip
def test_twice_is_a_failure_with_what_was_measured(
    how: Any, status: str, final: bool, tmp_path: Path, trials: dict[str, Trial]
) -> None:
    made, played, _ = ran(tmp_path, trials, only_first(trials, lambda _: how))
    assert (made.made, made.failed, made.newly_failed) == (3, 1, 1) and played.attempts[first(trials)] == 2
    failure = failures.last(Store(tmp_path), trials[first(trials)])
    assert failure is not None and failure.status == status and failure.measured == MEASURED
    assert "1,234 MB" in failure.reason and "alone" in failure.reason and failure.log and failure.log in failure.page
    again, played, heard = ran(tmp_path, trials, ok)
    assert again.made == (0 if final else 1) and again.failed == (1 if final else 0) and again.newly_failed == 0
    assert not final or "--retry-failed" in dict(heard)[first(trials)]["reason"]
    retried, _, _ = ran(tmp_path, trials, ok, retry_failed=True)
    assert retried.failed == 0 and not list(tmp_path.glob("failures/*"))


def test_a_timeout_is_final_until_there_is_more_time(tmp_path: Path, trials: dict[str, Trial]) -> None:
    late = Ended("", "timeout", reason="stopped after 5 s")
    made, played, _ = ran(tmp_path, trials, only_first(trials, lambda _: late), timeout=5.0)
    assert made.failed == 1 and played.attempts[first(trials)] == 1
    for timeout, failed in ((5.0, 1), (4.0, 1), (6.0, 0)):
        again, _, _ = ran(tmp_path, trials, ok, timeout=timeout)
        assert again.failed == failed


@pytest.mark.parametrize(("status", "final"), [("diverged", True), ("incompatible", True), ("error", False)])
def test_which_failures_are_final(status: str, final: bool, tmp_path: Path, trials: dict[str, Trial]) -> None:
    script = only_first(trials, lambda _: {"status": status, "reason": "so it is", "traceback": "Traceback"})
    made, _, _ = ran(tmp_path, trials, script)
    assert (made.failed, made.newly_failed) == (1, 1)
    again, _, _ = ran(tmp_path, trials, ok)
    assert (again.failed, again.newly_failed, again.made) == ((1, 0, 0) if final else (0, 0, 1))


def test_a_failure_of_other_code_or_that_cannot_be_read_is_tried_again(
    tmp_path: Path, trials: dict[str, Trial]
) -> None:
    ran(tmp_path, trials, only_first(trials, lambda _: {"status": "diverged", "reason": "nan"}))
    (path,) = tmp_path.glob("failures/*.json")
    whole = path.read_text(encoding="utf-8")
    store, trial = Store(tmp_path), trials[first(trials)]
    failed = failures.last(store, trial)
    assert failed == Failure("diverged", "nan")
    assert 0 < failed.began <= failed.ended <= time.time(), "MLflow shows how long it took"
    for text in (
        whole[:20],
        "[]",
        "{}",
        json.dumps(json.loads(whole) | {"fingerprints": {}}),
        whole.replace("log", "?"),
    ):
        path.write_text(text, encoding="utf-8")
        assert failures.last(store, trial) is None


def test_what_another_run_is_at_is_found_or_made_later_and_reported_once(
    tmp_path: Path, trials: dict[str, Trial]
) -> None:
    one, two = list(trials)[:2]

    def script(name: str, attempt: int) -> dict[str, Any]:
        if name == one and attempt == 2:
            finish(Store(tmp_path), trials[two])  # by the other run
        busy = (name == one and attempt < 3) or name == two
        return BUSY if busy else ok(name, attempt)

    made, played, heard = ran(tmp_path, trials, script)
    assert (made.made, made.found, made.failed) == (3, 1, 0)
    assert [names for _, names in played.rounds] == [list(trials), [one, two], [one]]
    waits = [event for name, event in heard if name == one and "waits" in event]
    assert waits == [{"waits": "for another run (process 12 on far)"}] * 2


def test_who_gives_no_sign_of_life_is_named_once(
    tmp_path: Path, trials: dict[str, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.05)
    work = tmp_path / "work" / BUSY["work"]
    work.mkdir(parents=True)

    def busy(attempt: int) -> dict[str, Any]:
        time.sleep(0.1)
        if attempt < 4:
            (work / "curve.jsonl").write_text("." * attempt, encoding="utf-8")
        return BUSY if attempt < 8 else ok("", attempt)

    made, _, heard = ran(tmp_path, trials, only_first(trials, busy))
    waits = [event for name, event in heard if "waits" in event]
    notes = [(at, event["note"]) for at, event in enumerate(waits) if "note" in event]
    assert made.made == 4 and len(waits) == 7
    assert [at for at, _ in notes] == [3], "not before it fell silent, and not again"
    assert f"{first(trials)} waits; process 12 on far has written nothing" in notes[0][1] and "end it" in notes[0][1]


def test_the_data_that_another_run_prepares_are_waited_for_and_it_is_named(
    tmp_path: Path, trials: dict[str, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PAUSE", 0.05)
    monkeypatch.setattr(locks, "SILENCE", 0.2)
    store, said, over = Store(tmp_path), list[str](), threading.Event()
    plan, key = planning.resolve(planning.load("masking", seeds=1)), trials[first(trials)].stages["prepare"].key

    def hold() -> None:
        with store.claim("prepare", key):
            over.wait(30)

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            over.set()

    thread = threading.Thread(target=hold)
    thread.start()
    owner = ""
    while not owner.startswith("process"):  # it takes the lock, and then says who it is
        try:
            store.demand_free(f"prepare-{key}")
        except Busy as busy:
            owner = busy.owner
    assert runner.prepare_data(plan, store, say) and len(said) == 2
    thread.join()
    assert f"another run (process {os.getpid()} on " in said[0] and "has written nothing" in said[1]


def test_what_another_run_found_to_fail_for_good_is_not_tried_again(tmp_path: Path, trials: dict[str, Trial]) -> None:
    def busy(_: int) -> dict[str, Any]:
        failures.keep(Store(tmp_path), trials[first(trials)], Failure("diverged", "nan"))
        return BUSY

    made, played, _ = ran(tmp_path, trials, only_first(trials, busy))
    assert (made.made, made.failed, made.newly_failed) == (3, 1, 0) and played.attempts[first(trials)] == 1


@pytest.mark.parametrize("most", [1, 2, 4])
def test_after_so_many_failures_nothing_more_begins(most: int, tmp_path: Path, trials: dict[str, Trial]) -> None:
    made, _, _ = ran(tmp_path, trials, lambda *_: {"status": "diverged", "reason": "nan"}, max_failures=most)
    assert (made.newly_failed, made.untried) == (most, 4 - most)
    made, _, _ = ran(tmp_path, trials, ok, max_failures=most)
    assert (made.newly_failed, made.failed, made.made, made.untried) == (0, most, 4 - most, 0), (
        "those before do not count"
    )


def test_a_disk_that_is_full_is_no_failure_of_a_trial(tmp_path: Path, trials: dict[str, Trial]) -> None:
    full = Ended("", "done", {"unusable": [errno.ENOSPC, "No space left on device", str(tmp_path)]})
    with pytest.raises(OSError, match="No space left") as stopped:
        ran(tmp_path, trials, only_first(trials, lambda _: full))
    assert stopped.value.filename == str(tmp_path) and not list(tmp_path.glob("failures/*"))


@pytest.mark.usefixtures("trials")
def test_a_disk_that_is_full_of_data_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(prepare, "prepare", full)
    with pytest.raises(OSError, match="disk is full"):
        runner.prepare_data(planning.resolve(planning.load("masking", seeds=1)), Store(tmp_path), print)
    monkeypatch.setattr(prepare, "prepare", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.prepare_data(planning.resolve(planning.load("masking", seeds=1)), Store(tmp_path), print)


def test_a_stop_after_the_last_evaluation_waits_for_the_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Stopped

    def emit(event: dict[str, Any]) -> None:
        if event.get("update") == 20:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.chdir(ROOT)
    sizes = {"train": 60, "validation": 20, "test": 20, "digits": 2}
    sets = {f"data.dataset.{name}": size for name, size in sizes.items()}
    sets |= {"training.updates": 20, "training.evaluate_every": 10}
    sets |= {f"model.{side}.cell.hidden": 8 for side in ("encoder", "decoder")}
    _, _, trial = next(planning.resolve(planning.load("masking", seeds=1, sets=sets)).trials())
    corridor, before = Corridor(Store(tmp_path), (), "cpu"), signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Stopped):
            list(corridor.run(trial, emit))
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [corridor.store.state(stage)[0] for stage in trial.stages.values()] == ["done", "done", "absent", "absent"]
    assert not list((tmp_path / "work").iterdir())


def test_secrets_do_not_stay_in_what_is_kept(
    tmp_path: Path, trials: dict[str, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    told = {"status": "error", "reason": "401 for hf_verysecret", "traceback": "hf_verysecret", "log": "hf_verysecret"}
    ran(tmp_path, trials, only_first(trials, lambda _: told))
    (path,) = tmp_path.glob("failures/*.json")
    assert "verysecret" not in path.read_text(encoding="utf-8") and "401" in path.read_text(encoding="utf-8")


def test_what_errors_mean(tmp_path: Path) -> None:
    for error in (
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"
        ),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ):
        assert out_of_memory(error)
    for other in (RuntimeError("shapes do not match"), ValueError("out of memory"), OSError(errno.ENOENT, "gone")):
        assert not out_of_memory(other)
    with pytest.raises(RuntimeError) as found:
        torch.empty(1 << 60)
    assert out_of_memory(found.value), "as torch says it here"
    inside = str(tmp_path / "work")
    for number, name in ((errno.ENOSPC, None), (errno.EDQUOT, None), (errno.EROFS, None), (errno.EACCES, inside)):
        trouble = disk_trouble(OSError(number, "told", name), tmp_path)
        assert trouble is not None and trouble.errno == number
    assert disk_trouble(PermissionError(errno.EACCES, "denied", "/etc/shadow"), tmp_path) is None
    assert disk_trouble(FileNotFoundError(errno.ENOENT, "gone", inside), tmp_path) is None
    wrapped = RuntimeError("of a library")
    wrapped.__cause__ = OSError(errno.ENOSPC, "full")
    assert disk_trouble(wrapped, tmp_path) is not None
    assert disk_trouble(Exception("I/O error: No space left on device (os error 28)"), tmp_path) is not None


@pytest.mark.parametrize(
    ("began", "ended", "known"),
    (
        (1.0, 3.5, True),
        (0.0, 3.5, False),
        (3.5, 1.0, False),
        (1.0, math.inf, False),
        (-5e300, 1.0, False),
        ("1", 2.0, False),
    ),
)
def test_times_of_a_failure_are_times_or_unknown(began: Any, ended: Any, known: bool) -> None:
    """The file may come from anywhere; MLflow takes no infinite time."""
    assert (Failure("error", began=began, ended=ended).lasted is not None) == known
