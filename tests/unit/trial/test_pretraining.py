"""A training that begins with the parameters of another: a stage of its own, shared, and cut to the parts that are kept."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.contracts import SPECIALS, UNK, Words
from harness.core import plugins
from harness.core.registry import SLOTS
from harness.core.spec import SpecError, override, read
from harness.storage.store import Store
from harness.study.bases import read_base
from harness.trial.data_checks import pretraining_warnings
from harness.trial.pairs import Pairs
from harness.trial.pipeline import Corridor, Trial, TrialChoice, restore

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "data.dataset.train": 40,
    "data.dataset.validation": 10,
    "data.dataset.test": 10,
    "training.updates": 4,
    "training.evaluate_every": 2,
}


def plain(**changes: Any) -> Any:
    base = read_base(ROOT / "studies/bases/numbers.yaml").plain
    return override(TrialChoice, base, SMALL | {name.replace("__", "."): value for name, value in changes.items()})


def pretrained(keep: list[str], **changes: Any) -> Trial:
    earlier = plain(training__updates=6)["training"]
    return trial(plain(training__pretraining={"kind": "trained", "training": earlier, "keep": keep}, **changes))


def trial(said: Any) -> Trial:
    choice = read(TrialChoice, said)
    return Trial(choice, 1, choice.data.dataset.build(folders=()).revision())


def run(made: Trial, store: Store, kinds: tuple[str, ...] = ("prepare", "pretrain", "train")) -> dict[str, bool]:
    """Run the first stages of a trial; say of each whether it was there."""
    return {name: found for name, _, found in Corridor(store, (), "cpu").run(made, lambda _: None, kinds)}


def test_without_it_there_is_no_such_stage_and_digests_stand() -> None:
    before, none = trial(plain()), trial(plain(training__pretraining="none"))
    assert "pretrain" not in before.stages and before.digest == none.digest
    assert pretrained([]).digest != before.digest


def test_a_pretraining_from_fixed_first_values_is_another() -> None:
    """The first values of a pretraining are those of its trial, drawn from the stream that the trial fixes."""
    free, fixed = (pretrained([], **changes) for changes in ({}, {"training__fixed": {"init": 7}}))
    assert free.stages["pretrain"].key != fixed.stages["pretrain"].key


def test_trials_share_a_pretraining_and_begin_with_the_parts_that_are_kept(tmp_path: Path) -> None:
    store, first = Store(tmp_path), pretrained(["embeddings", "encoder"], training__select="last")
    assert run(first, store) == {"prepare": False, "pretrain": False, "train": False}
    other = pretrained(["embeddings", "encoder"], training__select="last", training__clip=0.5)
    assert run(other, store) == {"prepare": True, "pretrain": True, "train": False}
    folder = store.folder("pretrain", first.stages["pretrain"].key)
    start, whole = load_file(folder / "start.safetensors"), load_file(folder / "model.safetensors")
    assert (
        {name.partition(".")[0] for name in start} == {"embeddings", "encoder"} < {n.partition(".")[0] for n in whole}
    )
    assert all(torch.equal(start[name], whole[name]) for name in start)
    still = pretrained(["embeddings", "encoder"], training__select="last", training__optimizer__lr=1e-30)
    run(still, store)
    trained = load_file(store.folder("train", still.stages["train"].key) / "model.safetensors")
    kept = {name: torch.equal(trained[name], whole[name]) for name in whole}
    assert all(kept[name] for name in start) and not all(kept.values())


def test_a_pretraining_made_anew_makes_the_training_stale(tmp_path: Path) -> None:
    store, made = Store(tmp_path), pretrained([])
    run(made, store)
    assert made.stages["train"].inputs["pretrain"] == made.stages["pretrain"].key
    assert made.stages["decode"].inputs["pretrain"] == made.stages["pretrain"].key
    file = store.folder("pretrain", made.stages["pretrain"].key) / "start.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert run(made, store)["pretrain"] is False, "what is damaged is done anew"


def test_an_earlier_training_has_none_before_it() -> None:
    earlier = plain(training__pretraining={"kind": "trained", "training": plain()["training"]})["training"]
    with pytest.raises(SpecError, match="begins from the initializer"):
        trial(plain(training__pretraining={"kind": "trained", "training": earlier}))


OTHER = {"kind": "files", "train": "other.tsv", "validation": "held.tsv", "test": "held.tsv"}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with other data: the last training pair is a test row of the trial, half of the words are unknown to it."""
    choice = trial(plain()).choice.data.dataset
    [source] = [row.source for row in choice.build(folders=()).load()["test"]][:1]
    write(tmp_path, "one two\t12", "unheard word\t7", f"{source}\t1")
    (tmp_path / "held.tsv").write_text("one\t1\nthree\t3\n", encoding="utf-8")
    return tmp_path


