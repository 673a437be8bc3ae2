"""A study whose models are pretrained on other data, in files: planned, run, reported, and run again when they change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from system.homes import STUDY, Home, new_home, pages

pytestmark = pytest.mark.slow

TRAINING = {
    "training.pretraining.kind": "trained",
    "training.pretraining.keep": ["encoder"],
    "training.pretraining.dataset": {
        "kind": "files",
        "train": "other.tsv",
        "validation": "held.tsv",
        "test": "held.tsv",
    },
}


def write_other(folder: Path, *words: str) -> None:
    (folder / "other.tsv").write_text("".join(f"{word}\t1\n" for word in words), encoding="utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_other(tmp_path, "one", "two", "unheard", "of")
    (tmp_path / "held.tsv").write_text("one\t1\n", encoding="utf-8")
    earlier = {
        "training.pretraining.training": {
            "loss": {"kind": "cross_entropy", "mask": True, "normalize": "token"},
            "teacher_forcing": {"kind": "constant", "ratio": 1.0},
            "optimizer": {"kind": "adam", "lr": 0.001},
            "schedule": "constant",
            "initializer": "default",
            "batch_size": 4,
            "pool": 1,
            "updates": 3,
            "evaluate_every": 3,
        }
    }
    return new_home(tmp_path, set=STUDY["set"] | TRAINING | earlier, seeds=1, claims=[])


def kinds(home: Home) -> dict[str, int]:
    return {path.name: len(list(path.iterdir())) for path in (home.store / "stages").iterdir()}


def test_other_data_are_read_once_described_in_the_report_and_followed_when_they_change(home: Home) -> None:
    study = str(home.folder / "small.yaml")
    assert "lacks 50 % of the source tokens of the pretraining data" in home.s2s("plan", study)
    assert kinds(home) == {"prepare": 1, "pretraining_data": 1}
    home.s2s("run", study, "--jobs", "1")
    assert kinds(home) == {
        "prepare": 1, "pretraining_data": 1, "pretrain": 1, "train": 2, "decode": 2, "score": 2
    }  # fmt: skip
    page = pages(home.results)
    assert "pretraining data, sha256 of the rows" in page and "unknown tokens in the pretraining data" in page
    provenance = json.loads((home.results / "provenance.json").read_text(encoding="utf-8"))
    assert [facts["unknown"]["source"] for facts in provenance["pretraining_data"].values()] == [0.5]
    digest = next(path.parent.name for path in home.store.glob("stages/score/*/trial.json"))
    assert json.loads(home.s2s("try", digest, "one two", "--json")), "it is found again by its digest"
    write_other(home.folder, "one", "two", "three")
    refused = home.tried("run", study, "--jobs", "1")
    assert refused.returncode == 2 and "the study changed" in refused.stderr
    home.s2s("run", study, "--jobs", "1", "--replan")
    assert kinds(home) == {
        "prepare": 1, "pretraining_data": 2, "pretrain": 2, "train": 4, "decode": 4, "score": 4
    }  # fmt: skip
    trial = json.loads(next(home.store.glob("stages/score/*/trial.json")).read_text(encoding="utf-8"))
    assert len(trial["other_revision"]) == 64
