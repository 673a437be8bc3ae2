"""What a run does with what is there already: stale, failed, damaged, changed; in real worker processes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.storage.test_store import rewrite

from harness.analysis import Outcome
from harness.analysis.load_outcomes import _test_set, gather
from harness.core.spec import SpecError
from harness.execution import journal, runner
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.estimate import survey
from harness.execution.local_pool import Workers, slots
from harness.execution.runner import Settings
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.study_record import over_seeds
from harness.trial.pipeline import Trial
from harness.workflows import run_study, write_report
from harness.workflows.try_model import draw_attention, try_model
from harness.workflows.write_report import StudyAnswer

ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {
    "data.dataset.train": 200,
    "data.dataset.validation": 30,
    "data.dataset.test": 40,
    "data.dataset.digits": 3,
    "model.encoder.cell.hidden": 8,
    "model.decoder.cell.hidden": 8,
    "training.updates": 20,
    "training.evaluate_every": 10,
}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))


def answered(
    home: Path, name: str, changes: dict[str, Any] | None = None, seeds: int = 1, **settings: Any
) -> tuple[StudyAnswer, list[tuple[str, str]]]:
    plan = planning.load(name, sets=SMALL | (changes or {}), seeds=seeds)
    heard: list[tuple[str, str]] = []

    def listen(trial: str, event: dict[str, Any]) -> None:
        heard.extend([(trial, event["status"])] if "status" in event else [])

    with Workers(entry_of(perform), MODULES, slots("cpu", 1), {"logs": str(home / "logs")}) as workers:
        return run_study.run_study(plan, Store(home), Settings(workers, **settings), listen, tracked=False), heard


def test_a_divergence_is_a_result_trained_once_and_never_again(tmp_path: Path) -> None:
    wild = {"training.optimizer": {"kind": "sgd", "lr": 1e38}, "training.clip": 0.0}
    made, heard = answered(tmp_path, "decoding", wild)
    assert [status for _, status in heard] == ["diverged"] * 5 and made.ran.failed == 5
    assert {status for _, status, _ in made.failed} == {"diverged"}
    trained = sum(event == "train" for event in made.ran.stages)
    assert trained == 0, "no stage was completed"
    table = (tmp_path / "results/decoding/numbers/trials.csv").read_text(encoding="utf-8")
    assert table.count("diverged") == 5
    (watched,) = journal.followed(Store(tmp_path), "decoding")
    assert (watched.end, watched.progress.failed, watched.progress.total) == ("finished", 5, 5)
    again, heard = answered(tmp_path, "decoding", wild)
    assert [status for _, status in heard] == ["diverged"] * 5 and again.ran.made == 0
    plan = planning.resolve(planning.load("decoding", sets=SMALL | wild, seeds=1))
    told = survey(plan, Store(tmp_path), {}, workers=1)
    assert told["to_run"] == 0 and {t["state"] for v in told["variants"] for t in v["trials"]} == {"failed"}
    other = planning.resolve(planning.load("decoding", sets=SMALL | wild, seeds=2))
    told = survey(other, Store(tmp_path), {}, workers=1)
    assert told["estimate_seconds"] is None and "loss" in told["estimate_from"]


@pytest.mark.slow
def test_keep_stale_keeps_what_is_whole_and_makes_the_rest(tmp_path: Path) -> None:
    answered(tmp_path, "incremental-decoding")
    for path in (tmp_path / "stages").glob("*/*/stage.json"):
        rewrite(path, {"fingerprint": "of other code"})
    made, _ = answered(tmp_path, "incremental-decoding", seeds=2, keep_stale=True, replan=True)
    assert (made.ran.found, made.ran.made, made.ran.failed) == (2, 2, 0)
    assert made.notes == ["4 trials come from code that has changed since (--keep-stale)"]
    told = json.loads((tmp_path / "results/incremental-decoding/numbers/provenance.json").read_text(encoding="utf-8"))
    assert len(told["stale"]) == 4, "seed 2 was trained on data that other code prepared"
    made, _ = answered(tmp_path, "incremental-decoding", seeds=2)
    assert (made.ran.found, made.ran.made) == (2, 2), "without it, the stale ones run again"


@pytest.mark.slow
def test_damaged_stages_are_made_anew(tmp_path: Path) -> None:
    answered(tmp_path, "incremental-decoding")
    next((tmp_path / "stages" / "train").glob("*/model.safetensors")).unlink()
    next((tmp_path / "stages" / "decode").glob("*/stage.json")).write_text("", encoding="utf-8")
    made, _ = answered(tmp_path, "incremental-decoding")
    assert made.ran.failed == 0 and made.ran.stages["train"] == 1 and made.ran.stages["decode"] >= 1


@pytest.mark.slow
def test_a_changed_study_is_refused_and_bad_data_freeze_nothing(tmp_path: Path) -> None:
    home = tmp_path / "study"
    home.mkdir()
    text = (ROOT / "studies/incremental-decoding.yaml").read_text(encoding="utf-8")
    (home / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="joint"):
        answered(tmp_path, str(home / "mine.yaml"), {"data.joint": True, "data.target": "characters"})
    assert not (tmp_path / "studies").exists()
    answered(tmp_path, str(home / "mine.yaml"))
    for old, new in (("within: 0.5", "within: 5.0"), ("The same output", "Another output")):
        (home / "mine.yaml").write_text(text.replace(old, new), encoding="utf-8")
        frozen = (tmp_path / "studies/mine/numbers/plan.json").read_text(encoding="utf-8")
        with pytest.raises(SpecError, match=r"(?s)changed since its plan was frozen.*\+.*(5\.0|Another)"):
            answered(tmp_path, str(home / "mine.yaml"))
        plan = planning.resolve(planning.load(str(home / "mine.yaml"), sets=SMALL, seeds=1))
        with pytest.raises(SpecError, match="changed since its plan was frozen"):
            write_report.write_report(plan, Store(tmp_path))
        assert (tmp_path / "studies/mine/numbers/plan.json").read_text(encoding="utf-8") == frozen
    made, _ = answered(tmp_path, str(home / "mine.yaml"), replan=True)
    assert made.ran.found == 2 and made.ran.made == 0


CLAIM = {
    "name": "the mask helps",
    "better": {"training.loss.mask": True},
    "than": {"training.loss.mask": False},
    "metric": "nll",
}


def planned(home: Path, **changes: Any) -> Plan:
    said = {"question": "q", "expectation": "e", "base": str(ROOT / "studies/bases/numbers.yaml")}
    said |= {"vary": {"training.loss.mask": [True, False]}, "claims": [CLAIM]}
    home.mkdir(exist_ok=True)
    (home / "mine.yaml").write_text(json.dumps(said | changes), encoding="utf-8")
    return planning.resolve(planning.load(str(home / "mine.yaml"), sets=SMALL))


def finish(plan: Plan, store: Store) -> None:
    """Put records of every trial of a plan into a store, as if it had run."""
    for _, _, trial in plan.trials():
        stage = trial.stages["score"]
        store.make(stage, lambda folder: (folder / "scores.json").write_text("{}") and {}, {})


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([1, 2], ""), ([3, 4], "the seeds were changed"), ([1, 2, 3], "the seeds were changed"), ([2], "the seeds were changed")],
)  # fmt: skip
def test_other_seeds_after_results_could_be_seen_are_a_second_attempt(
    tmp_path: Path, seeds: list[int], words: str
) -> None:
    store, plan = Store(tmp_path / "runs"), planned(tmp_path, seeds=[1, 2])
    frozen_plan.freeze(plan, store)
    finish(plan, store)
    again = planned(tmp_path, seeds=seeds)
    frozen_plan.freeze(again, store)
    told = frozen_plan.exploratory(again, store)
    assert list(told) == ([CLAIM["name"]] if words else []) and words in "".join(told.values())


@pytest.mark.slow
def test_a_report_of_numbers_alone_quotes_no_sentence_and_has_the_same_numbers(tmp_path: Path) -> None:
    answered(tmp_path, "masking", seeds=2)
    plan, folder = planning.resolve(planning.load("masking", sets=SMALL, seeds=2)), tmp_path / "results/masking/numbers"
    store = Store(tmp_path)
    test = gather(plan, store)[0].test
    quoted = [text for text in (*test.sources, *(one for texts in test.references for one in texts)) if " " in text]

    def quoting() -> set[str]:
        files = [path for path in folder.rglob("*") if path.suffix in {".html", ".md", ".csv", ".json", ".tex", ".svg"}]
        return {path.name for path in files if any(text in path.read_text(encoding="utf-8") for text in quoted)}

    numbers = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    assert {"report.html", "report.md", "report-details.md", "examples.md", "examples.csv"} <= quoting()
    write_report.write_report(plan, store, quoting=False)
    assert not quoting() and not list(folder.rglob("*example*"))
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == numbers


@pytest.mark.slow
def test_an_emptier_report_takes_no_fuller_ones_place(tmp_path: Path) -> None:
    answered(tmp_path, "masking", seeds=2)
    plan, folder = planning.resolve(planning.load("masking", sets=SMALL, seeds=2)), tmp_path / "results/masking/numbers"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    elsewhere = Store(tmp_path / "other")
    with pytest.raises(SpecError, match=r"describes 8 finished trials, a new one would describe 0; `--replace`"):
        write_report.write_report(plan, elsewhere)
    with pytest.raises(SpecError, match=r"describes 8 finished trials, a new one would describe 4; `--replan`"):
        answered(elsewhere.root, "masking", seeds=1)
    kept = write_report.write_report(plan, elsewhere, fuller="keep")
    assert not kept.files and "was kept" in kept.notes[0]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    write_report.write_report(plan, elsewhere, fuller="replace")
    assert "**Based on** 0 of 8 trials: 0 variants" in (folder / "report.md").read_text(encoding="utf-8")
    answered(elsewhere.root, "masking", seeds=1)
    assert "**Based on** 4 trials: 4 variants, 1 seed" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_of_trials_that_no_frozen_plan_came_before_is_exploratory(tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "runs"), planned(tmp_path, seeds=[1, 2])
    assert frozen_plan.exploratory(plan, store) == {}, "nothing can have been seen"
    finish(plan.upto(1), store)
    assert "frozen" in frozen_plan.exploratory(plan, store)[CLAIM["name"]]
    frozen_plan.freeze(plan, store)
    assert frozen_plan.exploratory(plan, store) == {}, "a seed is still to come"


@pytest.mark.slow
def test_what_was_answered_is_mirrored_where_it_is_not_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that is done has nothing to do, unless its mirror is another one or gone."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made: list[str] = []

    class Mirrored:
        def __init__(self, plan: Plan, store: Store, *_: Any, **__: Any) -> None:
            self.mirror = MlflowStore(store.root)

        def add(self, *_: object) -> None:
            pass

        point = drop = add

        def finish(self, _: object) -> list[str]:
            made.append(self.mirror.tracking_uri)
            self.mirror.database.folder.mkdir(parents=True, exist_ok=True)
            self.mirror.database.path.touch()
            return []

    monkeypatch.setattr("harness.tracking.sync.BackgroundSync", Mirrored)
    store, plan = Store(tmp_path / "runs"), planned(tmp_path, seeds=1)

    def run_it(*, tracked: bool = True) -> int:
        before = len(made)
        with Workers(entry_of(perform), MODULES, slots("cpu", 1), {}) as workers:
            run_study.run_study(plan, store, Settings(workers), lambda *_: None, tracked=tracked)
        return len(made) - before

    assert [run_it(), run_it(), run_it(tracked=False)] == [1, 0, 0]
    MlflowStore(store.root).database.path.unlink()
    assert [run_it(tracked=False), run_it(), run_it()] == [0, 1, 0], "it is gone, and built anew"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://somebody:secret@mlflow.example")
    assert [run_it(), run_it()] == [1, 0], "another one"
    assert "secret" not in (store.root / "studies" / plan.name / plan.base / "answer.json").read_text()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert run_it() == 1, "only the last one is known"


def test_what_prepared_data_were_made_with_is_the_same_in_any_process(tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "runs"), planned(tmp_path, seeds=1)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        runner.prepare_data(plan, store, print)
    finally:
        torch.set_num_threads(before)
    (_, _, trial), *_ = plan.trials()
    record = store.record("prepare", trial.stages["prepare"].key)
    assert record is not None and record.provenance["threads"] == 1


def test_variants_that_cut_the_same_test_sentences_otherwise_share_their_resamples(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    vary = {"data.source": ["words", "characters"], "data.dataset.seed": [0, 1]}
    plan = planned(tmp_path, vary=vary, claims=[], seeds=1)
    runner.prepare_data(plan, store, print)
    folders = [store.folder("prepare", trial.stages["prepare"].key) for _, _, trial in plan.trials()]
    words, others, characters, _ = (_test_set(folder, "", folder) for folder in folders)
    assert words.name == characters.name != others.name
    assert words.source_lengths.sum() < characters.source_lengths.sum()


def test_an_infinite_score_is_mirrored_without_a_deviation() -> None:
    def of(seed: int, perplexity: float) -> Outcome:
        return Outcome(f"t{seed}", "v", seed, "ok", metrics={"perplexity": perplexity, "bleu": float(seed)})

    made = over_seeds([of(1, 3.0), of(2, math.inf)])
    assert made["score/perplexity"] == math.inf and not {"ci/perplexity_sd", "ci/perplexity_low"} & set(made)
    assert made["ci/bleu_sd"] == pytest.approx(math.sqrt(0.5)) and made["diagnostics/seeds_finished"] == 2


def test_trying_a_model_that_hears_padding_gives_what_the_report_gives(tmp_path: Path) -> None:
    made, _ = answered(tmp_path, "incremental-decoding", {"model.encoder.pack": False, "training.updates": 60})
    assert made.ran.made == 2
    digest = next((tmp_path / "stages" / "score").iterdir()).name
    plan = planning.resolve(
        planning.load(
            "incremental-decoding", sets=SMALL | {"model.encoder.pack": False, "training.updates": 60}, seeds=1
        )
    )
    trial: Trial = next(t for _, _, t in plan.trials() if t.digest == digest)
    rows = (Store(tmp_path).folder("prepare", trial.stages["prepare"].key) / "test.jsonl").read_text(encoding="utf-8")
    texts = [json.loads(line)["source"] for line in rows.splitlines()][:5]
    found = (Store(tmp_path).folder("decode", trial.stages["decode"].key) / "hypotheses.jsonl").read_text(
        encoding="utf-8"
    )
    reported = [json.loads(line)["text"] for line in found.splitlines()][:5]
    assert [try_model(Store(tmp_path), digest, [text])[0]["hypothesis"] for text in texts] == reported
    assert [a["hypothesis"] for a in try_model(Store(tmp_path), digest[:8], texts)] == reported
    assert try_model(Store(tmp_path), digest, ["seven zebras, zebras"])[0]["unknown"] == ["zebras,", "zebras"]
    assert try_model(Store(tmp_path), digest, texts[:1], attention=True)[0]["attention"] is None


@pytest.mark.slow
def test_a_map_of_attention_has_a_row_for_each_word_and_weights_that_add_up(tmp_path: Path) -> None:
    answered(tmp_path, "decoding", {"preset": "bahdanau2015", "decoding.limit": 6})
    digest = next((tmp_path / "stages" / "score").iterdir()).name
    answers = try_model(Store(tmp_path), digest, ["one two", "three"], attention=True)
    for answer in answers:
        shown = answer["attention"]
        assert shown["source"] == [*answer["source"].split(), "<eos>"] and len(shown["weights"]) == len(shown["said"])
        assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in shown["weights"])
    ranked = try_model(Store(tmp_path), digest, ["one two"], count=3)[0]["n_best"]
    assert len(ranked) == 3 and ranked == sorted(ranked, key=lambda each: (each["truncated"], -each["score"]))
    files = draw_attention(answers, tmp_path / "drawn")
    assert {path.name for path in files} == {f"attention_{n}.{kind}" for n in (1, 2) for kind in ("pdf", "png", "svg")}
