"""A model whose source has several fields is asked like any other, by texts with a tab between their fields."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.core.spec import SpecError, override, read
from harness.storage.store import Store
from harness.study.bases import read_base
from harness.trial.pipeline import Corridor, Trial, TrialChoice
from harness.workflows.mlflow_model import TextModel
from harness.workflows.try_model import TrainedModel, draw_attention, try_model

ROOT = Path(__file__).resolve().parents[3]
FIELDS = {"lemma": "characters", "tags": {"kind": "words", "separators": ";"}}
CHANGES: dict[str, Any] = {
    "data.source": {"kind": "fields", "fields": FIELDS},
    "data.target": "characters",
    "model.encoder.cell.hidden": 6,
    "model.decoder.cell.hidden": 6,
    "training.updates": 4,
    "training.evaluate_every": 2,
    "decoding.limit": 6,
}


def trained(folder: Path, **changes: Any) -> tuple[Store, str]:
    """Train a small model on lemmas with tags, and return the store and the digest of the trial."""
    draw = random.Random(1)
    words = ["".join(draw.choices("kuzaeo", k=4)) for _ in range(60)]
    rows = [f"{word}\t{word}{end}\t{tag}\n" for word in words for end, tag in (("da", "N;LOC"), ("", "N;NOM"))]
    (folder / "rows.tsv").write_text("".join(rows), encoding="utf-8")
    dataset = {"kind": "files", "train": "rows.tsv", "source": {"lemma": 0, "tags": 2}, "reference": 1}
    plain = read_base(ROOT / "studies/bases/g2p.yaml").plain
    choice = read(TrialChoice, override(TrialChoice, plain, CHANGES | {"data.dataset": dataset} | changes))
    store = Store(folder / "runs")
    trial = Trial(choice, 1, choice.data.dataset.build(folders=(folder,)).revision())
    for _ in Corridor(store, (folder,), "cpu").run(trial, lambda _: None):
        pass
    return store, trial.digest


@pytest.mark.parametrize("copies", [False, True])
def test_texts_with_fields_are_answered(tmp_path: Path, copies: bool) -> None:
    output: Any = "pointer_generator" if copies else "linear"
    store, digest = trained(tmp_path, **({"model.output": output} if copies else {}))
    texts = ["kuzu\tN;LOC", "kxzu\tN;PL"]
    first, second = try_model(store, digest, texts, attention=True, count=2)
    assert first["unknown"] == [] and second["unknown"] == ["x", "PL"]
    assert first["attention"]["source"] == ["k", "u", "z", "u", "tags:N", "tags:LOC", "<eos>"]
    assert len(first["n_best"]) == 2
    assert draw_attention([first], tmp_path / "drawn")

    model = TrainedModel(store, digest)
    assert model.fields == ("lemma", "tags")
    wanted = [first["hypothesis"], second["hypothesis"]]
    table = pd.DataFrame({"tags": ["N;LOC", "N;PL"], "lemma": ["kuzu", "kxzu"]})
    assert TextModel(model).predict(table) == wanted
    assert TextModel(model).predict(pd.DataFrame({"text": texts})) == TextModel(model).predict(texts) == wanted


@pytest.mark.parametrize(("wrong", "has"), [("kuzu", "1 field"), ("a\tb\tc", "3 fields")])
def test_texts_with_other_fields_are_refused_with_how_to_type_them(tmp_path: Path, wrong: str, has: str) -> None:
    model = TrainedModel(*trained(tmp_path))
    for asked in (
        lambda: model.translate([wrong]), lambda: model.score([wrong], ["a"]), lambda: model.unknown(wrong),
        lambda: model.attention(wrong), lambda: model.n_best(wrong, 2), lambda: TextModel(model).predict([wrong]),
    ):  # fmt: skip
        with pytest.raises(SpecError) as caught:
            asked()
        assert f"has {has}, and the model reads 2: lemma, tags" in str(caught.value)
        assert r"with a tab between, in bash as $'lemma\ttags'" in str(caught.value)
