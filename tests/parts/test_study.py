"""Study files become plans: grids, zips, cases, exclusions, names, claims, and mistakes with their places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness import catalog, study
from harness.spec import SpecError, encode

ROOT = Path(__file__).resolve().parents[2]
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


def names(plan: study.Plan) -> list[str]:
    return [variant.name for variant in plan.variants]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies_are_valid_on_every_generated_base(name: str) -> None:
    for base in (None, "scan", "multi30k", "multi30k-small"):
        plan = study.load(name, base=base)
        assert len(plan.file.claims) >= 1 and plan.file.expectation
        assert all(not v.skipped for v in plan.variants), [v.skipped for v in plan.variants]


@pytest.mark.parametrize("name", BASES)
def test_shipped_bases_are_complete(name: str) -> None:
    assert study.load("masking", base=name).base == name


def test_grid_zip_and_cases_multiply(tmp_path: Path) -> None:
    plan = study.load(
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


def test_seeds_are_counted_from_one_or_listed(tmp_path: Path) -> None:
    assert study.load(write(tmp_path, seeds=3)).seeds == (1, 2, 3)
    assert study.load(write(tmp_path, seeds=[7, 4])).seeds == (7, 4)
    assert study.load(write(tmp_path, seeds=[7, 4]), seeds=1).seeds == (1,)


def test_excluded_and_impossible_variants_stay_with_their_reason(tmp_path: Path) -> None:
    attention = {"kind": "attention", "score": "dot", "mask": True, "place": "readout", "merge": "concat"}
    plan = study.load(
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
    assert {v.name for v, _, _ in study.resolve(plan).trials()} == {"hidden=64, mask=true"}


def test_trials_come_seed_by_seed_and_variants_share_their_data() -> None:
    plan = study.resolve(study.load("decoding", seeds=2))
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
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 1]}, "each once"),
        ({"vary": {"training.clip": [1.0, 1.0]}}, "two variants are called 'clip=1.0'"),
        ({"base": "nombers"}, "did you mean 'numbers'"),
        ({"qestion": "?"}, "did you mean 'question'"),
        ({"vary": {"training.loss.mask": [True]}, "claims": [CLAIM]}, r"mine\.yaml:\d+: claims\.0\.than"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        study.load(write(tmp_path, **said))


def test_a_claim_on_a_metric_that_is_not_computed(tmp_path: Path) -> None:
    claim = {"name": "c", "better": {"training.clip": 1.0}, "than": {"training.clip": 2.0}, "metric": "ter"}
    said = {"set": {"decoding.scoring.metrics": ["bleu"]}, "vary": {"training.clip": [1.0, 2.0]}, "claims": [claim]}
    with pytest.raises(SpecError, match="'ter' is not computed"):
        study.load(write(tmp_path, **said))


def test_overrides_reach_every_variant_but_not_an_axis() -> None:
    plan = study.load("masking", sets={"training.updates": 7})
    assert {v.choice.training.updates for v in plan.variants} == {7}
    assert plan.command == "make study name=masking args='--set training.updates=7'"
    with pytest.raises(SpecError, match="the study varies this"):
        study.load("masking", sets={"training.loss.mask": True})
    assert study.parse_sets(["a.b=1e-3", "c={kind: x}"]) == {"a.b": 0.001, "c": {"kind": "x"}}


def test_short_names_tell_paths_apart() -> None:
    paths = ["model.encoder.cell.kind", "model.decoder.cell.kind", "training.loss.mask"]
    assert list(study.short_names(paths).values()) == ["encoder.cell", "decoder.cell", "mask"]
    assert (
        study.show({"kind": "attention", "score": {"kind": "dot"}, "mask": True}) == "attention(score=dot, mask=true)"
    )


def test_the_plan_means_the_same_however_it_is_spelled(tmp_path: Path) -> None:
    one = study.load(write(tmp_path, vary={"training.loss.mask": [True, False]}))
    same = study.load(write(tmp_path, vary={"training.loss.mask": [True, False]}, set={"training.clip": 1.0}))
    other = study.load(write(tmp_path, vary={"training.loss.mask": [True, False]}, set={"training.clip": 2.0}))
    assert one.digest == same.digest != other.digest


def test_presets_build_on_numbers() -> None:
    presets = sorted(path.stem for path in catalog.presets_folder().glob("*.yaml"))
    assert presets
    for name in presets:
        page = catalog.page(name, None, [])
        assert not page.get("incompatible") and "20" in json.dumps(page)


def test_the_schema_of_study_files_is_current() -> None:
    """Write it anew with: python -c "import variants; from harness import catalog; print(catalog.study_schema(), end='')"."""
    assert (ROOT / "studies/schema.json").read_text(encoding="utf-8") == catalog.study_schema()
