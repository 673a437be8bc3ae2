"""Memory of the machine: free memory, the peak of a process, and kills by the kernel when memory ran out."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
VMSTAT = Path("/proc/vmstat")


def free_mb() -> float:
    """Return the memory of the machine that is still available to programs, in MiB."""
    return float(psutil.virtual_memory().available) / 2**20


def peak_mb(pid: int) -> float:
    """Return the largest resident size of a process so far, in MiB; 0 if unknown."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def give_back() -> None:
    """Return memory that was freed to the system, so that the peak of a task does not count what earlier tasks took.

    What is alive between two tasks, loaded modules above all, is not searched for cycles again: that took 0.1 s a task.
    """
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError, TypeError):  # glibc alone keeps freed memory for long
        ctypes.CDLL(None).malloc_trim(0)


def oom_kills() -> int | None:
    """Return how many processes the kernel has killed because memory ran out; None where it keeps no count.

    Counts the control group of this process (a container, a SLURM job) if possible, else the machine.
    """
    for path in (*_events(), VMSTAT):
        with suppress(OSError, ValueError, IndexError):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def _events() -> Iterator[Path]:
    """Yield the files in which control groups (version 2 or 1) count kills."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield CGROUPS / group.lstrip("/") / "memory.events"
                yield CGROUPS / "memory.events"  # a container can see its own group as the root
            elif "memory" in controllers.split(","):
                yield CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control"
                yield CGROUPS / "memory" / "memory.oom_control"