def write(folder: Path, *lines: str) -> None:
    (folder / "other.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def on_other(folder: Path, **dataset: Any) -> Trial:
    """A trial that begins with a training on other data."""
    earlier = {"kind": "trained", "training": plain(training__updates=6)["training"], "dataset": OTHER | dataset}
    choice = read(TrialChoice, plain(training__pretraining=earlier))
    assert choice.other_data is not None
    revisions = [data.build(folders=(folder,)).revision() for data in (choice.data.dataset, choice.other_data)]
    return Trial(choice, 1, revisions[0], other_revision=revisions[1])


def test_other_data_are_an_edge_of_the_pretraining_and_not_of_the_data(other: Path) -> None:
    same, first = pretrained([]), on_other(other)
    kinds = ["prepare", "pretraining_data", "pretrain", "train", "decode", "score"]
    assert list(first.stages) == kinds and first.stages["prepare"] == same.stages["prepare"]
    write(other, "one two\t12")
    changed = on_other(other)
    assert [kind for kind in kinds if changed.stages[kind].key == first.stages[kind].key] == ["prepare"]
    (other / "moved").mkdir()
    for name in ("other.tsv", "held.tsv"):
        (other / name).rename(other / "moved" / name)
    paths = {name: f"moved/{path}" for name, path in OTHER.items() if path.endswith(".tsv")}
    assert on_other(other, **paths).digest == changed.digest, "where they lie does not count"


def test_without_other_data_the_digest_stands() -> None:
    earlier = {"kind": "trained", "training": plain(training__updates=6)["training"]}
    changes: list[dict[str, Any]] = [{}, {"dataset": None}, {"task": "translation"}]
    before, *after = (trial(plain(training__pretraining=earlier | more)) for more in changes)
    assert {each.digest for each in (before, *after, pretrained([]))} == {"d0eadccab3996851"}
    assert Trial.of(before.plain) == before and "other_revision" not in before.plain


def test_a_model_is_pretrained_on_other_data_in_the_words_of_the_trial(other: Path, tmp_path: Path) -> None:
    store, made = Store(tmp_path / "store"), on_other(other)
    corridor = Corridor(store, (other,), "cpu")
    facts = {name: record.facts for name, record, _ in corridor.run(made, lambda _: None)}
    read_as, began = facts["pretraining_data"], facts["pretrain"]
    assert (read_as["train"]["pairs"], read_as["validation"]["pairs"]) == (3, 2)
    known = set(corridor.prepared(made).source.tokens())
    words = (other / "other.tsv").read_text(encoding="utf-8").replace("\t", " \t ").split()
    assert {"unheard", "word"}.isdisjoint(known) and 0 < read_as["unknown"]["source"] < 1
    assert read_as["unknown"]["source"] == 2 / (len(words) - 3)
    assert read_as["overlap"]["test"]["tokens"]["sources"] >= 1
    assert began["updates"] == 6 and began["epochs"] == 6, "three pairs are one batch"
    other_start, own = (
        load_file(store.folder("pretrain", t.stages["pretrain"].key) / "start.safetensors")
        for t in (made, _run_whole(pretrained([]), store))
    )
    assert not all(torch.equal(other_start[name], own[name]) for name in own)
    assert restore(store, made.digest) == made, "the trial is found again with the data that it was pretrained on"
    leak, lacking = pretraining_warnings(read_as | {"unknown": {"source": 0.25, "target": 0.1}})
    assert "in the pretraining data, as the model sees them" in leak and "lacks 25 % of the source tokens" in lacking


def _run_whole(made: Trial, store: Store) -> Trial:
    run(made, store)
    return made


def test_an_autoencoder_of_the_target_side_is_a_dataset_whose_source_is_its_target(other: Path, tmp_path: Path) -> None:
    store, made = Store(tmp_path / "store"), on_other(other, source=1, reference=1)
    ran = Corridor(store, (other,), "cpu").run(made, lambda _: None, ("prepare", "pretraining_data", "pretrain"))
    facts = {name: record.facts for name, record, _ in ran}
    assert facts["pretraining_data"]["train"]["pairs"] == 3 and facts["pretrain"]["updates"] == 6


@pytest.mark.parametrize(
    ("task", "sources"),
    [
        ("translation", [[4, 5], [6]]),
        # The target words 4 to 6 are b, d and c: 5, unknown and 6 of the source. 9 is a copied word that no vocabulary has.
        ("autoencoder", [[5, 3, 6], [3]]),
        ("language_model", [[], []]),
    ],
)
def test_a_task_gives_targets_their_sources(task: str, sources: list[list[int]]) -> None:
    lists = [*SPECIALS, "a", "b", "c"], [*SPECIALS, "b", "d", "c"]
    model = SimpleNamespace(words=Words(7, 7, lists=lambda: lists))
    given = Pairs.of([[4, 5], [6]], [[4, 5, 6], [9]])
    said = plain(training__pretraining={"kind": "trained", "training": plain()["training"], "task": task})
    seen: list[Any] = []
    trial(said).choice.training.pretraining.build().start(model, {"train": given}, lambda *got: seen.extend(got))
    posed = seen[1]["train"]
    lengths = posed.source_lengths.tolist()
    assert [part.tolist() for part in posed.source.split(lengths)] == sources
    said_last = 9 if task == "translation" else UNK
    assert posed.target.tolist() == [4, 5, 6, said_last] and torch.equal(posed.target_starts, given.target_starts)


@pytest.mark.parametrize("task", ["autoencoder", "language_model"])
def test_a_model_is_pretrained_on_targets_alone(task: str, tmp_path: Path) -> None:
    store, earlier = Store(tmp_path), plain(training__updates=6)["training"]
    made = trial(
        plain(training__pretraining={"kind": "trained", "training": earlier, "task": task, "keep": ["decoder"]})
    )
    run(made, store)
    start, usual = (
        load_file(store.folder("pretrain", each.stages["pretrain"].key) / "start.safetensors")
        for each in (made, _run_whole(pretrained(["decoder"]), store))
    )
    assert {name.partition(".")[0] for name in start} == {"decoder"}
    assert not all(torch.equal(start[name], usual[name]) for name in start)


def test_other_data_that_changed_since_the_plan_are_refused(other: Path, tmp_path: Path) -> None:
    made = on_other(other)
    write(other, "one\t1")
    with pytest.raises(SpecError, match=r"training\.pretraining\.dataset: the data changed"):
        list(Corridor(Store(tmp_path / "store"), (other,), "cpu").run(made, lambda _: None))


def test_a_plugin_begins_with_parameters_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(SLOTS["pretraining"], "kinds", dict(SLOTS["pretraining"].kinds))
    plugins.load([str(ROOT / "tests/plugins/pretrained_start.py")])
    store, usual = Store(tmp_path / "store"), trial(plain())
    run(usual, store)
    weights = load_file(store.folder("train", usual.stages["train"].key) / "model.safetensors")
    file = tmp_path / "weights.safetensors"
    save_file({name: part for name, part in weights.items() if name.startswith("encoder")}, file)
    start = {"kind": "weights", "path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    made = trial(plain(training__pretraining=start, training__select="last", training__optimizer__lr=1e-30))
    run(made, store)
    trained = load_file(store.folder("train", made.stages["train"].key) / "model.safetensors")
    assert all(torch.equal(trained[name], weights[name]) == name.startswith("encoder") for name in weights)
    with pytest.raises(SpecError, match="another file than the study names"):
        run(trial(plain(training__pretraining=start | {"sha256": "0"})), store)
    sys.modules.pop("plugin_pretrained_start", None)
