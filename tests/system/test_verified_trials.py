"""A small study that ran is done once more for real, and moved to another store: the same numbers, or who says why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.storage.test_store import rewrite

from harness.analysis import Outcome
from harness.analysis.load_outcomes import gather
from harness.core.spec import SpecError
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.local_pool import Slot, Workers, slots
from harness.execution.runner import Settings
from harness.storage import garbage, sealing
from harness.storage.sealing import Damaged, Record
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.workflows import export_import, run_study, verify, write_report

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SMALL: dict[str, Any] = {
    "data.dataset.train": 300,
    "data.dataset.validation": 40,
    "data.dataset.test": 60,
    "data.dataset.digits": 3,
    "model.encoder.cell.hidden": 48,
    "model.decoder.cell.hidden": 48,
    "training.updates": 40,
    "training.evaluate_every": 10,
}
FILES = ("trials.csv", "comparisons.csv", "plan.json")


def planned(**changes: Any) -> Plan:
    return planning.resolve(planning.load("decoding", sets=SMALL | changes, seeds=2))


def silent(_name: str, _event: dict[str, Any]) -> None:
    pass


def executed(plan: Plan, store: Store) -> None:
    with Workers(entry_of(perform), MODULES, slots("cpu", 1), {}) as workers:
        run_study.run_study(plan, store, Settings(workers), silent, tracked=False)


def again(plan: Plan, store: Store, places: list[Slot] | None = None) -> verify.Verified:
    part, chosen = verify.choose(plan, store)
    with Workers(entry_of(perform), MODULES, places or slots("cpu", 1), {}) as workers:
        return verify.verify(plan, part, chosen, store, Settings(workers), silent)


@pytest.fixture(scope="module", autouse=True)
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("S2S_RESULTS", str(tmp_path_factory.mktemp("results")))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    executed(planned(), store)
    return store


@pytest.fixture
def store(finished: Store, tmp_path: Path) -> Store:
    shutil.copytree(finished.root, tmp_path / "store")
    return Store(tmp_path / "store")


def pages(plan: Plan) -> dict[str, str]:
    folder = write_report.results_folder(plan)
    return {name: (folder / name).read_text(encoding="utf-8") for name in (*FILES, "report.md", "report.html")}


def test_the_same_machine_gives_the_same_bits_and_the_report_says_so(store: Store) -> None:
    plan = planned()
    write_report.write_report(plan, store)
    before = pages(plan)
    assert "Verified" not in before["report.md"] + before["report.html"]
    found = again(plan, store)
    assert [row.verdict for row in found.rows] == ["exact"] * 10 and found.well
    write_report.write_report(plan, store)
    after = pages(plan)
    said = "re-run and found identical: 10 of 10 trials"
    assert said in after["report.md"] and said in after["report.html"]
    assert [after[name] == before[name] for name in FILES] == [True] * len(FILES)


def test_results_of_another_seed_are_found_out(store: Store) -> None:
    plan = planned()
    trials = {(variant.name, seed): trial for variant, seed, trial in plan.trials()}
    for (variant, seed), trial in trials.items():
        for name, stage in trial.stages.items() if seed == 1 else ():
            if name != "prepare":
                _pass_off(store.folder(name, trials[variant, 2].stages[name].key), store.folder(name, stage.key))
    found = again(plan, store)
    verdicts = {seed: {row.verdict for row in found.rows if row.seed == seed} for seed in (1, 2)}
    assert verdicts[2] == {"exact"}
    assert verdicts[1] <= {"within tolerance", "different"} and "different" in verdicts[1], verdicts
    for row in found.rows:
        if row.seed == 1 and row.likeness is not None:
            assert (row.likeness.parts_at, row.likeness.first_update) == ("train", 10)
            assert row.likeness.loss_difference > 0 and not row.likeness.explained


def _pass_off(source: Path, target: Path) -> None:
    """Put the outputs of one stage into the place of another, with a record that agrees."""
    own = json.loads((target / "stage.json").read_text(encoding="utf-8"))
    shutil.rmtree(target)
    shutil.copytree(source, target)
    rewrite(target / "stage.json", own["stage"])


@pytest.mark.full
def test_two_threads_may_differ_and_threads_explain_it(store: Store) -> None:
    plan = planned()
    one = slots("cpu", 1)[0]
    two = one._replace(env=one.env | {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"})
    found = again(plan, store, [two])
    assert len(found.rows) == 10
    for row in found.rows:
        assert row.likeness is not None and row.likeness.explained.get("threads") == [1, 2], row
        assert (row.verdict == "exact") == (row.likeness.parts_at == "")


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="there is one instruction set only")
def test_another_instruction_set_gives_other_bits_and_explains_them(store: Store) -> None:
    plan, one = planned(), slots("cpu", 1)[0]
    found = again(plan, store, [one._replace(env=one.env | {"ATEN_CPU_CAPABILITY": "default"})])
    likeness = [row.likeness for row in found.rows if row.likeness is not None]
    assert len(likeness) == 10 and not any(like.same_kind for like in likeness)
    for like in likeness:
        assert (like.verdict != "exact", like.parts_at, like.first_update) == (True, "train", 10)
        assert list(like.explained) == ["capability"] and like.explained["capability"][1] == "DEFAULT"
        assert 0 < like.loss_difference < 0.01, "the last bits, not another training"
    write_report.write_report(plan, store)
    assert "on another kind of machine" in pages(plan)["report.md"]


def test_a_study_moves_to_another_machine_with_the_same_numbers(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, file, there = planned(), tmp_path / "study.tar", Store(tmp_path / "there")
    write_report.write_report(plan, store)
    here, outcomes = pages(plan), _plain(gather(plan, store))
    made = export_import.export(plan, store, file)
    assert (made.about.trials, made.about.finished, made.about.report, made.note) == (10, 10, True, "")
    first = file.read_bytes()
    export_import.export(plan, store, file)
    assert file.read_bytes() == first, "the same results, the same bytes"

    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))
    taken = export_import.take(file, there)
    assert (taken.added, taken.there, taken.different) == (made.added, 0, ())
    assert not any((there.root / "work").iterdir())
    write_report.write_report(plan, there)
    assert {n: t for n, t in pages(plan).items() if n in FILES} == {n: t for n, t in here.items() if n in FILES}
    assert _plain(gather(plan, there)) == outcomes
    assert frozen_plan.exploratory(plan, there) == {}
    executed(plan, there)
    assert again(plan, there).well
    taken = export_import.take(file, there)
    assert (taken.added, taken.there, taken.different) == (0, made.added, ())


def _plain(found: list[Outcome]) -> list[Any]:
    return [(o.trial, o.status, o.reason, o.metrics, o.costs, o.stages, o.curve, o.hypotheses) for o in found]


def test_what_is_there_otherwise_is_reported_and_left(store: Store, tmp_path: Path) -> None:
    plan, file, there = planned(), tmp_path / "study.tar", Store(tmp_path / "there")
    export_import.export(plan, store, file)
    export_import.take(file, there)
    _, _, trial = next(plan.trials())
    *_, (_, _, other) = plan.trials()
    stage = trial.stages["train"]
    _pass_off(there.folder("train", other.stages["train"].key), there.folder("train", stage.key))
    shutil.rmtree(there.folder("score", trial.digest))
    seal = there.record("train", stage.key).seal  # type: ignore[union-attr]
    taken = export_import.take(file, there)
    assert (taken.added, taken.different) == (1, (f"train-{stage.key}",))
    assert there.record("train", stage.key).seal == seal  # type: ignore[union-attr]


def test_an_import_takes_no_reference_away_and_mends_what_is_damaged(store: Store, tmp_path: Path) -> None:
    plan, file, there = planned(), tmp_path / "study.tar", Store(tmp_path / "there")
    export_import.export(plan, store, file)
    export_import.take(file, there)
    listed = frozen_plan.folder(there, plan.name, plan.base) / garbage.LIST
    known = json.loads(listed.read_text(encoding="utf-8"))
    listed.write_text(json.dumps(known | {"train": [*known["train"], "0" * 16]}), encoding="utf-8")
    stage = next(plan.trials())[2].stages["train"]
    model = there.folder("train", stage.key) / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    taken = export_import.take(file, there)
    assert taken.added == 1 and taken.whole and there.fault("train", stage.key) == ""
    assert "0" * 16 in json.loads(listed.read_text(encoding="utf-8"))["train"]
    assert len(there.aside()) == 1


def test_an_import_leaves_to_a_run_what_it_is_at(store: Store, tmp_path: Path) -> None:
    plan, file, there = planned(), tmp_path / "study.tar", Store(tmp_path / "there")
    made = export_import.export(plan, store, file)
    stage = next(plan.trials())[2].stages["train"]
    with there.claim("train", stage.key):
        taken = export_import.take(file, there)
    assert taken.added == made.added - 1 and not taken.whole
    assert stage.title in taken.busy[0] and "being worked on" in taken.busy[0]
    assert export_import.take(file, there).whole and there.record("train", stage.key)


def test_the_same_results_of_other_code_are_named(store: Store, tmp_path: Path) -> None:
    plan, file, there = planned(), tmp_path / "study.tar", Store(tmp_path / "there")
    export_import.export(plan, store, file)
    export_import.take(file, there)
    own = _of(there, "train")
    sealing.seal(replace(own.stage, fingerprint="older"), own.seals, own.folder, own.sizes, own.facts, own.provenance)
    taken = export_import.take(file, there)
    assert taken.whole and taken.added == 0 and taken.note.startswith("1 stages of this store come from other code")


@pytest.mark.full
def test_an_export_carries_the_report_of_its_own_results_alone(store: Store, tmp_path: Path) -> None:
    plan = planned()
    write_report.write_report(plan, store)
    assert export_import.export(plan, store, tmp_path / "a.tar").about.report
    record = _of(store, "score")
    sealing.seal(replace(record.stage, fingerprint="older"), *_rest(record), record.facts, record.provenance)
    made = export_import.export(plan, store, tmp_path / "b.tar")
    assert made.about.report, "the code has changed since; the results are those that it tells of"
    write_report.write_report(plan, store, fuller="replace")
    made = export_import.export(plan, store, tmp_path / "c.tar")
    assert not made.about.report and "`s2s report --keep-stale` writes it" in made.note
    write_report.write_report(plan, store, keep_stale=True)
    assert export_import.export(plan, store, tmp_path / "d.tar").about.report


@pytest.mark.parametrize(("name", "without"), [("score", "facts"), ("train", "provenance"), ("prepare", "facts")])
def test_what_no_run_wrote_is_told_in_a_line(store: Store, name: str, without: str) -> None:
    record = _of(store, name)
    said = {"facts": record.facts, "provenance": record.provenance} | {without: {}}
    sealing.seal(record.stage, *_rest(record), said["facts"], said["provenance"])
    with pytest.raises(Damaged, match=r"cannot be understood \(KeyError: '\w+'\)"):
        write_report.write_report(planned(), store)


def _of(store: Store, name: str) -> Record:
    """Return a stage of the first trial."""
    record = store.record(name, next(planned().trials())[2].stages[name].key)
    assert record is not None
    return record


def _rest(record: Record) -> tuple[dict[str, str], Path, list[str]]:
    return record.seals, record.folder, list(record.sizes)


def test_failures_travel_and_are_verified(tmp_path: Path) -> None:
    wild = {"training.optimizer": {"kind": "sgd", "lr": 1e38}, "training.clip": 0.0}
    plan, there = planned(**wild), Store(tmp_path / "there")
    store = Store(tmp_path / "store")
    executed(plan, store)
    write_report.write_report(plan, store, fuller="replace")
    before = pages(plan)
    export_import.export(plan, store, tmp_path / "wild.tar")
    taken = export_import.take(tmp_path / "wild.tar", there)
    assert (taken.about.finished, taken.about.trials, taken.added) == (0, 10, 1), "the prepared data alone"
    write_report.write_report(plan, there, fuller="replace")
    assert pages(plan)["trials.csv"] == before["trials.csv"] and before["trials.csv"].count("diverged") == 10
    assert again(plan, there).well


def test_an_import_is_refused_before_anything_lands(store: Store, tmp_path: Path) -> None:
    plan, file = planned(), tmp_path / "study.tar"
    export_import.export(plan, store, file)
    data, there = file.read_bytes(), Store(tmp_path / "there")

    def refused(match: str, data: bytes, error: type[SpecError] = Damaged) -> None:
        (tmp_path / "bad.tar").write_bytes(data)
        with pytest.raises(error, match=match):
            export_import.take(tmp_path / "bad.tar", there)
        assert not (there.root / "stages").exists() and not (there.root / "studies").exists()

    refused("cut off", data[: len(data) // 2])
    at = data.index(b'"text"')
    refused("was changed", data[:at] + b'"TEXT"' + data[at + 6 :])
    refused("another study", _edited(data, b'"study": "decoding"', b'"study": "decodinG"'))
    refused("is no archive|does not begin", b"hello" * 1000)
    with pytest.raises(SpecError, match="No such file"):
        export_import.take(tmp_path / "nothing.tar", there)


def _edited(data: bytes, old: bytes, new: bytes) -> bytes:
    """Change the manifest, in its own length."""
    assert len(old) == len(new) and old in data
    return data.replace(old, new, 1)


def test_another_frozen_plan_is_refused_with_what_differs(store: Store, tmp_path: Path) -> None:
    plan, file, there = planned(), tmp_path / "study.tar", Store(tmp_path / "there")
    export_import.export(plan, store, file)
    frozen_plan.freeze(replace(planned(**{"training.updates": 50}), seeds=(1, 2)), there)
    with pytest.raises(
        SpecError, match=r"(?s)another plan of this study is frozen here.*-.*updates: 50.*\+.*updates: 40"
    ):
        export_import.take(file, there)
    assert not (there.root / "stages").exists()


def typed(*words: str) -> tuple[int, str]:
    """What a command answers: its exit code, and what it prints."""
    sets = [word for path, value in SMALL.items() for word in ("--set", f"{path}={value}")]
    study = [] if words[0] == "import" else ["decoding", "--seeds", "2", *sets]
    ran = subprocess.run(
        [sys.executable, "-m", "harness", words[0], *study, *words[1:]], capture_output=True, text=True, check=False
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.full
def test_the_commands_say_what_they_did(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = str(tmp_path / "study.tar")
    monkeypatch.setenv("S2S_STORE", str(store.root))
    code, said = typed("verify", "--sample", "2", "--jobs", "1")
    assert code == 0 and "2 of 10 finished trials repeated, drawn by a hash" in said and "\n2 exact\n" in said, said
    code, said = typed("verify", "--sample", "1", "--jobs", "1", "--json")
    found = json.loads(said)
    assert list(store.root.glob("logs/*/worker-0.log")), "what parts print is no part of an answer"
    assert code == 0 and found["well"] and [row["verdict"] for row in found["rows"]] == ["exact"]
    assert typed("export", "--out", file)[0] == 0
    code, said = typed("export", "--out", str(tmp_path))
    assert code == 0 and (tmp_path / "decoding-numbers.tar").read_bytes() == Path(file).read_bytes(), said
    record = next(store.root.glob("stages/train/*/stage.json"))
    record.write_text(record.read_text(encoding="utf-8").replace("curve", "CURVE"), encoding="utf-8")
    code, said = typed("export", "--out", file)
    assert code == 2 and "is damaged" in said and "Traceback" not in said

    monkeypatch.setenv("S2S_STORE", str(tmp_path / "there"))
    code, said = typed("export", "--out", str(tmp_path))
    assert code == 2 and "nothing of this study" in said, said
    code, said = typed("import", file, file)
    assert code == 0 and said.count("10 of 10 trials finished") == 2, said
    train = sorted(Path(tmp_path / "there/stages/train").iterdir())
    _pass_off(train[0], train[1])
    code, said = typed("import", file)
    assert code == 1 and f"train-{train[1].name} has other results here, and was left as it is" in said, said
    Path(file).write_bytes(b"no archive")
    code, said = typed("import", file)
    assert code == 2 and said.startswith("s2s: ") and said.count("\n") == 1, said
    monkeypatch.setenv("S2S_STORE", str(tmp_path / "empty"))
    for command in ("verify", "export", "sync"):
        code, said = typed(command)
        assert code == 2 and "nothing of this study is in the store" in said, said
