"""What training costs whatever the machine: floating-point operations per target token, counted and not estimated."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from harness.contracts import BOS, EOS, UNK, Batch, Objective, Streams, TeacherForcing
from harness.core import fast_paths
from harness.trial.model import Seq2Seq
from harness.trial.pairs import Pairs


def training_flops(model: Seq2Seq, objective: Objective, forcing: TeacherForcing, pairs: Pairs, update: int) -> float:
    """Return the operations of one training step per target token (EOS counted), forward and backward.

    Counted are matrix products (a product of n x k and k x m is 2nkm operations) of one sentence pair of mean lengths, so
    that padding costs nothing and numbers compare between batch sizes; element-wise work and the optimizer are left out,
    as is usual (Kaplan et al. 2020, section 2.1). Model and objective are moved to the CPU, and their gradients
    are lost.

    Args:
        model: the model; its values do not matter.
        objective: what is minimized, with all the passes that it makes.
        forcing: whether the decoder walks, and says words of its own on the way.
        pairs: of the training split, for their mean lengths.
        update: at which update; teacher forcing may change with it.
    """
    batch = _typical(pairs)
    rows, steps = batch.inputs_BT.shape
    gold_BT = forcing.gold(update, rows, steps, torch.Generator())
    model, objective = model.cpu().eval(), objective.cpu().eval()
    streams = Streams(gold_BT, forcing.cfg.replace, torch.Generator(), torch.Generator())
    # Fused kernels hide their products from the counter; without oneDNN, and with attention by its formula, torch takes
    # them apart. Fast paths may compute something twice to spare memory.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a GPU that nobody asked for
        plainly = torch.backends.mkldnn.flags(enabled=False)
        with fast_paths.off(), plainly, sdpa_kernel(SDPBackend.MATH), Counter() as counter:
            objective(model, batch, streams, update).value.backward()
    _forget(model)
    _forget(objective)
    return float(counter.total) / steps


class Counter(TorchDispatchMode):
    """Adds up torch's own formulas for the operations that reach the device.

    ``FlopCounterMode`` itself fails where a model says words without gradients in the middle of a step: it hooks modules.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=made)
        return made


# torch wraps the method of a mode so that its compiler, a second to load, skips it; nothing is compiled here.
Counter.__torch_dispatch__ = inspect.unwrap(Counter.__torch_dispatch__)  # type: ignore[method-assign]


def _typical(pairs: Pairs) -> Batch:
    """Return a batch of one pair, as long on both sides as the mean, of words that mean nothing."""
    source, target = (round(float(lengths.double().mean())) for lengths in (pairs.source_lengths, pairs.target_lengths))
    words_1S, words_1T = (torch.tensor([[UNK] * length + [EOS]]) for length in (source, target))
    inputs_1T = torch.cat([torch.full((1, 1), BOS), words_1T[:, :-1]], 1)
    return Batch(words_1S, inputs_1T, words_1T)


def _forget(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.grad = None
