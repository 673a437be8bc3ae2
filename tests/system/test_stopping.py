"""Real processes stopped in the middle of work: how soon, what is said, what is left, and that the same command goes on."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "data.dataset.train": 200,
    "data.dataset.validation": 30,
    "data.dataset.test": 40,
    "data.dataset.digits": 3,
    "model.encoder.cell.hidden": 8,
    "model.decoder.cell.hidden": 8,
    "training.evaluate_every": 10,
}
WHOLE = 1500
"""Updates of a training that is stopped in its middle: seconds."""
WITHIN = 10.0
"""Seconds in which all is to be over."""


class Home:
    """A place for runs of one small study; every run in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "runs"
        self.started: list[subprocess.Popen[str]] = []
        self.hear = _hear_signals

    def start(
        self, updates: int, *more: str, stream: int = subprocess.PIPE, **environment: str
    ) -> subprocess.Popen[str]:
        sets = [word for path, value in (SMALL | {"training.updates": updates}).items()
                for word in ("--set", f"{path}={value}")]  # fmt: skip
        words = ["run", "masking", "--seeds", "1", "--jobs", "2", "--no-track", *sets, *more]
        env = os.environ | {"S2S_STORE": str(self.store), "S2S_RESULTS": str(self.folder / "results")}
        env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            cwd=ROOT,
            env=env,
            text=True,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            preexec_fn=self.hear,
        )
        self.started.append(process)
        return process

    def working(self) -> bool:
        """Two trainings have begun."""
        return len(list(self.store.glob("work/train-*/work.json"))) >= 2

    def checkpoints(self) -> int:
        return len(list(self.store.glob("work/train-*/checkpoint.pt")))

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.store.glob("stages/*/*/stage.json")]

    def made(self) -> dict[str, str]:
        """The results that are the same in every run: of each stage its seal."""
        return {f"{said['stage']['name']}-{said['stage']['key']}": said["seal"] for said in self.records()}


def _hear_signals() -> None:
    """What a shell starts in the background ignores Ctrl-C; what runs under nohup, a closed terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def until(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        if process.poll() is not None:
            raise AssertionError(f"ended early: {process.communicate()}")
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]


def left(processes: list[psutil.Process], within: float = 0.5) -> list[psutil.Process]:
    """Those that still run after some time at most; who is dead and not yet buried does not."""
    end = time.monotonic() + within
    while True:
        alive = [p for p in processes if _runs(p)]
        if not alive or time.monotonic() > end:
            return alive
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The results of a run that nobody stopped."""
    made = Home(tmp_path_factory.mktemp("unbroken"))
    out, err = made.start(WHOLE).communicate(timeout=300)
    assert "4 trials done" in out, err
    return made.made()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.full),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.full),
    ],
    ids=["int", "term", "hup"],
)
def test_it_writes_checkpoints_says_one_line_and_goes_on_bit_for_bit(
    home: Home, unbroken: dict[str, str], number: int, code: int
) -> None:
    process = home.start(WHOLE)
    until(home.working, process)
    everybody = family(process)
    time.sleep(0.5)
    assert home.checkpoints() == 0, "none is due for a minute"
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < WITHIN and not left(everybody)
    assert process.returncode == code
    assert len(err.splitlines()) == 1 and "stopped; " in err and "the same command resumes" in err
    assert "of 4 trials of masking on numbers are finished" in err and "Traceback" not in out
    assert home.checkpoints() == 2
    again = home.start(WHOLE)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0 and home.made() == unbroken, err
    assert not list(home.store.glob("work/*"))
    assert not any("begun_elsewhere" in said["facts"] for said in home.records()), "it went on where it was"


