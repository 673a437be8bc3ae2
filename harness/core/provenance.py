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


KIND = {"cpu family": "family", "model": "model"}
"""Numbers of the kernel that tell generations of a processor apart."""


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
    """Return name, family and model of the processor, and its cores: a virtual machine may hide which one "AMD EPYC" is."""
    facts = _described()
    numbers = ", ".join(f"{said} {facts[name]}" for name, said in KIND.items() if name in facts)
    name = facts.get("model name") or platform.processor()
    return f"{name} ({numbers}), {os.cpu_count()} cores" if numbers else f"{name}, {os.cpu_count()} cores"


def _described() -> dict[str, str]:
    """Return what the kernel says of the first core; empty where there is no such file."""
    try:
        first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")
    except OSError:
        return {}
    lines = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
