"""A sealed test split in the corridor: the same training, decoded and scored on the validation split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.storage.store import Store
from harness.trial.data_checks import warnings
from harness.trial.encoded import TEST
from harness.trial.pipeline import Corridor, Trial, restore
from harness.trial.sealed import VALIDATION, is_exhaustive
from harness.workflows.try_model import TrainedModel
from unit.trial.test_pipeline import gen, of_files, trial  # noqa: F401 (a fixture)


def test_only_decoding_and_scoring_differ_and_further_sets_are_sealed_too(gen: Path) -> None:  # noqa: F811
    opened = of_files(gen, gen={})
    closed = replace(opened, split=VALIDATION)
    assert list(closed.stages) == ["prepare", "train", "decode", "score"]
    changed = {name for name, stage in closed.stages.items() if stage.key != opened.stages[name].key}
    assert changed == {"decode", "score"}
    assert closed.unsealed == opened and closed.unsealed.digest == opened.digest != closed.digest
    assert Trial.of(json.loads(json.dumps(closed.plain))) == closed and "split" not in opened.plain
    assert closed.alone.split == VALIDATION


def test_the_validation_split_is_decoded_and_scored_and_the_test_is_out_of_reach(tmp_path: Path) -> None:
    store, closed = Store(tmp_path / "runs"), replace(trial(), split=VALIDATION)
    corridor = Corridor(store, (), "cpu")
    facts = {name: record.facts for name, record, _ in corridor.run(closed, lambda _: None)}
    seen = corridor.tested(closed)
    assert TEST not in seen.pairs and TEST not in seen.texts
    assert [row["source"] for row in seen.test(None).rows] == [row["source"] for row in seen.texts[VALIDATION]]
    with pytest.raises(ValueError, match="sealed"):
        seen.test(tmp_path)
    assert TEST in corridor.prepared(closed).pairs, "data that others share are whole"
    assert restore(store, closed.digest) == closed
    assert TrainedModel(store, closed.digest).translate(["one"])
    ran = {name: found for name, _, found in corridor.run(closed.unsealed, lambda _: None)}
    assert ran == {"prepare": True, "train": True, "decode": False, "score": False}
    told = {split: warnings(facts["prepare"], lowercased=False, split=split) for split in (TEST, VALIDATION)}
    for split, texts in told.items():
        assert all(split in text for text in texts if " are in train" in text)


def test_a_validation_split_is_a_sample_whatever_the_test_is() -> None:
    assert is_exhaustive({"exhaustive": True}, TEST)
    assert not is_exhaustive({"exhaustive": True}, VALIDATION) and not is_exhaustive({"exhaustive": False}, TEST)
