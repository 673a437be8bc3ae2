"""A warm process whose forked children run a study of one trial and die at a chosen call to the file system.

``python boundaries.py FOLDER PART WAYS EVERY``: prints JSON lines: first what calls there are, then for each death and
the run after it what was wrong, or nothing. Forks are fast because everything heavy is loaded before the first one; no
torch computation may run here, because its threads would not survive a fork.
"""

from __future__ import annotations

import builtins
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tiny import STAGES, Home, computed_again, study_file

SIZES: dict[str, Any] = {
    "data__dataset__train": 60,
    "data__dataset__validation": 10,
    "data__dataset__test": 10,
    "training__updates": 6,
    "training__evaluate_every": 3,
}
CALLS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "open")
TORN = 0.7
"""Share of the files not flushed to disk that a power cut tears."""
LAST = 6
"""Deaths at the very last call, when all is said to be done."""
SECONDS = 60
"""Until a child that hangs is ended."""


class Crash:
    """Counts the calls that change folders, and ends this process at one of them.

    Args:
        folders: calls elsewhere do not count.
        at: the call to die at; 0 never dies.
        way: ``before`` the call, ``after`` it, or ``power``: after it, and of the files that were not flushed to disk some
            are cut in half, as luck has it.
        luck: a number to draw by.
    """

    def __init__(self, folders: list[Path], at: int = 0, way: str = "before", luck: int = 0) -> None:
        self.folders, self.at, self.way, self.luck = folders, at, way, luck
        self.calls: list[str] = []
        self.synced = {status[0]: status for status in map(_status, self._files())}

    def watch(self) -> None:
        """Take the place of the functions that all of Python's file handling goes through."""
        for name in CALLS:
            setattr(os, name, self._watched(getattr(os, name), name))
        builtins.open = io.open = self._watched(io.open, "open for writing")  # type: ignore[assignment]

    def _watched(self, plain: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(target: Any, *rest: Any, **options: Any) -> Any:
            if not (_writes(name, rest, options) and self._inside(target, options.get("dir_fd"))):
                return plain(target, *rest, **options)
            self.calls.append(name)
            if len(self.calls) == self.at and self.way == "before":
                self._die()
            at = len(self.calls) == self.at
            try:
                made = plain(target, *rest, **options)
                if name == "fsync":
                    status = _status(target)
                    self.synced[status[0]] = status
                return made
            finally:
                if at:
                    self._die()

        return watched

    def _inside(self, target: Any, folder: int | None) -> bool:
        path = Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else os.fsdecode(target)
        if folder is not None:
            path = Path(f"/proc/self/fd/{folder}").readlink() / path
        return any(Path(path).is_relative_to(each) for each in self.folders)

    def _die(self) -> None:
        rng = random.Random(self.luck)
        for path in sorted(self._files()) if self.way == "power" else ():
            status = _status(path)
            if self.synced.get(status[0]) != status and rng.random() < TORN:
                os.truncate(path, status[1] // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def _files(self) -> list[Path]:
        return [path for folder in self.folders for path in folder.rglob("*") if path.is_file()]


def _writes(name: str, rest: tuple[Any, ...], options: dict[str, Any]) -> bool:
    if name == "open":
        return bool((rest[0] if rest else options.get("flags", 0)) & (os.O_CREAT | os.O_TRUNC))
    if name == "open for writing":
        return bool(set(rest[0] if rest else options.get("mode", "r")) & set("wax+"))
    return True


def _status(target: Path | int) -> tuple[int, int, int]:
    found = os.fstat(target) if isinstance(target, int) else target.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class Inline:
    """Runs tasks in this very process."""

    capacity = 1

    def run(self, tasks: Any, listen: Any, timeout: float | None = None, **_: Any) -> Iterator[Any]:
        """Run one task after the other."""
        from harness.execution.entry import perform
        from harness.execution.local_pool import Ended

        for task in tasks:
            value = perform(task.payload, {}, "cpu", lambda event, name=task.name: listen(name, event))
            yield Ended(task.name, "done", value)


def answered(home: Home, study: Path, part: str, scored: Callable[[], Any] = lambda: None) -> Any:
    """Answer the study as ``s2s run`` does, and return the answer.

    Args:
        home: where.
        study: what.
        part: only of ``report`` the pages themselves are written.
        scored: called when a trial is done.
    """
    from harness.execution.runner import Settings
    from harness.report import pages
    from harness.storage.store import Store
    from harness.study.planning import load
    from harness.workflows import run_study

    os.environ |= {"S2S_RESULTS": str(home.results), "FAULTS_AUDIT": str(home.audit)}
    if part != "report":
        pages.write = lambda folder, *_: [folder]  # type: ignore[assignment]
    settings = Settings(Inline(), checkpoint_every=0.0)  # type: ignore[arg-type]

    def listen(_: str, event: dict[str, Any]) -> None:
        if event.get("status") == "ok":
            scored()

    made = run_study.run_study(load(str(study)), Store(home.store), settings, listen, tracked=False)
    if made.failed:
        raise RuntimeError(f"trials failed: {made.failed}")
    return made


def forked(act: Callable[[], None], said: Path) -> int:
    """Run an act in a child and return its exit code, negative for a signal; what it says goes to a file."""
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = 0
        try:
            act()
        except BaseException:
            traceback.print_exc()
            code = 1
        with suppress(ValueError):
            sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def swept(home: Home) -> None:
    """Remove what a kill can leave: files that were being written, and locks."""
    from harness.storage.garbage import remove
    from harness.storage.store import Store

    remove(Store(home.store), home.results)


def trouble(home: Home, whole: dict[str, str]) -> str:
    """Say what differs from an unbroken run, or nothing."""
    if (found := home.outputs()) != whole:
        return f"other outputs: {sorted(set(found.items()) ^ set(whole.items()))}"
    if again := computed_again(home.events()):
        return f"computed again: {again}"
    if left := [path for path in home.left_behind() if path.startswith("work")]:
        return f"left behind: {left}"
    for path in [*home.store.rglob("*.json"), *home.store.rglob("*.jsonl")]:
        if "logs" in path.relative_to(home.store).parts:  # a journal that lost its end is passed over
            continue
        try:
            [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else json.loads(
                path.read_text()
            )
        except ValueError as error:
            return f"{path.relative_to(home.store)} cannot be read: {error}"
    return ""


def journals(home: Home) -> set[Path]:
    return set(home.store.glob("logs/*/*.jsonl"))


def unheard(home: Home, before: set[Path]) -> str:
    """Say that who looks on from another terminal does not learn that the last run ended well, or nothing.

    A study that was answered runs no more, and writes no journal.
    """
    from harness.execution.journal import followed
    from harness.storage.store import Store

    found = journals(home)
    ends = [run.end for run in followed(Store(home.store)) if run.path not in before]
    return "" if ends == ["finished"] * len(found - before) else f"the journal of the run after it ends with {ends}"


def cut(home: Home, whole: Home) -> str:
    """Say what of a report is not whole, or nothing."""
    names, expected = ({p.relative_to(h.results) for p in h.results.rglob("*.*")} for h in (home, whole))
    ends = {name for name in expected if name.suffix in (".svg", ".png", ".html")}
    short = {name for name in names & ends if _tail(home.results / name) != _tail(whole.results / name)}
    if short or names != expected:
        return f"the report is in pieces: {sorted(map(str, short | (names ^ expected)))}"
    return "" if home.results_of() == whole.results_of() else "the report has other numbers"


def _tail(path: Path) -> bytes:
    return path.read_bytes()[-12:]


def main(folder: Path, part: str, ways: list[str], every: int) -> None:
    """Count, then die at every n-th call in each way, run again, and print what was wrong."""
    import variants  # noqa: F401
    from harness.report import pages  # noqa: F401
    from harness.study.planning import load, resolve
    from harness.workflows import answer_cache

    study = study_file(folder / "studies", cases={"plain": {}}, seeds=1, **SIZES)
    whole = Home(folder / "whole")

    def counted(home: Home, at: int = 0, way: str = "before", luck: int = 0) -> None:
        crash = Crash([home.store] if part == "store" else [home.store, home.results], at, way, luck)
        crash.watch()
        answered(home, study, part, lambda: (folder / "scored.json").write_text(str(len(crash.calls))))
        (folder / "calls.json").write_text(json.dumps([crash.calls, sorted(sys.modules)]))

    code = forked(lambda: counted(whole), folder / "said.txt")
    if code or len(list(whole.store.glob("stages/*/*"))) != len(STAGES):
        raise SystemExit(f"the unbroken run ended with {code}:\n{(folder / 'said.txt').read_text()}")
    calls, modules = json.loads((folder / "calls.json").read_text())
    outputs = whole.outputs()
    for module in modules:  # what the first child had to load, no other has to
        with suppress(ImportError):
            importlib.import_module(module)
    answer_cache.code()  # nor to read the code for its fingerprint
    [trial.stages for _, _, trial in resolve(load(str(study))).trials()]
    # Up to the score nothing differs from the calls of the other part.
    first = 1 if part == "store" else json.loads((folder / "scored.json").read_text())
    print(json.dumps({"calls": len(calls), "kinds": Counter(calls[first - 1 :])}), flush=True)
    for way in ways:
        for luck, at in enumerate([*range(first, len(calls), every), *[len(calls)] * LAST]):
            home = Home(folder / f"{way}-{at}-{luck}")
            died = forked(lambda: counted(home, at, way, luck), home.folder / "died.txt")  # noqa: B023 (called at once)
            before = journals(home)
            code = forked(lambda: answered(home, study, part), home.folder / "said.txt")  # noqa: B023
            wrong = (
                ""
                if died == -signal.SIGKILL
                else f"did not die but ended with {died}: {_end(home.folder / 'died.txt')}"
            )
            wrong = wrong or (f"the run after it ended with {code}: {_end(home.folder / 'said.txt')}" if code else "")
            wrong = wrong or trouble(home, outputs) or unheard(home, before)
            if at == first and not journals(home) - before:
                wrong = wrong or "the run after it wrote no journal"
            if not wrong:
                swept(home)
                kept = {path for path in home.left_behind() if not path.startswith("results")}
                wrong = f"gc leaves {kept}" if kept else trouble(home, outputs)
            if part == "report" and not wrong:
                wrong = cut(home, whole)
            print(json.dumps({"way": way, "at": at, "call": calls[at - 1], "wrong": wrong}), flush=True)
            if not wrong:
                shutil.rmtree(home.folder)


def _end(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-1500:]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), int(sys.argv[4]))
