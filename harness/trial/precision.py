"""The precision of a search, and what a rounded search found differently on a sample of the same sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from harness.trial.decoded import Hypothesis

Precision = Literal["fp32", "bf16"]
SAMPLE = 256
"""Sentences at most that are searched in fp32 too, to see what rounding changes."""

_LOGARITHMS = {
    torch.softmax, torch.Tensor.softmax, F.softmax, torch.log_softmax, torch.Tensor.log_softmax, F.log_softmax,
    torch.logsumexp, torch.Tensor.logsumexp, F.logsigmoid,
}  # fmt: skip


@contextmanager
def searching(precision: Precision, device: torch.device) -> Iterator[None]:
    """Search in a precision: with ``bf16`` a model's products are rounded to bfloat16, its softmax and what follows are not."""
    if precision == "fp32":
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16), _WideLogarithms():
        yield


class _WideLogarithms(TorchFunctionMode):
    """Computes softmax and logarithms in single precision: torch does so by itself on a GPU, not on a CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LOGARITHMS and args[0].dtype == torch.bfloat16:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def sampled(sentences: int) -> list[int]:
    """Return the rows of the sample, spread evenly over the sentences."""
    count = min(SAMPLE, sentences)
    return [place * sentences // count for place in range(count)]


def differences(found: Sequence[Hypothesis], exact: Mapping[int, Hypothesis]) -> dict[str, Any]:
    """Return facts about a rounded search, given what fp32 finds for some rows."""
    pairs = [(found[row], hypothesis) for row, hypothesis in exact.items()]
    apart = [abs(one.score - other.score) for one, other in pairs]
    return {
        "sentences": len(pairs),
        "differ": sum((one.tokens, one.truncated) != (other.tokens, other.truncated) for one, other in pairs),
        "score_difference": sum(apart) / len(apart),
    }
