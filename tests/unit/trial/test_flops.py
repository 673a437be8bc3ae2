"""Counted operations against formulas."""

from __future__ import annotations

from typing import Any

import choices
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.contracts import Objective, TeacherForcing
from harness.trial.flops import training_flops
from harness.trial.pairs import Pairs

E, H, V = 5, 6, 13
PAIRS = Pairs.of([[4] * 5, [5] * 7], [[6] * 3, [7] * 5])
S, T = 7, 5  # mean lengths, and EOS
LOSS = Objective.kinds["cross_entropy"].Config(mask=True, normalize="token").build(model=None)
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def model(cell: str, context: Any) -> Any:
    made = {"kind": cell, "hidden": H, "layers": 1, "dropout": 0.0}
    return choices.build(
        {
            "embeddings": {"kind": "separate", "width": E},
            "encoder": {"kind": "rnn", "cell": made, "bidirectional": False, "reverse": False, "pack": True},
            "decoder": {
                "kind": "rnn",
                "cell": made,
                "bridge": {"kind": "copy"},
                "context": context,
                "feed": False,
                "readout": "direct",
                "dropout": 0.0,
            },
            "output": {"kind": "linear"},
        }
    ).float()


def counted(cell: str, context: Any, ratio: float = 1.0, built: Any = None) -> float:
    forcing = TeacherForcing.kinds["constant"].Config(ratio=ratio).build()
    return T * training_flops(built or model(cell, context), LOSS, forcing, PAIRS, 0)


@pytest.mark.parametrize("cell", GATES)
def test_matrix_products_of_a_plain_model(cell: str) -> None:
    """A product forward is 2nkm, and as much again for each factor that needs a gradient."""
    rows = GATES[cell] * H
    encoder = 3 * 2 * S * E * rows + (3 * S - 1) * 2 * H * rows  # the first state is zero and learns nothing
    decoder = 3 * 2 * T * (E + H) * rows
    assert counted(cell, {"kind": "none"}) == encoder + decoder + 3 * 2 * T * H * V


def test_attention_adds_its_products() -> None:
    attention = {"kind": "attention", "score": {"kind": "dot"}, "mask": True, "place": "readout", "merge": "concat"}
    scores_and_means = 2 * 3 * 2 * T * S * H
    wider_output = 3 * 2 * T * H * V
    assert counted("gru", attention) - counted("gru", {"kind": "none"}) == scores_and_means + wider_output


def test_fused_attention_does_not_hide_its_products() -> None:
    """One layer a side, D = 6: projections, scores and means of three attentions, and two feed-forward networks."""
    layers = {"kind": "transformer", "positions": "none", "width": 6, "heads": 3, "layers": 1, "inner": 9}
    plain = {"embeddings": {"kind": "separate", "width": 6}, "encoder": layers, "decoder": layers, "output": "linear"}
    projections = 4 * S * 36 + 4 * T * 36 + (2 * T + 2 * S) * 36
    attention = 2 * 6 * (S * S + T * T + T * S)
    networks = 2 * 6 * 9 * (S + T)
    assert counted("", None, built=choices.build(plain).float()) == 3 * 2 * (
        projections + attention + networks + T * 6 * V
    )


def test_walking_says_its_own_words_at_the_cost_of_the_output() -> None:
    # Step by step, the first step's word aside, nothing else changes.
    own_words = 2 * T * H * V
    assert counted("gru", {"kind": "none"}, ratio=0.5) - counted("gru", {"kind": "none"}) == own_words


def test_torch_counts_as_much() -> None:
    built = model("gru", {"kind": "mean", "place": "both", "merge": "add"}).train()
    source, inputs, targets = torch.full((1, S), 4), torch.full((1, T), 4), torch.full((1, T), 4)
    with FlopCounterMode(display=False) as counter:
        state, seen = built.read(source)
        built.output.nll(built.follow(state, seen, inputs), seen, targets).sum().backward()
    assert counted("gru", None, built=built) == counter.get_total_flops()


def test_counting_leaves_no_trace() -> None:
    built = model("lstm", {"kind": "none"})
    before, state = {name: p.clone() for name, p in built.named_parameters()}, torch.get_rng_state()
    counted("lstm", None, built=built)
    assert torch.backends.mkldnn.enabled
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in built.named_parameters())
