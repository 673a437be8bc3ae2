"""The surprisal of hypotheses: by hand, and as the entropy of a model from which they are drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from harness.contracts import BOS, EOS, UNK, Scored, sayable
from unit.variants.test_metrics import score
from unit.variants.test_searches import tiny
from unit.variants.test_searches_sampling import DRAWS, SOURCE_1S, search
from variants.metrics_diversity import Surprisal


def surprisal(scores: list[float]) -> float:
    known = [["x"]] * len(scores)
    return score("surprisal", ["y"] * len(scores), known, model_scores=scores)


def test_surprisal_by_hand() -> None:
    # One answer of probability 1/2, one of 1/8: (log 2 + log 8) / 2 = 2 log 2.
    assert surprisal([float(np.log(1 / 2)), float(np.log(1 / 8))]) == pytest.approx(2 * np.log(2))
    assert Surprisal(Surprisal.Config()).statistics(Scored(["y"], [["x"]])) is None, "texts alone do not tell"


@torch.no_grad()
def test_surprisal_of_samples_is_the_entropy_of_the_model_and_other_searches_have_less() -> None:
    model, entropy = tiny(3), 0.0
    for way in itertools.product((EOS, UNK, 4), repeat=3):
        if EOS in way[:-1] and set(way[way.index(EOS) :]) != {EOS}:
            continue  # each hypothesis once
        said = way[: way.index(EOS) + 1] if EOS in way else way
        logp_TV = sayable(model.output.logp(model(SOURCE_1S, torch.tensor([[BOS, *said[:-1]]])), SOURCE_1S)[0])
        odds, logs = (part[range(len(said)), list(said)] for part in (logp_TV.softmax(-1), logp_TV))
        entropy -= float(odds.prod() * logs.sum())
    found = {
        name: surprisal(search(**settings).draw(model, SOURCE_1S, 3, DRAWS).score_B.tolist())
        for name, settings in {"all": {}, "nucleus": {"nucleus": 0.6}, "best": {"top_k": 1}}.items()
    }
    assert found["all"] == pytest.approx(entropy, abs=0.06)
    assert found["best"] < found["nucleus"] < found["all"] - 0.2
