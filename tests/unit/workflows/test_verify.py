"""Which trials are done once more, what is said of them, and for how long it counts; the training itself is played."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.execution import failures, runner
from harness.execution.failures import Failure
from harness.execution.local_pool import Ended, Listen, Task
from harness.execution.runner import Settings
from harness.report import sentences
from harness.storage import garbage
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.trial.pipeline import Trial
from harness.workflows import verify
from unit.storage.test_store import rewrite

ROOT = Path(__file__).resolve().parents[3]
SMALL = {"data.dataset.train": 40, "data.dataset.validation": 10, "data.dataset.test": 10, "data.dataset.digits": 2}
CURVE = [{"update": u, "loss": 3.0 / u, "dev_nll": 4.0 / u} for u in (10, 20, 30)]


class Played:
    """Workers that write what a training would have written; ``changes`` by seed say what comes out otherwise."""

    capacity = 1

    def __init__(self, changes: dict[int, dict[str, Any]] | None = None) -> None:
        self.changes, self.asked = changes or {}, []

    def run(self, tasks: Iterable[Task], listen: Listen, timeout: float | None = None, **_: Any) -> Iterator[Ended]:
        for task in tasks:
            for name, plain in task.payload["trials"]:
                self.asked.append(name)
                trial = Trial.of(plain)
                status = write(Store(Path(task.payload["store"])), trial, self.changes.get(trial.seed, {}))
                listen(task.name, {"trial": name, **status, "passed": [], "made": []})
            yield Ended(task.name, "done")


def write(store: Store, trial: Trial, changes: dict[str, Any]) -> dict[str, Any]:
    """Put the results of a trial into a store, or say how it failed."""
    if "status" in changes:
        return {"status": changes["status"], "reason": changes.get("reason", "")}
    bleu, weights = changes.get("bleu", 30.0 + 2 * trial.seed), changes.get("weights", f"w{trial.seed}")
    line = {"text": changes.get("said", "x"), "tokens": [], "score": 0.0, "truncated": False}
    outputs = {
        "train": {"model.safetensors": weights, "curve.jsonl": "".join(json.dumps(p) + "\n" for p in CURVE)},
        "decode": {"hypotheses.jsonl": json.dumps(line) + "\n"},
        "score": {"scores.json": json.dumps({"bleu": bleu})},
    }
    for name, files in outputs.items():

        def produce(folder: Path, files: dict[str, str] = files) -> dict[str, Any]:
            for file, text in files.items():
                (folder / file).write_text(text, encoding="utf-8")
            return {"metrics": {"bleu": bleu}}

        made = {"processor": changes.get("processor", "one"), "threads": changes.get("threads", 1)}
        store.make(trial.stages[name], produce, made)
    return {"status": "ok"}


@pytest.fixture(scope="module")
def planned() -> Plan:
    said = {"training.updates": 30, "training.evaluate_every": 10, "model.encoder.cell.hidden": 4}
    path = str(ROOT / "studies/incremental-decoding.yaml")
    return planning.resolve(
        planning.load(path, base=str(ROOT / "studies/bases/numbers.yaml"), sets=SMALL | said, seeds=4)
    )


@pytest.fixture
def store(filled: Store, tmp_path: Path) -> Store:
    """A copy of that store."""
    shutil.copytree(filled.root, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def filled(planned: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which the first three seeds of both variants have finished, and the fourth diverged or failed."""
    store = Store(tmp_path_factory.mktemp("filled"))
    runner.prepare_data(planned, store, print)
    frozen_plan.freeze(planned, store)
    for variant, seed, trial in planned.trials():
        if seed < 4:
            write(store, trial, {})
        else:
            diverged = variant.name == planned.variants[0].name
            status = ("diverged", "loss is nan") if diverged else ("error", "OSError: no")
            failures.keep(store, trial, Failure(*status))
    return store


def done(planned: Plan, store: Store, workers: Played, sample: int | None = None) -> verify.Verified:
    part, chosen = verify.choose(planned, store, sample)
    return verify.verify(planned, part, chosen, store, Settings(workers), lambda _name, _event: None)


def test_all_that_came_to_an_end_is_done_once_more(planned: Plan, store: Store) -> None:
    same = {4: {"status": "diverged", "reason": "loss is nan"}}
    found = done(planned, store, Played(same))
    assert found.well and found.finished == 7
    assert [row.verdict for row in found.rows] == ["exact"] * 7
    assert [reason for _, reason in found.skipped] == ["error: OSError: no"]
    assert not (store.root / "verify").exists(), "nothing stays but the outcome"
    assert verify.summary(planned, store) | {"dates": []} == {
        "of": 7, "verdicts": {"exact": 7}, "other_kind": 0, "dates": [],
    }  # fmt: skip


