"""MLflow filled by a process of its own, which cannot hang a study or bring it down.

The process takes study records on its standard input, one a line, and answers each with a line: what was written, or why
nothing was. It ends when the input does.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from harness.core.spec import SpecError
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.records import StudyRecord, from_line, to_line

POLITENESS = 15
"""Its nice value. Beside busy workers it has 3.4 % of one core: the most it can slow a study by, 1.7 % on two cores."""
BETWEEN = 0.15
"""Seconds between two attempts to set that of a session: Linux takes a tenth of a second for each, of whichever user."""
HOME = str(Path(__file__).resolve().parents[2])


class Tracker:
    """The parent's side.

    Args:
        root: of the store whose MLflow is filled.
        polite: workers of a study come first; until ``hurry``.
    """

    def __init__(self, root: Path, *, polite: bool = True) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "harness.tracking.process",
                str(root.absolute()),
            ],  # -P: no modules of the current folder
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [HOME, os.environ.get("PYTHONPATH")]))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # MLflow's own messages quote addresses; what matters is in the answers
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C in a terminal is for the study alone
        )
        if polite:
            self._weigh(POLITENESS)

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def write(self, study: StudyRecord) -> str:
        """Bring MLflow up to date with a record and return what a user should know of it, if anything.

        Raises:
            SpecError: it could not be filled; the message says why.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{to_line(study)}\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SpecError(f"the process that fills MLflow ended (exit code {self.process.wait()})")
        said = json.loads(answer)
        if said["trouble"]:
            raise SpecError(said["trouble"])
        return str(said["note"])

    def hurry(self) -> None:
        """Let it take its full share of the cores, where the system allows that: it is waited for."""
        self._weigh(0)

    def _weigh(self, nice: int) -> None:
        """Set the nice value of its session: where Linux shares cores out by sessions, that of a process counts within one.

        Workers have sessions of their own; beside them the nice value of this process alone would count for nothing.
        """
        for _ in range(5):
            try:
                Path(f"/proc/{self.process.pid}/autogroup").write_text(f"{nice}", encoding="ascii")
                return
            except BlockingIOError:
                time.sleep(BETWEEN)
            except OSError:  # it has ended, or cores are shared out by process alone
                return

    def end(self) -> None:
        """End the process, whatever it is doing: what is written by half is completed by the next sync."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Be the process: answer records until there are no more."""
    os.nice(POLITENESS)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    records: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(records,), daemon=True).start()
    while line := records.get():
        trouble = note = ""
        try:
            note = MlflowStore(Path(sys.argv[1])).sync(from_line(line)).note
        except SpecError as error:
            trouble = str(error)
        answers.write(json.dumps({"trouble": trouble, "note": note}) + "\n")
        answers.flush()


def _listen(records: queue.SimpleQueue[str]) -> None:
    """Take records while there are any; then end the process, for nobody is left to tell, even amid a call that hangs."""
    for line in sys.stdin:
        records.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
