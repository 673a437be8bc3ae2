"""Fills MLflow in a separate process, which cannot block or crash a study.

The process reads study records from its standard input, one per line, and answers each with a line: a note, or the
reason of a failure. It ends with its input.
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
"""Its nice value. Beside busy workers it gets 3.4 % of one core, which slows a study on two cores by at most 1.7 %."""
BETWEEN = 0.15
"""Seconds between two attempts to set the nice value of a session: Linux accepts one every tenth of a second."""
HOME = str(Path(__file__).resolve().parents[2])


class Tracker:
    """The parent's side.

    Args:
        root: the root of the store whose MLflow is filled.
        polite: let the workers of a study go first, until ``hurry``.
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
            stderr=subprocess.DEVNULL,  # MLflow's messages quote addresses; errors come as answers
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C in a terminal is for the study alone
        )
        if polite:
            self._weigh(POLITENESS)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    def write(self, study: StudyRecord) -> str:
        """Bring MLflow up to date with a record and return a note for the user, if any.

        Raises:
            SpecError: MLflow could not be filled; the message says why.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{to_line(study)}\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SpecError(f"the process that fills MLflow ended (exit code {self.process.wait()})")
        reply = json.loads(answer)
        if reply["trouble"]:
            raise SpecError(reply["trouble"])
        return str(reply["note"])

    def hurry(self) -> None:
        """Give the process its full share of the cores where the system allows it: the study waits for it."""
        self._weigh(0)

    def _weigh(self, nice: int) -> None:
        """Set the nice value of the session: where Linux schedules by session, the value of a process counts only within it.

        Workers have sessions of their own, so that the nice value of this process alone would have no effect on them.
        """
        for _ in range(5):
            try:
                Path(f"/proc/{self.process.pid}/autogroup").write_text(f"{nice}", encoding="ascii")
                return
            except BlockingIOError:
                time.sleep(BETWEEN)
            except OSError:  # the process has ended, or Linux schedules by process
                return

    def end(self) -> None:
        """Kill the process; the next sync completes what it has half written."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Run as the process: answer records until the input ends."""
    os.nice(POLITENESS)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of libraries must not mix with answers
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
    """Read records until the input ends; then end the process, even during a call that hangs."""
    for line in sys.stdin:
        records.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
