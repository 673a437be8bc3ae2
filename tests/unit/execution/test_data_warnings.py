"""What a reader of scores must know of the data: of the training, of the main test, and of every further test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import variants  # noqa: F401
from harness.execution import runner
from harness.execution.data_warnings import data_warnings
from harness.storage.store import Store
from harness.study import planning
from harness.trial.pipeline import Corridor

ROOT = Path(__file__).resolve().parents[3]


def warned(
    folder: Path, sets: dict[str, Any], *, trained: bool = False, quoting: bool = True, **study: Any
) -> list[str]:
    """Prepare the data of a study, train its first trial where that is asked, and return its warnings."""
    splits = {name: f"{name}.tsv" for name in ("train", "validation", "test")}
    plain = {"question": "?", "expectation": "?", "base": str(ROOT / "studies/bases/files.yaml"), "seeds": 1} | study
    dataset = {f"data.dataset.{name}": path for name, path in splits.items()}
    plain["set"] = dataset | {"data.source": {"kind": "words", "lowercase": True}} | sets
    (folder / "s.yaml").write_text(json.dumps(plain), encoding="utf-8")
    plan = planning.resolve(planning.load(str(folder / "s.yaml")))
    store = Store(folder / "runs")
    runner.prepare_data(plan, store, lambda _: None)
    if trained:
        list(Corridor(store, plan.folders, "cpu").run(plan.trial(plan.variants[0], 1), lambda _: None, ("train",)))
    return data_warnings(plan, store, quoting=quoting)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in {
        "train": [(f"word {n}", f"Wort {n % 9}") for n in range(40)],
        "validation": [(f"v{n} v", "Wort 1") for n in range(3)],
        "test": [(f"t{n} t t", "Wort 1") for n in range(4)] + [("", "")],
        "gen": [("WORD 1", "wo\u0308rt"), ("WORD 2", "Wort 2"), ("", "Wort 3")],
    }.items():
        (tmp_path / f"{name}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in rows), encoding="utf-8")
    return tmp_path


def test_each_test_set_is_looked_at_and_rows_left_out_are_counted_by_split(folder: Path) -> None:
    gen = {"kind": "files", "test": "gen.tsv", "skip_empty": True}
    found = warned(folder, {"data.dataset.skip_empty": True, "data.tests": {"gen": gen}})
    assert found[0] == "rows left out: empty rows in test: 1"
    assert found[1] == "test set gen: rows left out: empty rows in test: 1"
    assert found[2].startswith("test set gen: all 2 test sources are in train, as the model sees them")
    assert found[3] == (
        "test set gen: the references of 1 test row hold tokens that the vocabulary did not learn from training (w, \u0308): no "
        "model can reach more than 50 % exact match without copying"
    )
    assert len(found) == 4
    quiet = warned(folder, {"data.dataset.skip_empty": True, "data.tests": {"gen": gen}}, quoting=False)
    assert quiet == [*found[:3], found[3].replace(" (w, \u0308)", "")]


def test_warnings_that_quote_nothing_say_the_same_of_a_tokenizer_that_changes_texts(folder: Path) -> None:
    lowering = {"data.target": {"kind": "characters", "lowercase": True}, "data.dataset.skip_empty": True}
    found, quiet = (warned(folder, lowering, quoting=quoting) for quoting in (True, False))
    (told,) = [text for text in found if "comes back" in text]
    assert told.replace(": 'Wort 1' comes back as 'wort 1'", "") in quiet and len(found) == len(quiet)
    assert "Wort" not in " ".join(quiet)


def test_what_some_variants_alone_have_names_them(folder: Path) -> None:
    (folder / "test.tsv").write_text("WORD 1\tWort 1\n", encoding="utf-8")
    (folder / "fresh.tsv").write_text("t t t\tWort 1\n", encoding="utf-8")
    (found,) = warned(folder, {}, cases={"seen": {}, "fresh": {"data.dataset.test": "fresh.tsv"}})
    assert found.startswith("all 1 test sources are in train") and found.endswith("(variants: seen)")


def test_the_share_of_words_that_have_vectors_from_a_file_is_said_once_the_model_is_trained(folder: Path) -> None:
    (folder / "vectors.txt").write_text("word 1 2 3\n1 4 5 6\n", encoding="utf-8")
    embeddings = {"kind": "pretrained", "width": 3, "source_vectors": "vectors.txt", "frozen": True}
    small = {"training.updates": 2, "training.evaluate_every": 2, "data.dataset.skip_empty": True}
    sets = small | {"model.embeddings": embeddings, "data.source.kind": "words"}
    assert not any("vectors.txt" in text for text in warned(folder, sets))
    assert warned(folder, sets, trained=True)[-1] == (
        "the vectors of vectors.txt cover 2 of 41 source words (4.88 % of the vocabulary); the others start at random"
    )
