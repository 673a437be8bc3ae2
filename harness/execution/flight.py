"""A task that was handed to other machines: the trials of it that are left, and what happens when its process is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.execution.local_pool import Ended, Listen, Task

ATTEMPTS = 3
"""How often a task is begun whose node or process is lost."""


@dataclass(eq=False)
class Flight:
    """A task on its way; it may begin several times."""

    task: Task
    closed: set[str] = field(default_factory=set)
    """Trials that have ended."""
    losses: int = 0
    """How often its node or process was lost."""

    def hear(self, event: dict[str, Any], listen: Listen) -> None:
        """Pass an event on, and note the trial that it closes."""
        if "status" in event:
            self.closed.add(event["trial"])
        listen(self.task.name, event)

    def lost(self, reason: str, listen: Listen) -> Ended | None:
        """Let the task begin elsewhere with its unfinished trials: return None, or how it ended if it was lost too often."""
        self.losses += 1
        if self.losses == ATTEMPTS:
            return Ended(self.task.name, "died", reason=f"its process or node was lost {ATTEMPTS} times: {reason}")
        return self.again(f"its process was lost: {reason}", listen)

    def again(self, reason: str, listen: Listen) -> Ended | None:
        """Let the task begin elsewhere with its unfinished trials: return None, or its end if there are none."""
        left = self.left()
        if not left:
            return Ended(self.task.name, "done")
        self.task = Task(self.task.name, self.task.payload | {"trials": left})
        listen(self.task.name, {"trial": left[0][0], "note": f"restarts elsewhere; {reason}"})
        return None

    def left(self) -> list[Any]:
        """Return the trials that have not ended."""
        return [trial for trial in self.task.payload["trials"] if trial[0] not in self.closed]
