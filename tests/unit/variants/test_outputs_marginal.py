"""Hard attention, summed exactly: against every alignment of a target written out, and against sampling."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from harness.contracts import BOS, Embeddings, Memory, Output, Readout, Source, Words
from harness.core.spec import Incompatible, read
from harness.trial.model import ModelChoice, Seq2Seq


def made(readout: int = 3, memory: int = 5, words: int = 6) -> Any:
    torch.manual_seed(0)
    embeddings = Embeddings.kinds["separate"].Config(width=5).build(words=Words(9, words))
    output = Output.kinds["marginal"].Config(width=4).build(readout=readout, embeddings=embeddings)
    output.meet(memory)
    return output.double()


def test_marginal_by_its_formula() -> None:
    output = made()
    said = Readout(torch.randn(2, 4, 3).double(), torch.randn(2, 4, 7).double().softmax(-1))
    values_BSM, mask_BS = torch.randn(2, 7, 5).double(), torch.ones(2, 7, dtype=torch.bool)
    source = Source(Memory(values_BSM, mask_BS, ()), ())
    got = output.logp(said, source).exp().detach().numpy()
    p, q, w = output.state, output.place.weight, output.project
    for row, step in itertools.product(range(2), range(4)):
        want = np.zeros(6)
        for s in range(7):
            joined = torch.tanh(p.weight @ said.features_BTR[row, step] + p.bias + q @ values_BSM[row, s])
            chance = (w.weight @ joined + w.bias).softmax(0).detach().numpy()
            want += said.weights_BTS[row, step, s].item() * chance
        np.testing.assert_allclose(got[row, step], want, atol=1e-12)
        assert got[row, step].sum() == pytest.approx(1)


def model(context: Any, output: str = "marginal") -> Seq2Seq:
    torch.manual_seed(1)
    cell = {"kind": "gru", "hidden": 6}
    plain = {
        "embeddings": {"kind": "separate", "width": 5},
        "encoder": {"kind": "rnn", "cell": cell, "bidirectional": True, "reverse": False, "pack": True},
        "decoder": {"kind": "rnn", "cell": cell, "bridge": "zero", "context": context},
        "output": output,
    }
    return Seq2Seq(read(ModelChoice, plain), Words(8, 8)).double().eval()


def test_a_target_is_as_probable_as_all_its_alignments_together() -> None:
    hard = model({"kind": "alignment", "score": "general"})
    source_BS, target = torch.tensor([[4, 5, 6, 2]]), [5, 7, 2]
    _, source = hard.read(source_BS)
    readout = hard(source_BS, torch.tensor([[BOS, *target[:-1]]]))
    output: Any = hard.output
    joined_TSA = torch.tanh(output.state(readout.features_BTR[0]).unsqueeze(1) + output.place(source.memory.values_BSM))
    chance_TSV = output.project(joined_TSA).softmax(-1)
    total = 0.0
    for way in itertools.product(range(4), repeat=3):  # one source position for each word of the target
        steps = [readout.weights_BTS[0, t, s] * chance_TSV[t, s, target[t]] for t, s in enumerate(way)]
        total += float(torch.stack(steps).prod().detach())
    nll = output.nll(readout, source, torch.tensor([target])).sum()
    assert float(nll.detach()) == pytest.approx(-np.log(total), abs=1e-9)
    assert (readout.features_BTR.shape[-1], hard.hears_source) == (6, True), "the decoder's state alone"


def test_weights_for_the_output_alone_need_one_that_uses_them() -> None:
    with pytest.raises(Incompatible, match="weighs the source for the output alone"):
        model({"kind": "alignment", "score": "general"}, "linear")
    with pytest.raises(Incompatible, match="sums over alignments needs attention weights"):
        model("none")
