from __future__ import annotations

import pandas as pd
import pytest

from harness.study.labels import Labels
from unit.report.test_pages import CLAIMS, LEVELS, facts, page, synthetic, write

NAMES = {name: f"run {number}" for number, name in enumerate(LEVELS)}
SIDES = {f"{path}={value}": label for path in ("training.loss.mask", "mask") for value, label in
         (("true", "masked"), ("false", "unmasked"))}  # fmt: skip
LABELS = Labels(NAMES, NAMES | SIDES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    plain, labelled = (tmp_path_factory.mktemp(name) for name in ("plain", "labelled"))
    write(plain, facts(claims=CLAIMS[:1]), synthetic(seeds=3, sentences=60))
    write(labelled, facts(claims=CLAIMS[:1], labels=LABELS), synthetic(seeds=3, sentences=60))
    return plain, labelled


def test_readers_see_labels_and_machines_the_names_of_the_plan(folders):
    plain, labelled = folders
    for name in ("trials.csv", "comparisons.csv"):
        assert (plain / name).read_bytes() == (labelled / name).read_bytes()
    assert set(pd.read_csv(labelled / "tables/scores.csv")["variant"]) == set(NAMES.values())
    text = page(labelled)
    assert "masked scores" in text and "unmasked scores" in text and "| run 0 |" in text
    told, _, rest = text.partition("Names:")
    assert "mask=true, token" not in told and "| run 0 | mask=true, token |" in rest
    html = (labelled / "report.html").read_text(encoding="utf-8")
    assert "<small>masked minus unmasked</small>" in html
    assert "run 3" in (labelled / "figures/learning_curves.svg").read_text(encoding="utf-8")


def test_numbers_do_not_depend_on_labels(folders):
    plain, labelled = (pd.read_csv(folder / "tables/effects.csv") for folder in folders)
    pd.testing.assert_frame_equal(plain.drop(columns=["a", "b"]), labelled.drop(columns=["a", "b"]))
    assert "unmasked" in set(labelled["a"]) and "unmasked less masked, where normalize=padded" in set(labelled["a"])
