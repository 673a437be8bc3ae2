"""What all tests share: one thread, the registry filled, and the laws importable by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and numpy: several threads on shared cores crawl

import torch

import variants  # noqa: F401

torch.set_num_threads(1)
for folder in ("laws", "parts"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
