"""A few numbers through the model of a variant whose parts come from plugins, so that a wrong shape is found before a run."""

from __future__ import annotations

import torch

from harness.contracts import BOS, PAD, Words
from harness.core import plugins
from harness.core.spec import Incompatible, SpecError
from harness.trial.ensemble import joined
from harness.trial.pipeline import TrialChoice
from harness.trial.train import build
from harness.trial.trial_choice import modules

WORDS = 20
"""Of the vocabularies that are made up."""


def check_plugins(choice: TrialChoice) -> None:
    """Build the model of a trial, hear two targets and search for two more, if one of its parts comes from a plugin.

    Raises:
        SpecError: that failed, with file and line of the plugin.
        Incompatible: two parts cannot meet.
    """
    used = sorted(plugins.LOADED.keys() & modules(choice))
    if not used:
        return
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            _compute(choice)
    except (Incompatible, SpecError):
        raise
    except Exception as error:
        place = plugins.place_of(error) or plugins.LOADED[used[0]].said
        raise SpecError(f"a model with this part cannot be computed; {plugins.reason(error)}", place=place) from None


def _compute(choice: TrialChoice) -> None:
    words = Words(WORDS, WORDS, choice.data.joint)
    one = build(choice.model, choice.training, words, seed=1)
    model = joined([one] * choice.training.members).eval()
    source_BS, inputs_BT = torch.tensor([[4, 5, 6], [7, 8, PAD]]), torch.tensor([[BOS, 4], [BOS, 5]])
    features = model(source_BS, inputs_BT).features_BTR
    if features.shape[:2] != inputs_BT.shape:
        raise ValueError(f"two targets of two words give readouts of shape {tuple(features.shape)}")
    search = choice.decoding.search.build()
    search.prepare(lambda texts: [[WORDS - 1] for _ in texts])
    search.find(model, source_BS, 3)
    choice.training.schedule.build().factor(0, 10)
    choice.training.teacher_forcing.build().ratio(0)
