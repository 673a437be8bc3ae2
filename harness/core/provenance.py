"""The provenance of a result: versions, hardware, threads, precision of products, determinism, the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from harness.core import fast_paths, plugins

PACKAGES = ("torch", "datasets", "tokenizers", "sacrebleu", "numpy", "safetensors")
PLACE = ("platform", "processor", "capability", "threads", "device", "cuda", "wide_products", "deterministic")
"""Facts that decide the last bits of a training, besides code, choices and the version of torch."""


@cache
def provenance(device: torch.device) -> dict[str, Any]:
    """Return facts about this process and machine, without paths, users or hosts."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "wide_products": fast_paths.wide_products(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "git": git_state(),
    } | ({"plugins": {plugin.said: plugin.sha256 for plugin in plugins.loaded()}} if plugins.loaded() else {})


def place(device: torch.device) -> dict[str, Any]:
    """Return the facts about this process and machine that decide the last bits of a training."""
    facts = provenance(device)
    return {"torch": facts["versions"]["torch"]} | {name: facts[name] for name in PLACE}


@cache
def git_state() -> dict[str, Any]:
    """Return the commit of the code and whether it was changed since, or nothing outside a checkout."""
    try:
        home = Path(__file__).parent
        asked = {"cwd": home, "capture_output": True, "text": True, "check": True, "timeout": 10}
        # Fails unless this very file is tracked: a package installed inside another repository does not have its commit.
        subprocess.run(["git", "ls-files", "--error-unmatch", Path(__file__).name], **asked)  # type: ignore[call-overload]
        commit = subprocess.run(["git", "rev-parse", "HEAD"], **asked).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(  # type: ignore[call-overload]
            ["git", "status", "--porcelain", "--", ":/harness", ":/variants"], **asked
        ).stdout.strip()
        return {"commit": commit, "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor()}, {os.cpu_count()} cores"
