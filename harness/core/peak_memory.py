"""The largest amount of memory that this process took."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import torch


def forget_peak_memory(device: torch.device) -> None:
    """Reset ``peak_memory_mb``, so that a trial is not charged for earlier trials of this process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux only; elsewhere the peak covers the whole process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float:
    """Return the largest resident size of this process, or of its memory on a GPU, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    info = psutil.Process().memory_info()
    return float(getattr(info, "peak_wset", None) or _high_water() or info.rss) / 2**20


def _high_water() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
