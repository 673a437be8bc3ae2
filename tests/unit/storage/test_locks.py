"""Locks end with their process, say whose they are, and can be removed under whoever waits for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.storage import locks
from harness.storage.locks import Busy, alone, holding, owner, remove_free, using

HOLD = """
import sys, time
from pathlib import Path
from harness.storage.locks import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
COUNT = """
import sys
from pathlib import Path
from harness.storage.locks import holding
path, number = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(60):
    with holding(path):
        number.write_text(str(int(number.read_text()) + 1))
"""


def start(program: str, *arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    process = start(HOLD, path)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=f"process {process.pid} on "), holding(path, wait=False):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    with holding(path, wait=False):
        assert f"process {os.getpid()} on " in owner(path)
    assert time.monotonic() - began < 10 and path.exists()


def test_removing_locks_never_makes_two_owners(tmp_path: Path) -> None:
    path, number = tmp_path / "a.lock", tmp_path / "number"
    number.write_text("0", encoding="utf-8")
    counting = [start(COUNT, path, number) for _ in range(3)]
    removed = 0
    while any(process.poll() is None for process in counting):
        removed += remove_free(path)
        time.sleep(0.0005)
    assert [process.wait() for process in counting] == [0, 0, 0]
    assert int(number.read_text(encoding="utf-8")) == 180 and removed > 5


def test_nobody_waits_for_ever_for_an_owner_that_gives_no_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SILENCE", 0.5)
    path, over, signs = tmp_path / "a.lock", threading.Event(), [0]

    def live() -> None:
        with holding(path):
            for _ in range(10):
                signs[0] += 1
                time.sleep(0.1)
            over.wait(30)

    thread = threading.Thread(target=live)
    thread.start()
    while not path.exists():
        time.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(Busy, match="has written nothing"), holding(path, signs=lambda: signs[0]):
        pass
    assert time.monotonic() - began > 1.0, "who gives a sign is waited for"
    over.set()
    thread.join()


def test_one_is_alone_only_when_nobody_uses_it(tmp_path: Path) -> None:
    with using(tmp_path), using(tmp_path), pytest.raises(Busy, match=f"process {os.getpid()}"), alone(tmp_path):
        pass
    left = tmp_path / f"{locks.USER}123-dead.lock"  # of a process that was killed
    left.touch()
    with alone(tmp_path), pytest.raises(Busy), alone(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [locks.DOOR]


def test_a_file_that_says_nothing_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_text("{", encoding="utf-8")
    assert owner(tmp_path / "a.lock") == owner(tmp_path / "none.lock") == "another process"
    with holding(tmp_path / "a.lock", wait=False):
        assert str(os.getpid()) in owner(tmp_path / "a.lock")
