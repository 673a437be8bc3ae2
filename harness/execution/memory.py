"""What the machine says about memory: how much is free, what a process took, whether the kernel killed for want of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
VMSTAT = Path("/proc/vmstat")


def free_mb() -> float:
    """Return the memory of the machine that programs can still have, in MiB."""
    return float(psutil.virtual_memory().available) / 2**20


def peak_mb(pid: int) -> float:
    """Return the largest resident size so far of a process, in MiB; 0 where nobody knows."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def oom_kills() -> int | None:
    """Return how many processes here the kernel has killed because memory ran out; None where it does not say.

    Those of the control group of this process if it counts them (a container, a job of SLURM), else of the machine.
    """
    for path in (*_events(), VMSTAT):
        with suppress(OSError, ValueError, IndexError):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return None


def _events() -> Iterator[Path]:
    """Yield the files in which control groups, of the second and of the first version, count what was killed."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield CGROUPS / group.lstrip("/") / "memory.events"
                yield CGROUPS / "memory.events"  # a container can see its own group as the root
            elif "memory" in controllers.split(","):
                yield CGROUPS / "memory" / group.lstrip("/") / "memory.oom_control"
                yield CGROUPS / "memory" / "memory.oom_control"