def test_a_sample_is_drawn_by_a_hash_and_larger_ones_hold_smaller_ones(planned: Plan, store: Store) -> None:
    drawn = [verify.choose(planned, store, k)[0].only for k in (1, 3, 5, 99)]
    assert [len(only) for only in drawn] == [1, 3, 5, 7]
    assert all(few < more for few, more in pairwise(drawn))
    order = {only: hashlib.sha256(f"{planned.digest} {only}".encode()).hexdigest() for only in drawn[3]}
    assert max(order[name] for name in drawn[1]) < min(order[name] for name in drawn[3] - drawn[1])
    workers = Played({4: {"status": "diverged", "reason": "loss is nan"}})
    found = done(planned, store, workers, sample=3)
    assert len(workers.asked) == len(found.rows) == 3 and {row.trial for row in found.rows} == drawn[1]
    assert verify.summary(planned, store)["of"] == 7
    done(planned, store, workers, sample=5)
    assert verify.summary(planned, store)["verdicts"] == {"exact": 5}
    done(planned, store, Played({s: {"weights": "W", "said": "y", "bleu": 0} for s in (1, 2, 3, 4)}), sample=1)
    assert sum(verify.summary(planned, store)["verdicts"].values()) == 5, "what was known of others stays"


def test_each_verdict_with_what_explains_it(planned: Plan, store: Store) -> None:
    changes = {
        1: {"weights": "W", "threads": 2},
        2: {"weights": "W", "said": "y", "bleu": 33.9, "processor": "two"},
        3: {"weights": "W", "said": "y", "bleu": 1.0},
        4: {"status": "diverged", "reason": "loss is inf"},
    }
    found = done(planned, store, Played(changes))
    told = {(row.seed, row.verdict) for row in found.rows}
    assert told == {(1, "same hypotheses"), (2, "within tolerance"), (3, "different"), (4, "same hypotheses")}
    likeness = {row.seed: row.likeness for row in found.rows}
    assert likeness[1].explained == {"threads": [1, 2]} and likeness[2].explained == {"processor": ["one", "two"]}
    assert not found.well
    known = verify.summary(planned, store)
    assert known["verdicts"] == {"same hypotheses": 3, "within tolerance": 2, "different": 2}
    assert known["other_kind"] == 2


@pytest.mark.parametrize(
    ("changes", "verdict", "told"),
    [
        ({1: {"status": "diverged", "reason": "nan"}}, "different", "diverged: nan"),
        ({1: {"status": "error", "reason": "Oh"}}, "failed", "error: Oh"),
        ({4: {}}, "different", "it diverged before, and finished now"),
        ({4: {"status": "error", "reason": "Oh"}}, "failed", "error: Oh"),
    ],
)
def test_another_end_is_no_identity(
    changes: dict[int, Any], verdict: str, told: str, planned: Plan, store: Store
) -> None:
    found = done(planned, store, Played({4: {"status": "diverged", "reason": "loss is nan"}} | changes))
    rows = [row for row in found.rows if row.seed in changes]
    assert {(row.verdict, row.reason) for row in rows} == {(verdict, told)} and not found.well


def test_an_outcome_counts_as_long_as_the_store_has_the_same(planned: Plan, store: Store) -> None:
    done(planned, store, Played({4: {"status": "diverged", "reason": "loss is nan"}}))
    _, _, trial = next(planned.trials())
    record = store.record("train", trial.stages["train"].key)
    assert record is not None
    rewrite(record.folder / "stage.json", seal="f" * 16)
    assert verify.summary(planned, store)["verdicts"] == {"exact": 5}, "both variants share the training"
    path = frozen_plan.folder(store, planned.name, planned.base) / "verified.json"
    for text in ("", "{}", "[1]", '{"plan": 1, "trials": [{"trial": "x"}]}', "[" * 10**5):
        path.write_text(text, encoding="utf-8")
        assert verify.summary(planned, store) == {}


def test_damaged_stages_are_not_held_against_anything(planned: Plan, store: Store) -> None:
    next((store.root / "stages" / "train").glob("*/model.safetensors")).write_text("W1", encoding="utf-8")
    part, chosen = verify.choose(planned, store)
    assert len(part.only) == 5
    assert {why for _, why in chosen.skipped} >= {"train is damaged; `s2s run` recomputes it"}


