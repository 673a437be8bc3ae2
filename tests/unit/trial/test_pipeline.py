"""Further test sets in the corridor: stages of their own, on which nothing else depends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError, digest, override, read
from harness.storage.store import Store
from harness.study.bases import read_base
from harness.trial import encoded
from harness.trial.data_checks import shared_in_words, warnings
from harness.trial.pipeline import Corridor, Trial, TrialChoice, restore
from harness.trial.prepare import DataChoice

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "data.dataset.train": 60,
    "data.dataset.validation": 10,
    "data.dataset.test": 10,
    "data.dataset.digits": 2,
    "model.encoder.cell.hidden": 4,
    "model.decoder.cell.hidden": 4,
    "training.updates": 4,
    "training.evaluate_every": 2,
}
GEN = {"kind": "files", "test": "gen.tsv"}


def trial(tests: dict[str, Any] | None = None, **revisions: str) -> Trial:
    plain = read_base(ROOT / "studies/bases/numbers.yaml").plain
    changes = SMALL | ({"data.tests": tests} if tests else {})
    return Trial(read(TrialChoice, override(TrialChoice, plain, changes)), 1, "", revisions)


@pytest.fixture
def gen(tmp_path: Path) -> Path:
    (tmp_path / "gen.tsv").write_text("one two\t12\nnine\t9\nunheard-of words\t1\n", encoding="utf-8")
    return tmp_path


def of_files(folder: Path, **sets: Any) -> Trial:
    """A trial with further test sets in files."""
    choices = {name: {"kind": "files", "test": "gen.tsv"} | more for name, more in sets.items()}
    made = trial(choices)
    found = {name: choice.build(folders=(folder,)).revision() for name, choice in made.choice.data.tests.items()}
    return trial(choices, **found)


def test_a_further_test_set_changes_no_stage_of_the_main_test(gen: Path) -> None:
    plain, more = trial(), of_files(gen, gen={})
    assert list(more.stages) == ["prepare", "gen/test", "train", "decode", "score", "gen/decode", "gen/score"]
    assert {name: more.stages[name] for name in plain.stages} == plain.stages and more.digest == plain.digest
    assert more.alone == plain
    assert digest(more.choice.data) != digest(plain.choice.data), "what is tested is part of what a study asks"


def test_its_stages_depend_on_what_it_holds_and_not_on_its_name(gen: Path) -> None:
    one, renamed, limited = of_files(gen, gen={}), of_files(gen, other={}), of_files(gen, gen={"limit": 2})
    assert one.stages["gen/score"].key == renamed.stages["other/score"].key
    assert {k for k in one.stages if one.stages[k].key != limited.stages[k].key} == {
        "gen/test", "gen/decode", "gen/score",
    }  # fmt: skip
    (gen / "gen.tsv").write_text("one\t1\n", encoding="utf-8")
    changed = of_files(gen, gen={})
    assert changed.stages["gen/test"].key != one.stages["gen/test"].key
    assert changed.stages["decode"].key == one.stages["decode"].key
    assert one.stages["gen/decode"].key != one.stages["decode"].key


def test_every_set_is_decoded_and_scored_once_by_one_training(gen: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    corridor = Corridor(store, (gen,), "cpu")
    assert [name for name, _, _ in corridor.run(trial(), lambda _: None)] == ["prepare", "train", "decode", "score"]
    more = of_files(gen, gen={})
    ran = {name: (record, found) for name, record, found in corridor.run(more, lambda _: None)}
    assert [name for name, (_, found) in ran.items() if not found] == ["gen/test", "gen/decode", "gen/score"]
    facts = ran["gen/test"][0].facts
    assert facts["test"]["pairs"] == 3 and facts["test"]["source_unknown"] >= 1
    said = (ran["gen/decode"][0].folder / "hypotheses.jsonl").read_text(encoding="utf-8")
    assert said.count("\n") == 3 and 0 <= ran["gen/score"][0].facts["metrics"]["exact_match"] <= 100
    rows = encoded.load_rows(ran["gen/test"][0].folder)
    assert [row["source"] for row in rows] == ["one two", "nine", "unheard-of words"]
    assert all(found for _, _, found in corridor.run(more, lambda _: None))


def seals(store: Store, made: Trial) -> dict[str, str]:
    found = {name: store.record(stage.name, stage.key) for name, stage in made.stages.items()}
    return {name: record.seal for name, record in found.items() if record is not None}


@pytest.mark.parametrize("after", ["gen/test", "train", "decode", "gen/decode"])
def test_a_trial_that_was_broken_off_ends_with_the_same_results_on_every_set(
    gen: Path, tmp_path: Path, after: str
) -> None:
    more = of_files(gen, gen={}, short={"limit": 1})
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    list(Corridor(whole, (gen,), "cpu").run(more, lambda _: None))
    for name, _, _ in Corridor(broken, (gen,), "cpu").run(more, lambda _: None):
        if name == after:
            break
    done = seals(broken, more)
    assert 0 < len(done) < len(more.stages)
    again = {name: found for name, _, found in Corridor(broken, (gen,), "cpu").run(more, lambda _: None)}
    assert [name for name, found in again.items() if found] == list(done), "nothing is done twice"
    assert seals(broken, more) == seals(whole, more) and len(again) == 10


def test_a_trial_is_found_by_the_digest_of_its_main_test_alone(gen: Path, tmp_path: Path) -> None:
    store, more = Store(tmp_path / "runs"), of_files(gen, gen={})
    list(Corridor(store, (gen,), "cpu").run(more, lambda _: None))
    assert restore(store, more.digest) == more.alone
    with pytest.raises(SpecError, match="no finished trial"):
        restore(store, more.stages["gen/score"].key)


def test_a_damaged_test_set_is_made_anew_before_it_is_decoded(gen: Path, tmp_path: Path) -> None:
    store, more = Store(tmp_path / "runs"), of_files(gen, gen={})
    corridor = Corridor(store, (gen,), "cpu")
    list(corridor.run(more, lambda _: None, ("prepare", "test", "train")))
    rows = store.folder("test", more.stages["gen/test"].key) / "test.safetensors"
    rows.write_bytes(rows.read_bytes()[:-1] + b"\x01")
    assert not next(found for name, _, found in corridor.run(more, lambda _: None) if name == "gen/test")


def test_data_that_changed_since_the_plan_are_refused(gen: Path, tmp_path: Path) -> None:
    stale = trial({"gen": GEN}, gen="0" * 64)
    with pytest.raises(SpecError, match=r"data\.tests\.gen: the data changed"):
        list(Corridor(Store(tmp_path / "runs"), (gen,), "cpu").run(stale, lambda _: None))


@pytest.mark.parametrize("name", ["test", "Gen", "a/b", ""])
def test_a_name_that_would_be_taken_for_something_else_is_refused(name: str) -> None:
    data = {"dataset": {"kind": "scan", "split": "simple"}, "source": "words", "target": "words"}
    with pytest.raises(SpecError, match="cannot name a test set; use small letters"):
        read(DataChoice, data | {"tests": {name: GEN}})
    assert json.loads(json.dumps(read(DataChoice, data | {"tests": {"gen": GEN}}).tests["gen"].kind)) == "files"


def test_another_kind_of_test_set_drops_the_settings_that_it_does_not_have() -> None:
    plain = override(TrialChoice, read_base(ROOT / "studies/bases/numbers.yaml").plain, {"data.tests": {"gen": GEN}})
    made = override(TrialChoice, plain, {"data.tests.gen.kind": "scan", "data.tests.gen.split": "length"})
    assert made["data"]["tests"]["gen"] == {"kind": "scan", "split": "length"}
    assert read(TrialChoice, made).data.tests["gen"].kind == "scan"


def test_what_limits_the_meaning_of_scores_is_known_of_every_set(gen: Path, tmp_path: Path) -> None:
    choice = trial().choice.data.dataset
    trained = [(row.source, row.references[0]) for row in choice.build(folders=()).load()["train"]][:3]
    lines = [*(f"{source}\t{reference}\n" for source, reference in trained), "zzz\tunheard-of\n"]
    (gen / "gen.tsv").write_text("".join(lines), encoding="utf-8")
    more = of_files(gen, gen={})
    ran = Corridor(Store(tmp_path / "runs"), (gen,), "cpu").run(more, lambda _: None, ("prepare", "test"))
    facts = {name: record.facts for name, record, _ in ran}["gen/test"]
    assert facts["overlap"]["test"]["tokens"]["pairs"] == 3 and facts["ceiling"]["test"]["rows"] == 4
    assert facts["ceiling"]["test"]["cased"] == 3 and facts["ceiling"]["test"]["unknown"] == 1
    leak, ceiling = warnings(facts, lowercased=False, further=True)
    assert leak.startswith("3 of 4 test sources are in train") and leak.endswith("another test set")
    assert ceiling.endswith("no model can reach more than 75 % exact match without copying")
    assert shared_in_words(facts["overlap"]["test"], 4) == "of 4 rows: sources 3, references 3, pairs 3"


def test_a_trial_loads_no_compiler(tmp_path: Path) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from harness.storage.store import Store
from harness.trial.pipeline import Corridor
from harness.execution.task import prepare_process
from tests.unit.trial.test_pipeline import trial
import variants
prepare_process()
made = [name for name, _, _ in Corridor(Store(Path({str(tmp_path)!r})), (), "cpu").run(trial(), lambda _: None)]
print(made[-1], "torch._dynamo" in sys.modules, "scipy" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.split() == ["score", "False", "False"], "seconds of every worker, before its first trial"
