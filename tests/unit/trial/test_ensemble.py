"""An ensemble in the corridor: trained, decoded and scored as one trial, and asked like one model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from harness.cli import listing
from harness.core.spec import override, read
from harness.storage.store import Store
from harness.study.bases import read_base
from harness.trial.decoded import load
from harness.trial.encoded import words_of
from harness.trial.pipeline import Corridor, Trial, TrialChoice
from harness.trial.train import count_parameters
from harness.workflows.try_model import TrainedModel

ROOT = Path(__file__).resolve().parents[3]
ATTENTION = {"kind": "attention", "score": "general", "mask": True, "place": "readout", "merge": "concat"}
SMALL: dict[str, Any] = {
    "data.dataset.train": 60,
    "data.dataset.validation": 10,
    "data.dataset.test": 10,
    "data.dataset.digits": 2,
    "model.encoder.cell.hidden": 6,
    "model.decoder.cell.hidden": 6,
    "model.decoder.context": ATTENTION,
    "training.updates": 6,
    "training.evaluate_every": 3,
    "training.members": 2,
}


def trial(**changes: Any) -> Trial:
    plain = read_base(ROOT / "studies/bases/numbers.yaml").plain
    return Trial(read(TrialChoice, override(TrialChoice, plain, SMALL | changes)), 1, "")


def test_one_trial_from_rows_to_scores(tmp_path: Path) -> None:
    store, both = Store(tmp_path), trial()
    records = {name: record for name, record, _ in Corridor(store, (), "cpu").run(both, lambda _: None)}
    assert list(records) == ["prepare", "train", "decode", "score"]
    trained, c = records["train"].facts, both.choice
    words = words_of(records["prepare"].facts)
    assert trained["params"] == count_parameters(c.model, words, 2) == 2 * count_parameters(c.model, words)
    assert trained["updates"] == 12 and len(trained["members"]) == 2

    model = TrainedModel(store, both.digest)
    found, nll, _ = load(records["decode"].folder)
    rows = Corridor(store, (), "cpu").tested(both).test(None).rows
    texts, references = [row["source"] for row in rows], [row["references"][0] for row in rows]
    again = model.translate(texts)
    assert [h.text for h in again] == [h.text for h in found]
    assert [h.score for h in again] == pytest.approx([h.score for h in found], rel=1e-5)
    assert model.score(texts, references) == pytest.approx((-nll["nll"][:, 0]).tolist(), rel=1e-5)
    looked = model.attention(texts[0])
    assert looked is not None and all(sum(row) == pytest.approx(1.0, abs=1e-5) for row in looked.weights)
    scores = [candidate.score for _, candidate in model.n_best(texts[0], 3)]
    assert scores == sorted(scores, reverse=True)

    single = trial(**{"training.members": 1})
    records = {name: record for name, record, _ in Corridor(store, (), "cpu").run(single, lambda _: None)}
    own = TrainedModel(store, single.digest)
    assert single.digest != both.digest and own.score(texts, references) != model.score(texts, references)
    assert trained["members"][0]["best_dev_nll"] == records["train"].facts["best_dev_nll"], (
        "the first has the trial's seed"
    )


def test_the_page_of_an_ensemble_counts_all_members() -> None:
    one, four = (listing.page("numbers", None, [f"training.members={n}"])["parameters"] for n in (1, 4))
    assert four["members"] == 4 and four["total"] == 4 * one["total"] and "members" not in one
    assert all(four[part] == one[part] for part in ("embeddings", "encoder", "decoder", "output"))


def test_a_hypothesis_of_an_ensemble_has_the_mean_of_the_probabilities(tmp_path: Path) -> None:
    """By hand, from the members' own scores of a target of one word: its EOS alone."""
    store, both = Store(tmp_path), trial()
    list(Corridor(store, (), "cpu").run(both, lambda _: None, ("prepare", "train")))
    model = Corridor(store, (), "cpu").model(both)
    list(Corridor(store, (), "cpu").run(both, lambda _: None))
    asked = TrainedModel(store, both.digest)
    each = []
    for member in model.members:  # type: ignore[union-attr]
        asked._model = member  # type: ignore[assignment]
        each.append(asked.score(["one"], [""])[0])
    asked._model = model
    assert math.exp(asked.score(["one"], [""])[0]) == pytest.approx(sum(map(math.exp, each)) / 2, rel=1e-5)