def test_results_of_other_code_are_said_to_be_stale_first(planned: Plan, store: Store) -> None:
    for path in (store.root / "stages" / "train").glob("*/stage.json"):
        rewrite(path, {"fingerprint": "of other code"})
    found = done(planned, store, Played({s: {"weights": "W"} for s in (1, 2, 3)}))
    rows = [row for row in found.rows if row.seed < 4]
    assert {row.stale for row in rows} == {"the code of train has changed"}
    assert all("code of train" in row.likeness.explained for row in rows if row.likeness)


def test_an_interrupted_verification_goes_on(planned: Plan, store: Store) -> None:
    class Stopped(Played):
        def run(self, *said: Any, **more: Any) -> Iterator[Ended]:
            yield next(super().run(*said, **more))
            raise KeyboardInterrupt

    first = Stopped({4: {"status": "diverged", "reason": "loss is nan"}})
    with pytest.raises(KeyboardInterrupt):
        done(planned, store, first)
    garbage.refer(frozen_plan.folder(store, planned.name, planned.base), {})
    left = [item.path for item in garbage.survey(store, store.root / "results").loose]
    assert store.root / "verify" / planned.digest in left, "who does not go on can remove it"
    rest = Played(first.changes)
    assert [row.verdict for row in done(planned, store, rest).rows] == ["exact"] * 7
    assert not set(first.asked) & set(rest.asked), "what was done is not done again"


def test_the_outcome_is_kept_before_what_it_comes_from_is_removed(
    planned: Plan, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def interrupted(path: Path, **more: Any) -> None:
        if path.parent == store.root / "verify":
            raise KeyboardInterrupt
        remove(path, **more)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        done(planned, store, Played({4: {"status": "diverged", "reason": "loss is nan"}}))
    assert verify.summary(planned, store)["verdicts"] == {"exact": 7}


def test_a_store_that_is_only_read_is_verified_elsewhere(
    planned: Plan, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: Any) -> Path:
        if path.is_relative_to(store.root):
            raise OSError(30, "Read-only file system")
        path.mkdir(parents=True, exist_ok=True)
        return path

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr(verify, "make_folder", refuse)
    monkeypatch.setattr(verify, "write", refuse)
    workers = Played({4: {"status": "diverged", "reason": "loss is nan"}})
    before = sorted(store.root.rglob("*"))
    found = done(planned, store, workers)
    assert found.well and "cannot be written" in found.notes[0] and "Read-only" in found.notes[0]
    assert not list(elsewhere.iterdir())
    assert [p for p in sorted(store.root.rglob("*")) if "locks" not in p.parts] == [
        p for p in before if "locks" not in p.parts
    ]


def test_nothing_to_verify_is_said(planned: Plan, store: Store, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nothing of this study is in the store"):
        verify.choose(planned, Store(tmp_path / "empty"))
    bare = Store(tmp_path / "bare")
    frozen_plan.freeze(planned, bare)
    with pytest.raises(SpecError, match="no trial of this study has finished"):
        verify.choose(planned, bare)
    with pytest.raises(SpecError, match="changed since its plan was frozen"):
        verify.choose(replace(planned, seeds=(1, 2)), store)


@pytest.mark.parametrize(
    ("verdicts", "other", "dates", "said"),
    [
        ({}, 0, (), ""),
        ({"exact": 20}, 0, ("2026-11-20",) * 2,
         "re-run and found identical: 20 of 20 trials, on 2026-11-20, on the same kind of machine"),
        ({"exact": 1}, 1, ("2026-11-20", "2026-11-22"),
         "re-run and found identical: 1 of 20 trials, from 2026-11-20 to 2026-11-22, on another kind of machine"),
        ({"exact": 2, "same hypotheses": 3}, 3, ("2026-11-20",) * 2,
         "re-run and every hypothesis found the same: 5 of 20 trials, 2 of them identical, on 2026-11-20, 3 of them on "
         "another kind of machine"),
        ({"exact": 2, "different": 1}, 0, ("2026-11-20",) * 2,
         "re-run: 3 of 20 trials, 1 different, 2 exact, on 2026-11-20, on the same kind of machine"),
    ],
)  # fmt: skip
def test_the_badge_says_no_more_than_was_run(
    verdicts: dict[str, int], other: int, dates: tuple[str, ...], said: str
) -> None:
    known = {"of": 20, "verdicts": verdicts, "other_kind": other, "dates": list(dates)} if verdicts else {}
    assert sentences.verified_sentence(known) == said
