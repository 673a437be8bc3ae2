"""Named random streams, all drawn from the one seed of a trial.

Each purpose has its own stream, so that a variant which draws more of one kind (dropout, say) leaves the others as they
were: competing variants see the same batches in the same order.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Stream = Literal["init", "order", "dropout", "teacher_forcing", "objective", "samples", "corruption"]


def stream_seed(seed: int, stream: Stream) -> int:
    """Return the 63-bit seed of one stream: the first bits of ``sha256("<seed>/<stream>")``."""
    return _number(f"{seed}/{stream}")


def member_seed(seed: int, member: int) -> int:
    """Return the seed of a member of an ensemble, counted from 0; the first has the trial's own.

    Ensembles of different seeds have no member in common, so that their scores are independent.
    """
    return _number(f"{seed}/member/{member}") if member else seed


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
