"""Disks that are full or read-only, files and memory that may not grow: real limits of the kernel, not mocks."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Tell
from tiny import CASES, ROOT, Home, computed_again, mirrored, study_file

PATIENCE = 300.0
WIDE = 4000
"""Units of a cell whose model, gradients and moments take well over a gigabyte."""
HUGE = 60_000
"""Units of a cell whose first matrix alone takes tens of gigabytes."""
GIB = 1 << 30


@contextmanager
def disk(place: Path, size: str) -> Iterator[Callable[..., None]]:
    """Mount a small file system and yield a function that mounts it anew with other options; skip where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]).returncode:
        pytest.skip("only root may mount file systems, and only where the machine allows it")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def run(study: Path, *words: str) -> list[str]:
    return ["run", str(study), "--jobs", "2", "--checkpoint-every", "0.1", *words]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tiny study, unbroken."""
    home = Home(tmp_path_factory.mktemp("plain"))
    study = study_file(home.folder / "studies")
    assert home.start(*run(study)).wait(PATIENCE) == 0, home.said()
    return {"study": study, "results": home.results_of(), "mirrored": home.settled(study)}


def one_line(said: str) -> None:
    assert "Traceback" not in said and said.strip(), said


def same(home: Home, plain: dict[str, Any]) -> None:
    """Check that everything is there, and as it is without limits."""
    assert home.results_of() == plain["results"]
    assert computed_again(home.events()) == [] and home.left_behind() == [] and home.quiet()


@pytest.mark.full
@pytest.mark.slow
def test_a_store_on_a_disk_that_is_full_again_and_again(tmp_path: Path, plain: dict[str, Any], tell: Tell) -> None:
    stopped: Counter[str] = Counter()
    with disk(tmp_path / "disk", "40k") as remount:
        home = Home(tmp_path, store=tmp_path / "disk" / "runs")
        for size in (*range(40, 640, 60), 65536):
            remount(f"size={size}k")
            before = len(home.events())
            running = home.start(*run(plain["study"], "--no-track"))
            code = running.wait(PATIENCE)
            one_line(home.said())
            if code == 0:
                break
            assert code == 2, home.said()
            at = [event["step"] for event in home.events()[before:] if event["what"] != "end"]
            stopped[at[-1] if at else "beginning"] += 1
        assert code == 0, home.said()
        same(home, plain)
    assert stopped.total() >= 3 and "No space left" in home.said()
    tell(
        f"full disk: the store {stopped.total()} times ({', '.join(f'{k} {n}' for k, n in stopped.items())}), then room: identical"
    )


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("what", ["results", "runs/mlflow", "tmp"])
def test_other_folders_on_a_full_disk(what: str, tmp_path: Path, plain: dict[str, Any], tell: Tell) -> None:
    home = Home(tmp_path)
    (tmp_path / "tmp").mkdir()
    codes = []
    with disk(tmp_path / what, "64k") as remount:
        for size in ("64k", "300k", "256m"):
            remount(f"size={size}")
            codes.append(home.start(*run(plain["study"]), TMPDIR=str(tmp_path / "tmp")).wait(PATIENCE))
            one_line(home.said())
            assert codes[-1] in (0, 2), home.said()
        same(home, plain)
        home.call("sync", str(plain["study"]))
        assert codes[-1] == 0 and mirrored(home.store) == plain["mirrored"], home.said()
    if what == "results":
        assert codes[0] == 2
    else:
        assert codes == [0, 0, 0], "what only MLflow needs stops no study"
    tell(f"full disk: {what} twice: exit codes {codes}, then room: identical")


@pytest.mark.full
@pytest.mark.slow
def test_a_store_that_becomes_read_only_can_be_read_and_goes_on_later(
    tmp_path: Path, plain: dict[str, Any], tell: Tell
) -> None:
    with disk(tmp_path / "disk", "64m") as remount:
        home = Home(tmp_path, store=tmp_path / "disk" / "runs")
        stop_after_the_first_trial(home, run(plain["study"]))
        remount("ro")
        one_line(said := home.call(*run(plain["study"]), code=2))
        assert len(said.strip().splitlines()) <= 4, said
        home.call("report", str(plain["study"]))
        remount("rw")
        home.call(*run(plain["study"]))
        same(home, plain)
    tell("read-only: a run is refused in a line, a report is written, and with the disk writable again: identical")


def stop_after_the_first_trial(home: Home, words: list[str]) -> None:
    """Run a command until something is scored, and end it as a machine ends."""
    running = home.start(*words)
    while not any(event["step"] == "score" and event["what"] == "end" for event in home.events()):
        assert running.poll() is None, home.said()
        time.sleep(0.02)
    running.kill()
    assert running.wait(PATIENCE) and home.quiet()


@pytest.mark.slow
def test_files_that_may_not_grow(tmp_path: Path, plain: dict[str, Any], tell: Tell) -> None:
    """As under a quota: every write past a limit fails, whoever writes."""
    home, codes = Home(tmp_path), []
    for limit in (2_000, 20_000, resource.RLIM_INFINITY):
        codes.append(limited(home, resource.RLIMIT_FSIZE, limit, *run(plain["study"], "--no-track")))
        one_line(home.said())
    assert codes == [2, 2, 0], home.said()
    same(home, plain)
    tell(f"files that may not grow (RLIMIT_FSIZE): exit codes {codes}, then without: identical")


def limited(home: Home, which: int, limit: int, *words: str) -> int:
    """Run a command under a limit and return its exit code."""
    before = resource.getrlimit(which)
    resource.setrlimit(which, (limit, before[1]))  # children inherit it
    try:
        running = home.start(*words)
    finally:
        resource.setrlimit(which, before)
    return running.wait(PATIENCE)


def big(folder: Path, units: int) -> Path:
    """Write the tiny study with a variant that wants much memory."""
    cases = {
        "plain": {},
        "big": {"model.encoder.cell.hidden": units, "training.updates": 3},
        "plain, beam": CASES["plain, beam"],
    }
    return study_file(folder, "big", cases=cases, seeds=1)


def out_of_memory(home: Home, study: Path, tell: Tell, how: str) -> None:
    """Check that the big variant alone failed, was tried twice, and says what was measured."""
    import pandas as pd

    table = pd.read_csv(home.results / "big" / "numbers" / "trials.csv").set_index("variant")
    status = table["status"].to_dict()
    assert status == {"plain": "ok", "big": "out_of_memory", "plain, beam": "ok"}, home.said()
    assert "alone" in table["reason"]["big"] and "peak_memory_mb" not in status
    begun = Counter(e["key"] for e in home.events() if e["step"] == "train" and e["what"] == "begin")
    assert sorted(begun.values()) == [1, 2], "the big one once beside others and once alone"
    [failure] = [path.read_text() for path in (home.store / "failures").glob("*.json")]
    assert '"peak_memory_mb"' in failure and '"free_memory_mb"' in failure, failure
    one_line(home.said())
    assert home.start(*run(study, "--no-track")).wait(PATIENCE) == 1, "it is final: the same command tries nothing"
    assert Counter(e["key"] for e in home.events() if e["step"] == "train" and e["what"] == "begin") == begun
    tell(f"out of memory ({how}): tried twice, the second time alone; the others are done; {table['reason']['big']}")


@pytest.mark.full
@pytest.mark.slow
def test_address_space_that_ends(tmp_path: Path, tell: Tell) -> None:
    home, study = Home(tmp_path), big(tmp_path / "studies", HUGE)
    assert limited(home, resource.RLIMIT_AS, 16 * GIB, *run(study, "--no-track")) == 1, home.said()
    out_of_memory(home, study, tell, "RLIMIT_AS")


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a group of processes that share so much memory, and yield the file that takes members; skip where there is none."""
    name = f"faults-{os.getpid()}"
    first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    folder, file = (first / name, "memory.limit_in_bytes") if first.exists() else (second / name, "memory.max")
    try:
        folder.mkdir()
        (folder / file).write_text(str(limit))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no group of processes with a limit of memory can be made here: {error}")
    with suppress(OSError):
        (folder / "memory.swap.max").write_text("0")
    try:
        yield folder / "cgroup.procs"
    finally:
        for member in (folder / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(member), signal.SIGKILL)
        while (folder / "cgroup.procs").read_text():
            time.sleep(0.05)
        folder.rmdir()


