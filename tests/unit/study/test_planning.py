"""Study files become plans: grids, zips, cases, exclusions, names, claims, and mistakes with their places."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.cli import listing
from harness.core.spec import SpecError, encode, override, read
from harness.execution import runner
from harness.storage.store import Store
from harness.study import data_checks, frozen_plan, planning
from harness.study.bases import read_base
from harness.study.budget_matching import learned_words
from harness.study.grid import Variant, short_names, show
from harness.study.plan import Plan
from harness.trial.encoded import words_of
from harness.trial.pipeline import TrialChoice
from harness.trial.prepare import prepare
from harness.trial.train import build

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted(path.stem for path in (ROOT / "studies").glob("*.yaml"))
CLAIM = {
    "name": "masking helps",
    "better": {"training.loss.mask": True},
    "than": {"training.loss.mask": False},
    "metric": "bleu",
}
BASES = sorted(path.stem for path in (ROOT / "studies/bases").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def write(folder: Path, **said: Any) -> str:
    file = {"question": "Q?", "expectation": "E.", "base": "numbers", "seeds": 2} | said
    path = folder / "mine.yaml"
    YAML().dump(file, path)
    return str(path)


def names(plan: Plan) -> list[str]:
    return [variant.name for variant in plan.variants]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies_are_valid_on_every_generated_base(name: str) -> None:
    for base in (None, "scan", "multi30k", "multi30k-small"):
        plan = planning.load(name, base=base)
        assert plan.file.expectation and (plan.file.claims or name in ("null", "noise")), "not about means"
        assert all(not v.skipped for v in plan.variants), [v.skipped for v in plan.variants]


@pytest.mark.parametrize("name", BASES)
def test_shipped_bases_are_complete(name: str) -> None:
    assert planning.load("masking", base=name).base == name


@pytest.mark.parametrize("where", ["own", "sig2020"])
def test_pronunciation_is_studied_on_files_of_words_and_phones(where: str, tmp_path: Path) -> None:
    home = ROOT.parent / "shared/data/sig2020"
    if where == "own":
        home = tmp_path
        for name, rows in {"train": "chat\tʃ a\nchou\tʃ u\n", "dev": "chaud\tʃ o\n", "test": "cache\tk a ʃ\n"}.items():
            (home / f"fre_{name}.tsv").write_text(rows, encoding="utf-8")
    elif not home.is_dir():
        pytest.skip("sig2020 is not among the shared test data of this machine")
    files = {"train": "fre_train.tsv", "validation": "fre_dev.tsv", "test": "fre_test.tsv"}
    plan = planning.load("g2p", sets={f"data.dataset.{split}": str(home / name) for split, name in files.items()})
    assert not any(v.skipped for v in planning.resolve(plan).variants)
    rows = plan.variants[0].choice.data.dataset.build(folders=plan.folders).load()
    assert [len(rows[name]) for name in files] == ([2, 1, 1] if where == "own" else [3600, 450, 450])
    assert all(" " not in source and " " in phones for source, (phones,), *_ in rows["train"])
    assert plan.primary == "sequence_error_rate" and {claim.metric for claim in plan.file.claims} == {plan.primary}


def test_grid_zip_and_cases_multiply(tmp_path: Path) -> None:
    plan = planning.load(
        write(
            tmp_path,
            vary={"training.loss.mask": [True, False]},
            zip={"model.encoder.cell.hidden": [8, 16], "model.decoder.cell.hidden": [16, 8]},
            cases={"one": {"training.clip": 1.0}, "two": {"training.clip": 2.0}},
        )
    )
    assert len(plan.variants) == 8
    assert names(plan)[0] == "one, mask=true, encoder.cell.hidden=8, decoder.cell.hidden=16"
    first, last = plan.variants[0].choice, plan.variants[-1].choice
    assert (first.training.clip, last.training.clip) == (1.0, 2.0)
    widths = {
        (encode(v.choice)["model"]["encoder"]["cell"]["hidden"], v.factors["model.decoder.cell.hidden"])
        for v in plan.variants
    }
    assert widths == {(8, 16), (16, 8)}


def test_a_claim_on_the_primary_metric_follows_the_base(tmp_path: Path) -> None:
    assert {c.metric for c in planning.load("masking").file.claims} == {"exact_match"}
    assert {c.metric for c in planning.load("masking", base="multi30k-small").file.claims} == {"bleu"}
    home = tmp_path / "bases"
    home.mkdir()
    text = (ROOT / "studies/bases/numbers.yaml").read_text(encoding="utf-8")
    (home / "bare.yaml").write_text(text.replace("primary: exact_match\n", ""), encoding="utf-8")
    (home / "odd.yaml").write_text(text.replace("primary: exact_match", "primary: blue"), encoding="utf-8")
    said = {"vary": {"training.loss.mask": [True, False]}, "claims": [CLAIM | {"metric": "primary"}]}
    for base, words in (("bare", "names no primary metric"), ("odd", r"odd\.yaml:\d+: primary: .*did you mean 'bleu'")):
        with pytest.raises(SpecError, match=words):
            planning.load(write(tmp_path, base=base, **said))


def test_seeds_are_counted_from_one_or_listed(tmp_path: Path) -> None:
    assert planning.load(write(tmp_path, seeds=3)).seeds == (1, 2, 3)
    assert planning.load(write(tmp_path, seeds=[7, 4])).seeds == (7, 4)
    assert planning.load(write(tmp_path, seeds=[7, 4]), seeds=1).seeds == (7,)


def test_data_are_looked_up_beside_the_study_then_beside_its_base_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bases").mkdir()
    base = read_base(ROOT / "studies/bases/files.yaml").plain
    (tmp_path / "bases/mine.yaml").write_text(json.dumps(override(TrialChoice, base, {"data.dataset.train": "t.tsv"})))
    study = write(tmp_path, base="bases/mine.yaml")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folders = planning.load(study).folders
    assert folders == (tmp_path, tmp_path / "bases", tmp_path / "here")
    with pytest.raises(SpecError) as caught:
        planning.resolve(planning.load(study))
    assert f"there is no file {tmp_path}/t.tsv or {tmp_path}/bases/t.tsv or t.tsv; paths are relative" in str(
        caught.value
    )


def test_more_seeds_than_are_listed_go_on_from_the_largest(tmp_path: Path) -> None:
    listed = write(tmp_path, seeds=[101, 103, 102])
    counts = {n: planning.load(listed, seeds=n).seeds for n in (2, 3, 5)}
    assert counts == {2: (101, 103), 3: (101, 103, 102), 5: (101, 103, 102, 104, 105)}
    assert planning.load(write(tmp_path, seeds=3), seeds=5).seeds == (1, 2, 3, 4, 5)
    with pytest.raises(SpecError, match="are the most that a study can have"):
        planning.load(listed, seeds=10**12)


def test_excluded_and_impossible_variants_stay_with_their_reason(tmp_path: Path) -> None:
    attention = {"kind": "attention", "score": "dot", "mask": True, "place": "readout", "merge": "concat"}
    plan = planning.load(
        write(
            tmp_path,
            set={"model.decoder.context": attention},
            vary={"model.encoder.cell.hidden": [32, 64], "training.loss.mask": [True, False]},
            exclude=[{"when": {"model.encoder.cell.hidden": 64, "training.loss.mask": False}, "reason": "told before"}],
        )
    )
    said = [v.skipped for v in plan.variants]
    assert (
        said[0].startswith("incompatible: ")
        and "32" in said[0]
        and said[2] == ""
        and said[3] == "excluded: told before"
    )
    assert {v.name for v, _, _ in planning.resolve(plan).trials()} == {"hidden=64, mask=true"}


def test_outputs_that_need_many_words_are_not_refused_before_data_are_read(tmp_path: Path) -> None:
    plan = planning.load(write(tmp_path, set={"model.output": {"kind": "adaptive_softmax", "cutoffs": [2000, 90_000]}}))
    assert [v.skipped for v in plan.variants] == [""] * len(plan.variants)


def test_a_search_that_lacks_something_of_the_model_is_skipped_with_its_reason(tmp_path: Path) -> None:
    plan = planning.load(
        write(
            tmp_path,
            set={"decoding.search": "beam"},
            vary={"decoding.search.coverage_penalty": [0.0, 0.2]},
        )
    )
    said = [v.skipped for v in plan.variants]
    assert said[0] == "" and said[1].startswith("incompatible: coverage_penalty needs attention weights")


def test_trials_come_seed_by_seed_and_variants_share_their_data() -> None:
    plan = planning.resolve(planning.load("decoding", seeds=2))
    trials = list(plan.trials())
    assert [seed for _, seed, _ in trials] == [1] * 5 + [2] * 5
    assert len({trial.stages["train"].key for _, _, trial in trials}) == 2
    assert len({trial.stages["prepare"].key for _, _, trial in trials}) == 1
    assert len({trial.digest for _, _, trial in trials}) == 10


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"vary": {"training.loss.maskk": [True]}}, r"mine\.yaml:\d+: training\.loss\.maskk: .*did you mean 'mask'"),
        (
            {"vary": {"model.encoder.cell.kind": ["gro"]}},
            r"mine\.yaml:\d+: model\.encoder\.cell\.kind: .*did you mean 'gru'",
        ),
        ({"zip": {"training.clip": [1.0], "training.pool": [1, 2]}}, "as many values each"),
        ({"seeds": []}, r"mine\.yaml:\d+: seeds: is empty"),
        ({"seeds": [1, 1]}, "each seed once"),
        ({"vary": {"training.clip": [1.0, 1.0]}}, "two variants are called 'clip=1.0'"),
        ({"base": "nombers"}, "did you mean 'numbers'"),
        ({"qestion": "?"}, "did you mean 'question'"),
        ({"vary": {"training.loss.mask": [True]}, "claims": [CLAIM]}, r"mine\.yaml:\d+: claims\.0\.than"),
        ({"vary": {"training.clip": []}}, r"mine\.yaml:\d+: vary\.training\.clip: is empty"),
        ({"zip": {"training.clip": []}}, r"mine\.yaml:\d+: zip\.training\.clip: is empty"),
        ({"cases": {"one": None}}, r"mine\.yaml:\d+: cases\.one: .*mapping, got null"),
        ({"seeds": [1.5]}, "valid integer"),
        ({"vary": {"training.clip": [1, 1.0]}}, r"mine\.yaml:\d+: vary: 'clip=1' and 'clip=1.0' are the same variant"),
        ({"cases": {"one": {"training.clip": 1.0}, "two": {}}}, r"cases: 'one' and 'two' are the same variant"),
        ({"vary": {"model.encoder.cell.hidden": [10**10]}}, "tensors larger than any machine"),
        (
            {"vary": {"training.clip": [1.0]}, "zip": {"training.clip": [2.0]}},
            r"mine\.yaml:\d+: training\.clip: the study varies 'training\.clip' too",
        ),
        (
            {"vary": {"training.loss.mask": [True, False], "training.loss": ["cross_entropy"]}},
            r"training\.loss: the study varies 'training\.loss\.mask' too",
        ),
        (
            {"vary": {"training.loss": ["cross_entropy"]}, "cases": {"one": {"training.loss.mask": True}}},
            r"mine\.yaml:\d+: training\.loss\.mask: the study varies 'training\.loss' too",
        ),
        (
            {"vary": {"training.clip": [1.0]}, "set": {"decoding.scoring.tokenize": "ja-mecab"}},
            r"mine\.yaml:\d+: decoding\.scoring\.tokenize: .* not installed",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        planning.load(write(tmp_path, **said))


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"training.loss.mas": True}, r"mine\.yaml:\d+: exclude\.0\.when: .*did you mean 'training\.loss\.mask'"),
        ({"training.loss.mask": 1}, r"exclude\.0\.when\.training\.loss\.mask: no variant has .* known: true, false"),
        ({}, r"mine\.yaml:\d+: exclude\.0\.when: is empty"),
    ],
)
def test_exclusions_of_nothing_are_mistakes(tmp_path: Path, when: dict[str, Any], words: str) -> None:
    said = {"vary": {"training.loss.mask": [True, False]}, "exclude": [{"when": when, "reason": "r"}]}
    with pytest.raises(SpecError, match=words):
        planning.load(write(tmp_path, **said))


def test_an_excluded_combination_need_not_be_a_valid_choice(tmp_path: Path) -> None:
    axes = {"decoding.search.kind": ["greedy", "beam"], "decoding.search.width": [2, 4]}
    out = [{"when": {"decoding.search.kind": "greedy"}, "reason": "greedy has no width"}]
    plan = planning.resolve(planning.load(write(tmp_path, vary=axes, exclude=out)))
    assert [v.skipped for v in plan.variants] == ["excluded: greedy has no width"] * 2 + [""] * 2
    assert [v["choice"] is None for v in plan.frozen()["variants"]] == [True, True, False, False]
    assert len(list(plan.trials())) == 4 and len(plan.digest) == 16
    with pytest.raises(SpecError, match="is excluded: greedy has no width"):
        listing.page(f"{tmp_path}/mine.yaml:1", None, [])


def test_claims_about_variants_that_do_not_run_are_mistakes(tmp_path: Path) -> None:
    said = {
        "vary": {"training.loss.mask": [True, False]},
        "exclude": [{"when": {"training.loss.mask": False}, "reason": "told before"}],
        "claims": [CLAIM],
    }
    with pytest.raises(SpecError, match=r"mine\.yaml:\d+: claims\.0: .*skipped: mask=false \(excluded: told before\)"):
        planning.load(write(tmp_path, **said))


def test_every_variant_computes_the_metric_of_a_claim(tmp_path: Path) -> None:
    cases = {"one": {"training.clip": 2.0}, "two": {"decoding.scoring.metrics": ["ter"]}}
    claim = {"name": "c", "better": {"case": "one"}, "than": {"case": "two"}, "metric": "bleu"}
    with pytest.raises(SpecError, match=r"mine\.yaml:\d+: claims\.0\.metric: 'bleu' is not computed"):
        planning.load(write(tmp_path, cases=cases, claims=[claim]))


def test_numeric_errors_are_claimed_of_numbers_only(tmp_path: Path) -> None:
    said = {"vary": {"training.loss.mask": [True, False]}, "claims": [CLAIM | {"metric": "numeric_error"}]}
    assert planning.load(write(tmp_path, **said)).file.claims
    with pytest.raises(SpecError, match=r"claims\.0\.metric: .*dataset 'files' do not"):
        planning.load(write(tmp_path, **said), base="files")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((f"training.{name}", 0) for name in ("batch_size", "pool", "evaluate_every", "accumulate")),
        *((f"training.{name}", -1) for name in ("patience", "clip", "updates", "tokens", "seconds")),
        *((f"decoding.{name}", 0) for name in ("limit", "batch_size")),
        ("data.longest", 0),
        *(("training.loss.smoothing", value) for value in (-0.1, 1.0)),
        *(("training.teacher_forcing", {"kind": "constant", "ratio": value}) for value in (-0.1, 1.1)),
        *(("training.teacher_forcing", {"kind": "linear", "end": value, "over": 5}) for value in (-0.1, 1.1)),
        ("training.teacher_forcing", {"kind": "linear", "end": 0.5, "over": 0}),
        ("training.teacher_forcing", {"kind": "linear", "ratio": 1.1, "end": 0.5, "over": 5}),
        *(("training.teacher_forcing", {"kind": "exponential", "k": value}) for value in (0.0, 1.1)),
        ("training.teacher_forcing", {"kind": "inverse_sigmoid", "k": 0.9}),
        ("training.optimizer", {"kind": "adam", "lr": 0.0}),
        *(("training.optimizer", {"kind": "sgd", "lr": 0.1, "momentum": value}) for value in (-0.1, 1.0)),
        *(("training.optimizer", {"kind": "adam", "lr": 0.1, "beta1": value}) for value in (-0.1, 1.0)),
        *(("training.optimizer", {"kind": "adam", "lr": 0.1, "beta2": value}) for value in (-0.1, 1.0)),
        ("training.optimizer", {"kind": "adam", "lr": 0.1, "epsilon": 0.0}),
        ("training.optimizer", {"kind": "adamw", "lr": 0.1, "decay": -0.1}),
        ("training.schedule", {"kind": "linear", "warmup": -1}),
        ("training.schedule", {"kind": "inverse_sqrt", "warmup": 0}),
        *(("training.schedule", {"kind": "exponential", "every": 1, "rate": value}) for value in (0.0, 1.1)),
        ("training.schedule", {"kind": "exponential", "every": 0}),
        ("training.schedule", {"kind": "exponential", "every": 1, "start": -1}),
        ("training.initializer", {"kind": "uniform", "range": 0.0}),
    ],
)
def test_numbers_out_of_bounds_are_mistakes(path: str, value: Any) -> None:
    with pytest.raises(SpecError, match=rf"^--set: {path}.*should be (greater|less) than"):
        planning.load("decoding", sets={path: value})


LADDER = {
    "both directions": {"model.encoder.bidirectional": True},
    "attention": {
        "model.decoder.context": {
            "kind": "attention", "score": "general", "mask": True, "place": "readout", "merge": "concat"
        }
    },
    "additive score": {"model.decoder.context.score": {"kind": "additive", "width": 8}},
    "final state": {"model.decoder.context": {"kind": "final", "place": "input", "merge": "concat"}},
}  # fmt: skip


def test_each_step_of_a_ladder_keeps_the_changes_before_it(tmp_path: Path) -> None:
    claim = {"name": "c", "better": {"step": "attention"}, "than": {"step": "base"}, "metric": "primary"}
    plan = planning.load(write(tmp_path, ladder=LADDER, claims=[claim]))
    assert names(plan) == ["base", "+ both directions", "+ attention", "+ additive score", "+ final state"]
    assert [v.factors for v in plan.variants] == [{"step": step} for step in ("base", *LADDER)]
    contexts = [encode(v.choice.model)["decoder"]["context"] for v in plan.variants]
    assert [context["kind"] for context in contexts] == ["none", "none", "attention", "attention", "final"]
    assert contexts[2]["score"] == {"kind": "general"} and contexts[3]["score"]["width"] == 8
    assert contexts[3]["mask"] is True, "the step before said so"
    assert [encode(v.choice.model)["encoder"]["bidirectional"] for v in plan.variants] == [False] + [True] * 4
    assert plan.variants[0].choice == planning.load(write(tmp_path)).variants[0].choice


def test_a_ladder_multiplies_with_axes_and_cases(tmp_path: Path) -> None:
    said = {
        "ladder": {"lstm": {"model.decoder.cell.kind": "lstm"}, "deep": {"model.decoder.cell.layers": 2}},
        "vary": {"training.loss.mask": [True, False]},
        "cases": {"slow": {"training.optimizer.lr": 0.001}, "fast": {"training.optimizer.lr": 0.01}},
        "exclude": [{"when": {"step": "deep", "case": "fast"}, "reason": "told before"}],
    }
    plan = planning.load(write(tmp_path, **said))
    assert len(plan.variants) == 12
    assert names(plan)[:2] == ["slow, base, mask=true", "slow, + lstm, mask=true"]
    assert [v.name for v in plan.variants if v.skipped] == ["fast, + deep, mask=true", "fast, + deep, mask=false"]
    for variant in (v for v in plan.variants if not v.skipped):
        choice, step = encode(variant.choice), variant.factors["step"]
        cell = choice["model"]["decoder"]["cell"]
        assert (cell["kind"], cell["layers"]) == {"base": ("gru", 1), "lstm": ("lstm", 1), "deep": ("lstm", 2)}[step]
        assert choice["training"]["loss"]["mask"] == variant.factors["training.loss.mask"]
        assert choice["training"]["optimizer"]["lr"] == {"slow": 0.001, "fast": 0.01}[variant.factors["case"]]


def test_an_axis_may_belong_to_a_part_that_a_later_step_brings(tmp_path: Path) -> None:
    forcing, steps = "training.teacher_forcing", ("base", "linear")
    said = {
        "ladder": {
            "linear": {f"{forcing}.kind": "linear", f"{forcing}.end": 0.5, f"{forcing}.over": 9},
            "exponential": {f"{forcing}.kind": "exponential"},
        },
        "vary": {f"{forcing}.k": [0.9, 0.99]},
        "exclude": [{"when": {"step": step}, "reason": "has no k"} for step in steps],
    }
    plan = planning.load(write(tmp_path, **said))
    heard = [encode(v.choice.training.teacher_forcing) for v in plan.variants if not v.skipped]
    assert [(one["kind"], one["k"]) for one in heard] == [("exponential", 0.9), ("exponential", 0.99)]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"ladder": {"one": {"training.clip": 2.0}, "two": {}}},
            r"mine\.yaml:5: ladder: '\+ one' and '\+ two' are the same",
        ),
        (
            {"ladder": {"one": {"training.clip": 1.0}}},
            r"mine\.yaml:5: ladder: 'base' and '\+ one' are the same variant",
        ),
        ({"ladder": {"base": {"training.clip": 2.0}}}, r"mine\.yaml:6: ladder\.base: .*call this one otherwise"),
        ({"ladder": {"one": {"training.clap": 2.0}}}, r"mine\.yaml:7: training\.clap: .*did you mean 'clip'"),
        (
            {"ladder": {"one": {"training.clip": 2.0}, "two": {"training.clip": -1.0}}},
            r"mine\.yaml:9: training\.clip: .*greater than or equal to 0",
        ),
        (
            {"ladder": {"one": {"training.clip": 2.0}}, "vary": {"training.clip": [1.0, 2.0]}},
            r"mine\.yaml:7: training\.clip: the study varies 'training\.clip' too",
        ),
        (
            {"ladder": {"one": {"training.clip": 2.0}}, "cases": {"a": {"training.clip": 3.0}}},
            r"mine\.yaml:7: training\.clip: the study varies 'training\.clip' too",
        ),
        ({"ladder": {"one": None}}, r"mine\.yaml:6: ladder\.one: .*mapping, got null"),
        ({"ladder": {"one": {"training.clip": 2.0}}, "claims": [CLAIM]}, r"claims\.0\.better: .*known: step"),
    ],
)
def test_mistakes_in_a_ladder_are_told_with_their_place(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        planning.load(write(tmp_path, **said))


def test_a_step_cannot_be_set_for_all(tmp_path: Path) -> None:
    said = {"ladder": {"one": {"training.clip": 2.0}}}
    with pytest.raises(SpecError, match=r"^--set: training\.clip: the study varies this"):
        planning.load(write(tmp_path, **said), sets={"training.clip": 3.0})


CELLS = {"model.decoder.cell.kind": ["gru", "rnn", "lstm"]}
HIDDEN = "model.decoder.cell.hidden"


def parameters(variant: Variant) -> int:
    """Count what is allocated, with vocabularies as prepared."""
    made = learned_words(variant.choice.data, (ROOT,))
    model = build(variant.choice.model, variant.choice.training, made, 1)
    return sum(parameter.numel() for parameter in model.parameters())


def test_widths_are_chosen_so_that_parameters_match(tmp_path: Path) -> None:
    plan = planning.resolve(planning.load(write(tmp_path, vary=CELLS, match={"parameters": HIDDEN})))
    widths = {v.factors["model.decoder.cell.kind"]: v.choice.model.decoder.cell.hidden for v in plan.variants}  # type: ignore[attr-defined]
    counts = [parameters(variant) for variant in plan.variants]
    assert widths["rnn"] > widths["gru"] == 64 > widths["lstm"]
    assert all(abs(count / counts[0] - 1) < 0.01 for count in counts) and len(set(counts)) == 3
    for variant, count in list(zip(plan.variants, counts, strict=True))[1:]:
        for off in (-1, 1):  # no neighbour is nearer
            wider = override(
                TrialChoice, encode(variant.choice), {HIDDEN: widths[variant.factors["model.decoder.cell.kind"]] + off}
            )
            other = parameters(replace(variant, written=read(TrialChoice, wider)))
            assert abs(other - counts[0]) >= abs(count - counts[0])
    told = plan.matched["parameters"]
    assert f"{counts[0]:,} in cell=gru" in told and f"cell=rnn {counts[1]:,} (" in told
    said = {row["name"]: row["choice"]["model"]["decoder"]["cell"]["hidden"] for row in plan.frozen()["variants"]}
    assert list(said.values()) == list(widths.values()) and plan.frozen()["match"]["parameters"] == [HIDDEN]
    assert planning.resolve(plan).digest == plan.digest


def test_vocabularies_are_those_of_the_data_stage(tmp_path: Path) -> None:
    choice = planning.load("masking", sets={"data.dataset.train": 50}).variants[0].choice.data
    revision = choice.dataset.build(folders=(ROOT,)).revision()
    assert learned_words(choice, (ROOT,)) == words_of(prepare(choice, revision, (ROOT,), tmp_path))


def test_widths_that_move_together_keep_their_proportion(tmp_path: Path) -> None:
    paths = ["model.encoder.cell.hidden", HIDDEN]
    said = {
        "set": {"model.encoder.bidirectional": True, "model.encoder.cell.hidden": 48, HIDDEN: 96},
        "vary": {"model.encoder.cell.kind": ["gru", "rnn"]},
        "match": {"parameters": paths},
    }
    plan = planning.resolve(planning.load(write(tmp_path, **said)))
    narrow, wide = (encode(plan.variants[1].choice.model)[side]["cell"]["hidden"] for side in ("encoder", "decoder"))
    assert wide == 2 * narrow and narrow > 48


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"match": {}}, r"mine\.yaml:\d+: match: nothing is matched"),
        ({"match": {"updates": 5, "tokens": 5}}, r"mine\.yaml:\d+: match: .*match one of them"),
        ({"match": {"updates": 5, "epochs": 5}}, r"mine\.yaml:\d+: match: .*updates and epochs in common"),
        ({"match": {"tokens": -5}}, r"mine\.yaml:\d+: match\.tokens: .*greater than or equal to 0"),
        ({"match": {"tokns": 5}}, r"mine\.yaml:\d+: match\.tokns: .*did you mean 'tokens'"),
        ({"match": {"parameters": "model.decoder.cell.hiden"}}, r"mine\.yaml:\d+: match\.parameters: .*did you mean 'model\."),
        ({"match": {"parameters": "model.decoder.feed"}}, r"match\.parameters: variant 'cell=gru' has no whole number"),
        ({"match": {"parameters": "training.pool"}}, r"match\.parameters: variant 'cell=gru' has no whole number"),
        ({"match": {"parameters": "model.decoder.cell.kind"}}, r"model\.decoder\.cell\.kind: the study matches its variants"),
        ({"match": {"updates": 5}, "set": {"training.updates": 7}}, r"mine\.yaml:\d+: training\.updates: .*leave this out"),
        ({"match": {"tokens": 5}, "set": {"training.patience": 7}}, r"training\.patience: the study matches"),
        ({"match": {"tokens": 5}, "cases": {"a": {"training.seconds": 7.0}}}, r"training\.seconds: the study matches"),
        (
            {"match": {"tokens": 5}, "set": {"training.schedule": "linear"}},
            r"mine\.yaml:\d+: training: schedule 'linear' reaches its end at the last update",
        ),
    ],
)  # fmt: skip
def test_mistakes_in_matching_are_told_with_their_place(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        planning.load(write(tmp_path, **({"vary": CELLS} | said)))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        # The smallest decoder with such an encoder has more than the other variant has in all.
        ({"vary": {"model.encoder.cell.hidden": [8, 256]}}, r"match\.parameters: .*'hidden=256' comes no nearer to .*, 1\)"),
        ({"vary": {"model.decoder.context.score.kind": ["general", "dot"]}}, r"'score=dot' cannot be matched: with .*equal widths"),
    ],
)  # fmt: skip
def test_variants_that_cannot_be_matched_are_refused(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    plan = planning.load(write(tmp_path, set=LADDER["attention"], match={"parameters": HIDDEN}, **said))
    with pytest.raises(SpecError, match=words):
        planning.resolve(plan)


def test_a_matched_limit_is_the_only_one(tmp_path: Path) -> None:
    early = {"set": {}, "vary": CELLS}
    for name, value in (("updates", 300), ("tokens", 5000), ("seconds", 2.5)):
        plan = planning.load(write(tmp_path, match={name: value}, **early), base="multi30k")
        for training in (variant.choice.training for variant in plan.variants):
            limits = {each: getattr(training, each) for each in ("updates", "tokens", "seconds")}
            assert limits == {"updates": 0, "tokens": 0, "seconds": 0.0} | {name: value}
            assert training.patience == 0, "the base says 8"
        assert list(plan.matched) == [name] and "no early stopping" in plan.matched[name]
        with pytest.raises(SpecError, match=rf"^--set: training\.{name}: the study matches"):
            planning.load(write(tmp_path, match={name: value}, **early), sets={f"training.{name}": value})


def test_what_is_matched_is_part_of_the_plan(tmp_path: Path) -> None:
    bare = planning.load(write(tmp_path, vary=CELLS))
    same = planning.load(write(tmp_path, vary=CELLS, match={"updates": bare.variants[0].choice.training.updates}))
    assert [v.choice for v in bare.variants] == [v.choice for v in same.variants]
    assert bare.digest != same.digest and "match" not in bare.frozen() and not bare.matched
    one, other = (planning.load(write(tmp_path, vary=CELLS, match={"parameters": said})) for said in (HIDDEN, [HIDDEN]))
    assert one.digest == other.digest


def test_a_training_without_an_end_is_a_mistake() -> None:
    with pytest.raises(SpecError, match="training: training has no end; set updates, epochs, tokens or seconds"):
        planning.load("decoding", sets={"training.updates": 0})
    assert planning.load("decoding", sets={"training.updates": 0, "training.tokens": 100}).variants


def test_a_claim_on_a_metric_that_is_not_computed(tmp_path: Path) -> None:
    claim = {"name": "c", "better": {"training.clip": 1.0}, "than": {"training.clip": 2.0}, "metric": "ter"}
    said = {"set": {"decoding.scoring.metrics": ["bleu"]}, "vary": {"training.clip": [1.0, 2.0]}, "claims": [claim]}
    with pytest.raises(SpecError, match="'ter' is not computed"):
        planning.load(write(tmp_path, **said))


def test_overrides_reach_every_variant_but_not_an_axis() -> None:
    plan = planning.load("masking", sets={"training.updates": 7})
    assert {v.choice.training.updates for v in plan.variants} == {7}
    assert plan.command == "make study name=masking args='--set training.updates=7'"
    for studied, path, value, varied in (
        ("masking", "training.loss.mask", True, "training.loss.mask"),
        ("masking", "training.loss", {"kind": "cross_entropy"}, "training.loss.mask"),
        ("decoding", "decoding.search.width", 3, "decoding.search"),
        ("mismatch", "model.encoder.cell", "gru", "model.encoder.cell.kind"),
    ):
        with pytest.raises(SpecError, match=rf"^--set: {path}: the study varies this \('{varied}'\)"):
            planning.load(studied, sets={path: value})
    assert planning.load("mismatch", sets={"model.encoder.bidirectional": True}).variants, "a sibling may be set"
    assert planning.parse_sets(["a.b=1e-3", "c={kind: x}"]) == {"a.b": 0.001, "c": {"kind": "x"}}


def test_short_names_tell_paths_apart() -> None:
    paths = ["model.encoder.cell.kind", "model.decoder.cell.kind", "training.loss.mask"]
    assert list(short_names(paths).values()) == ["encoder.cell", "decoder.cell", "mask"]
    assert show({"kind": "attention", "score": {"kind": "dot"}, "mask": True}) == "attention(score=dot, mask=true)"


def test_the_plan_means_the_same_however_it_is_spelled(tmp_path: Path) -> None:
    one = planning.load(write(tmp_path, vary={"training.loss.mask": [True, False]}))
    same = planning.load(write(tmp_path, vary={"training.loss.mask": [True, False]}, set={"training.clip": 1.0}))
    other = planning.load(write(tmp_path, vary={"training.loss.mask": [True, False]}, set={"training.clip": 2.0}))
    assert one.digest == same.digest != other.digest
    for said in ({"question": "Q!"}, {"expectation": "F."}, {"seeds": 3}):
        other = planning.load(write(tmp_path, vary={"training.loss.mask": [True, False]}, **said))
        assert other.digest != one.digest


def test_where_data_lie_is_no_meaning_but_what_they_hold_is(tmp_path: Path) -> None:
    def plan(file: str, rows: str) -> Plan:
        (tmp_path / file).write_text(rows)
        dataset = {"kind": "files", "train": file}
        return planning.resolve(planning.load(write(tmp_path, set={"data.dataset": dataset})))

    one, moved, other = plan("a.tsv", "one\t1\n"), plan("b.tsv", "one\t1\n"), plan("a.tsv", "two\t2\n")
    assert one.digest == moved.digest != other.digest


def test_variants_may_differ_in_their_files_alone(tmp_path: Path) -> None:
    said = {"vary": {"data.dataset.train": ["a.tsv", "b.tsv"]}}
    assert names(planning.load(write(tmp_path, **said), base="files")) == ["train=a.tsv", "train=b.tsv"]


def test_bases_are_found_beside_the_study_in_studies_and_by_path(tmp_path: Path) -> None:
    numbers = (ROOT / "studies/bases/numbers.yaml").read_text(encoding="utf-8")
    for name in ("bases/mine.yaml", "bases/scan.yaml", "near.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(numbers, encoding="utf-8")

    def dataset(base: str) -> str:
        return planning.load(write(tmp_path, base=base)).variants[0].choice.data.dataset.kind

    assert dataset("mine") == dataset("numbers") == "numbers"
    assert dataset("scan") == "numbers", "the one beside the study comes first"
    assert dataset("near.yaml") == dataset("bases/mine.yaml") == "numbers"
    assert dataset("studies/bases/scan.yaml") == "scan"
    with pytest.raises(SpecError, match=r"known: .*, files, .*mine, multi30k, .*, numbers, "):
        dataset("nothing at all")


def test_the_schema_of_study_files_is_current() -> None:
    """Write it anew with:

    python -c "import variants; from harness.cli import listing; print(listing.study_schema(), end='')"
    """
    assert (ROOT / "studies/schema.json").read_text(encoding="utf-8") == listing.study_schema()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"vary": {f"training.x{i}": list(range(10)) for i in range(20)}}, r"has 100,000,000,000,000,000,000 variants"),
        ({"vary": {f"training.x{i}": [1] for i in range(300)}}, "more than 200 settings"),
        ({"seeds": 10**12}, "1,000,000,000,000 seeds"),
    ],
)
def test_what_nobody_can_run_is_refused_before_it_is_written_out(said: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        planning.load(write(tmp_path, **said))


@pytest.mark.parametrize(
    "value", ["$HOME", "$(touch made)", "`touch made`", "a b; touch made", "it's", '"', "\\", "$$", "#", "%"]
)
def test_the_command_of_a_report_says_what_was_typed(value: str, tmp_path: Path) -> None:
    """It goes through a shell, make, and the shell that make starts."""
    text = planning.command(f"{value}/x", None, {"a.b": value}, 3)
    said = tmp_path / "said"
    (tmp_path / "Makefile").write_text(
        f'study:\n\t@{sys.executable} -c \'import sys, json; json.dump(sys.argv[1:], open("said", "w"))\' $(name) $(args)\n'
    )
    subprocess.run(["bash", "-c", text], cwd=tmp_path, check=True)
    words = json.loads(said.read_text("utf-8"))
    assert words[:4] == [f"{value}/x", "--seeds", "3", "--set"]
    assert planning.parse_sets([words[4]]) == {"a.b": value}
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"study": 1}', "[" * 100_000, '{"digest": "x"}', "\x00"])
def test_a_frozen_plan_that_is_damaged_is_named(text: str, tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "runs"), planning.resolve(planning.load("masking"))
    frozen_plan.freeze(plan, store)
    assert frozen_plan.check(plan, store)
    path = next(store.root.glob("studies/*/*/plan.json"))
    path.write_text(text, encoding="utf-8")
    for use in (frozen_plan.check, frozen_plan.exploratory, frozen_plan.dropped, frozen_plan.freeze):
        with pytest.raises(SpecError, match=r"plan\.json: the plan that was frozen is damaged"):
            use(plan, store)
    assert path.read_text("utf-8") == text


def with_columns(folder: Path, **claim: Any) -> Plan:
    """A plan whose data have a column."""
    rows = "".join(f"{w} {o}\t{o}\t{'ab'[n % 2]}\n" for n, (w, o) in enumerate(itertools.product("xyz", "123456")))
    (folder / "data.tsv").write_text(rows, encoding="utf-8")
    dataset = {"kind": "files", "train": "data.tsv", "columns": {"category": 2}}
    gen = {"kind": "files", "test": "data.tsv", "columns": {"topic": 2}}
    sides = {"better": {"training.loss.mask": True}, "than": {"training.loss.mask": False}}
    study = {
        "question": "?",
        "expectation": "!",
        "base": str(ROOT / "studies/bases/numbers.yaml"),
        "set": {"data.dataset": dataset, "data.tests": {"gen": gen}},
        "vary": {"training.loss.mask": [True, False]},
        "seeds": 2,
        "claims": [{"name": "a claim", "metric": "nll", **sides, **claim}],
    }
    (folder / "own.yaml").write_text(json.dumps(study), encoding="utf-8")
    return planning.load(str(folder / "own.yaml"))


def test_a_condition_on_a_column_is_about_sentences(tmp_path: Path) -> None:
    plan = with_columns(tmp_path, when={"category": "a"}, rather_than={"category": "b"})
    (claim,) = plan.file.claims
    assert claim.when == {"sentences.category": "a"} and claim.rather_than == {"sentences.category": "b"}
    explicit = with_columns(tmp_path, when={"sentences.category": "a"}, rather_than={"category": "b"})
    assert explicit.digest == plan.digest
    assert with_columns(tmp_path, on="gen", when={"topic": "a"}).file.claims[0].when == {"sentences.topic": "a"}


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        (
            {"when": {"categroy": "a"}},
            r"when.categroy: 'categroy' is no setting that varies .* did you mean 'category'",
        ),
        ({"when": {"category": "a"}, "on": "gen"}, "'category' is no setting .*topic"),
        ({"on": "gne"}, r"on: variant .* has no test set 'gne' \(data.tests\); did you mean 'gen'"),
    ],
)
def test_a_condition_or_a_test_set_that_is_not_there_is_refused(
    tmp_path: Path, claim: dict[str, Any], told: str
) -> None:
    with pytest.raises(SpecError, match=told):
        with_columns(tmp_path, **claim)


def test_values_that_no_sentence_has_are_refused_when_the_data_are_known(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for value, known in (("a", True), ("c", False)):
        plan = planning.resolve(with_columns(tmp_path, on="gen", when={"topic": value}))
        runner.prepare_data(plan, store, print)
        if known:
            data_checks.check(plan, store)
            continue
        with pytest.raises(SpecError, match=r"claims.0.when.topic: no test sentence has topic = 'c'; known: a, b"):
            data_checks.check(plan, store)
