"""A stop is never raised where it would be swallowed or leave half of something, and is never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BEGIN = """
import signal, subprocess, sys, time
from harness.core import signals
signals.heed()
def ask():
    signal.raise_signal(signal.SIGTERM)
def wait():
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(0.01)
done = []
try:
{body}
    wait()
except signals.Stopped as stop:
    print("stopped", stop.code, *done)
"""
ANYWHERE = "    ask()\n    done.append('went on')"
IMPORT = "    import asks\n    done.append(asks.whole)"
NESTED = "    import outer\n    done.append(outer.whole)"
FINALIZER = """
    class Held:
        def __del__(self):
            ask()
            done.append('went on')
    Held()
"""
WHOLE = """
    with signals.whole():
        with signals.whole():
            ask()
        time.sleep(0.2)
        done.append('whole')
"""
CHILD = """
    with signals.whole():
        ask()
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"])
        child.terminate()
        done.append(child.wait())
"""
ASKS = "import signal\nsignal.raise_signal(signal.SIGTERM)\nimport time\ntime.sleep(0.1)\nwhole = 'whole'\n"
OUTER = "def read():\n    import asks\n    return asks.whole\nwhole = read()\n"
CASES = {
    "anywhere": (ANYWHERE, ""),
    "import": (IMPORT, " whole"),
    "import in an import": (NESTED, " whole"),
    "finalizer": (FINALIZER, ""),
    "whole": (WHOLE, " whole"),
    "a child hears the next": (CHILD, " -15"),
}


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    (folder / "asks.py").write_text(ASKS, encoding="utf-8")
    (folder / "outer.py").write_text(OUTER, encoding="utf-8")
    (folder / "endless.py").write_text(f"{ASKS}while True: time.sleep(0.01)\n", encoding="utf-8")
    (folder / "program.py").write_text(program, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("case", CASES)
def test_a_stop_comes_once_and_breaks_nothing_off(case: str, tmp_path: Path) -> None:
    body, done = CASES[case]
    ended = run(tmp_path, BEGIN.format(body=body))
    assert (ended.stdout, ended.stderr, ended.returncode) == (f"stopped 143{done}\n", "", 0)


NATIVE = """
import hashlib, signal, sys
from harness.core import signals
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
signals.PATIENCE = float(sys.argv[1])
signals.heed()
print("native", flush=True)
hashlib.pbkdf2_hmac("sha256", b"what keeps Python", b"from its handlers", 10**9)
"""


@pytest.mark.parametrize(("patience", "signals"), [(0.3, 1), (60.0, 2)])
def test_native_code_that_lets_no_handler_run_keeps_nobody_waiting(
    patience: float, signals: int, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(NATIVE, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "program.py", str(patience)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == "native\n"
    try:
        for _ in range(signals):
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert said == ("s2s: stopped; finished stages are kept, and the same command resumes.\n" if signals == 1 else "")


ANSWERED = """
import os, signal, time
from harness.core import signals
signals.PATIENCE = 0.3
for _ in range(2):
    signals.heed()
    try:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)
    except signals.Stopped:
        signals.heed()
    time.sleep(0.6)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.raise_signal(signal.SIGTERM)
    os._exit(0)
os.wait()
time.sleep(0.6)
print("alive", len(os.listdir("/dev/fd")))
"""


def test_a_stop_that_was_answered_or_was_meant_for_a_child_ends_nothing_later(tmp_path: Path) -> None:
    ended = run(tmp_path, ANSWERED)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout == "alive 6\n", "the two ends of one pipe beside what every process has open"


def test_after_a_command_nobody_listens(tmp_path: Path) -> None:
    program = BEGIN.format(body="    pass").replace("    wait()\n", "") + (
        "signals.ended()\nsignals.heed()\nsignals.ended()\nsignal.signal(signal.SIGTERM, lambda *_: None)\n"
        "signals.PATIENCE = 0.1\nask()\ntime.sleep(0.5)\nprint('alive')\n"
    )
    ended = run(tmp_path, program)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("alive\n", "", 0)


def test_an_import_without_end_is_not_waited_for(tmp_path: Path) -> None:
    ended = run(tmp_path, BEGIN.format(body="    signals.PATIENCE = 0.3\n    import endless"))
    assert ended.stderr == "s2s: stopped; finished stages are kept, and the same command resumes.\n"
    assert (ended.stdout, ended.returncode) == ("", 143)