@pytest.mark.slow
def test_the_kernel_ends_a_worker_when_memory_runs_out(tmp_path: Path, tell: Tell) -> None:
    home, study = Home(tmp_path), big(tmp_path / "studies", WIDE)
    with memory_group(int(1.6 * GIB)) as members:
        # The shell joins the group and becomes the command: all its workers are born in it.
        line = f'echo $$ > {members} && exec "$@"'
        with (home.folder / "said.txt").open("a") as said:
            command = [sys.executable, "-m", "harness", *run(study, "--no-track", "--jobs", "1")]
            argv = ["sh", "-c", line, "sh", *command]
            code = subprocess.run(argv, env=home.environment(), cwd=ROOT, stdout=said, stderr=said).returncode
        assert code == 1 and home.quiet(), home.said()
    out_of_memory(home, study, tell, "killed by the kernel, cgroup")


@pytest.mark.full
@pytest.mark.slow
def test_a_relative_store_with_a_strange_name_and_a_private_umask(
    tmp_path: Path, plain: dict[str, Any], tell: Tell
) -> None:
    place = tmp_path / "опыты 数字 ¿qué?" / "a b"
    place.mkdir(parents=True)
    home = Home(place)
    relative = os.path.relpath(home.store, ROOT)
    before = os.umask(0o077)
    try:
        running = home.start(*run(plain["study"]), S2S_STORE=relative, S2S_RESULTS=os.path.relpath(home.results, ROOT))
    finally:
        os.umask(before)
    assert running.wait(PATIENCE) == 0, home.said()
    assert home.results_of() == plain["results"]
    assert all(not path.stat().st_mode & 0o077 for path in home.store.rglob("*"))
    tell("a relative store, spaces and Unicode in its name, umask 077: identical")
