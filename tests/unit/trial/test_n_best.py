"""The n best hypotheses against every hypothesis that there is."""

from __future__ import annotations

import itertools

import pytest
import torch

from harness.contracts import BOS, EOS, Words, sayable
from harness.core.spec import read
from harness.study.bases import read_base
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.n_best import n_best
from unit.study.test_planning import ROOT

LIMIT = 3


@pytest.fixture(scope="module")
def model() -> Seq2Seq:
    torch.manual_seed(1)
    plain = read_base(ROOT / "studies/bases/numbers.yaml").plain["model"]
    made = Seq2Seq(read(ModelChoice, plain), Words(7, 7)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3.0)  # far from uniform, so that no two hypotheses are alike
    return made


def scored(model: Seq2Seq, source_1S: torch.Tensor, tokens: list[int]) -> float:
    """Return the log-probability of some tokens, a word at a time."""
    with torch.no_grad():
        state, source = model.read(source_1S)
        total, heard = 0.0, BOS
        for token in tokens:
            readout, state = model.advance(torch.tensor([[heard]]), state, source)
            total += float(sayable(model.next_logp(readout, source))[0, token])
            heard = token
    return total


def test_a_beam_as_wide_as_the_tree_finds_the_best_of_all(model: Seq2Seq) -> None:
    source_1S = torch.tensor([[4, 5, 6, EOS]])
    words = [3, 4, 5, 6]  # all that can be said but EOS
    every = [[*said, EOS] for n in range(LIMIT) for said in itertools.product(words, repeat=n)]
    best = sorted(every, key=lambda tokens: -scored(model, source_1S, tokens))
    found = n_best(model, source_1S, count=21, limit=LIMIT)
    ended = [candidate for candidate in found if not candidate.truncated]
    assert [[*candidate.tokens, EOS] for candidate in ended] == best[: len(ended)] and len(ended) == 21 == len(every)
    assert [c.score for c in ended] == pytest.approx([scored(model, source_1S, t) for t in best], abs=1e-4)


def test_what_the_limit_cuts_is_said_to_be_cut(model: Seq2Seq) -> None:
    found = n_best(model, torch.tensor([[4, EOS]]), count=2, limit=1)
    assert [candidate.truncated for candidate in found] == [False, True] and found[0].tokens == []
