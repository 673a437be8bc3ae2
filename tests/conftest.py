"""What all tests share: one thread, the registry filled, and the laws importable by name."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import variants  # noqa: F401

torch.set_num_threads(1)
for folder in ("laws", "parts"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