@pytest.mark.full
def test_what_goes_on_with_other_instructions_is_told_and_written_down(home: Home) -> None:
    process = home.start(WHOLE)
    until(home.working, process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert home.checkpoints() == 2
    out, err = home.start(WHOLE, ATEN_CPU_CAPABILITY="default").communicate(timeout=300)
    assert out.count("it was saved elsewhere (capability ") == 2 and "capability DEFAULT here" in out, out + err
    moved = [said["facts"]["begun_elsewhere"] for said in home.records() if "begun_elsewhere" in said["facts"]]
    assert len(moved) == 2 and all(list(place) == ["capability"] for (place,) in moved)
    report = (home.folder / "results/masking/numbers/report.md").read_text(encoding="utf-8")
    assert "| trainings begun elsewhere | 2: capability " in report


@pytest.mark.full
def test_a_worker_that_is_stopped_alone_writes_a_checkpoint_and_another_goes_on(
    home: Home, unbroken: dict[str, str]
) -> None:
    process = home.start(WHOLE)
    until(home.working, process)
    time.sleep(0.5)
    one = workers(process)[0]
    one.terminate()
    one.wait(WITHIN)
    assert home.checkpoints() >= 1
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "killed by SIGTERM, sent by another process" in out and "alone" in out, out + err
    assert home.made() == unbroken


def test_a_killed_worker_costs_nothing(home: Home, unbroken: dict[str, str]) -> None:
    process = home.start(WHOLE, "--checkpoint-every", "0.2")
    until(lambda: home.checkpoints() >= 1, process)
    workers(process)[0].kill()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "killed by SIGKILL" in out and home.made() == unbroken, out + err


def test_ctrl_c_again_ends_at_once(home: Home) -> None:
    process = home.start(100_000)
    until(home.working, process)
    everybody = family(process)
    for worker in workers(process):
        worker.suspend()  # they cannot answer: the parent waits for their checkpoints
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.wait(2)
    assert process.returncode == 130
    for worker in everybody[1:]:
        if worker.is_running():
            worker.resume()  # what was stopped ends when it is let go
    assert not left(everybody, 5)


@pytest.mark.full
def test_workers_that_do_not_answer_are_ended_in_time(home: Home) -> None:
    process = home.start(100_000)
    until(home.working, process)
    everybody = family(process)
    for worker in workers(process):
        worker.suspend()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert time.monotonic() - began < WITHIN and process.returncode == 143
    assert not left(everybody)


STOPS_AT_IMPORT = """
import os, signal, sys
name = os.environ.pop("STOP_AT", None)
class Finder:
    def find_spec(self, module, *_):
        if module == name:
            signal.raise_signal(signal.SIGTERM)
if name:
    sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    "module",
    [
        pytest.param("numpy._core.multiarray", marks=pytest.mark.full),
        pytest.param("numpy.exceptions", marks=pytest.mark.full),
        "torch.distributed",
        pytest.param("harness.study.planning", marks=pytest.mark.full),
    ],
)
def test_it_can_be_stopped_in_the_middle_of_an_import(home: Home, module: str) -> None:
    """Torch imports numpy by native code, which goes on after an exception with half of it, or aborts."""
    (home.folder / "sitecustomize.py").write_text(STOPS_AT_IMPORT, encoding="utf-8")
    process = home.start(100_000, STOP_AT=module, PYTHONPATH=f"{home.folder}:{ROOT}")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "s2s: stopped; finished stages are kept, and the same command resumes.\n")


def test_a_command_that_has_ended_can_be_stopped_while_python_ends(home: Home) -> None:
    asks = "import atexit, signal\natexit.register(signal.raise_signal, signal.SIGTERM)\n"
    (home.folder / "sitecustomize.py").write_text(asks, encoding="utf-8")
    env = os.environ | {"PYTHONPATH": f"{home.folder}:{ROOT}"}
    typed = [sys.executable, "-m", "harness", "plan", "--help"]
    ended = subprocess.run(typed, cwd=ROOT, env=env, text=True, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (-signal.SIGTERM, "") and "Usage:" in ended.stdout


@pytest.mark.parametrize("after", [0.3, *(pytest.param(after, marks=pytest.mark.full) for after in (0.8, 1.5)), 2.5])
def test_it_can_be_stopped_while_it_plans_and_prepares(home: Home, after: float) -> None:
    process = home.start(100_000)
    time.sleep(after)
    everybody = family(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert not left(everybody)
    # Before Python has come to its first line, a signal ends it without a word.
    assert process.returncode in (143, -signal.SIGTERM) and "Traceback" not in err
    assert process.returncode < 0 or "the same command resumes" in err


def test_a_window_that_is_closed_stops_like_a_signal(home: Home) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
    os.set_blocking(ours, False)

    def own() -> None:
        _hear_signals()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    def trained() -> bool:
        with suppress(BlockingIOError):
            while shown := os.read(ours, 1 << 16):
                seen.append(shown)
        return home.working() and b"trials" in b"".join(seen)

    seen: list[bytes] = []
    home.hear = own
    process = home.start(100_000, stream=theirs, TERM="xterm-256color")
    os.close(theirs)
    until(trained, process)
    everybody = family(process)
    os.close(ours)
    process.wait(WITHIN)
    assert process.returncode == 129 and home.checkpoints() == 2
    assert not left(everybody)


@pytest.mark.full
def test_what_nohup_ignores_stays_ignored(home: Home) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    home.hear = ignore
    process = home.start(300)
    until(home.working, process)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "4 trials done" in out, err
