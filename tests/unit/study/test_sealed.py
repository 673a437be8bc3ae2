"""A study that evaluates the validation split: its plan, its claims, and what the ledger says when the test follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError, parse_yaml
from harness.storage.store import Store
from harness.study import frozen_plan, ledger, planning
from harness.study.plan import Plan
from harness.trial.sealed import SEALED
from unit.study.test_ledger import at_home, finish  # noqa: F401 (a fixture)

ROOT = Path(__file__).resolve().parents[3]


def plan(evaluate: str = "test", name: str = "masking", **sets: Any) -> Plan:
    sealed = {"evaluate": evaluate} if evaluate != "test" else {}
    return planning.resolve(planning.load(name, sets=sealed | sets, seeds=2))


def study(folder: Path, *lines: str) -> str:
    """Write a study with two variants and a claim, and return its path."""
    text = [
        "question: Q",
        "expectation: E",
        "base: numbers",
        "vary: {training.loss.mask: [true, false]}",
        "claims: [{name: c, better: {training.loss.mask: true}, than: {training.loss.mask: false}, metric: nll}]",
        *lines,
    ]
    (folder / "mine.yaml").write_text("\n".join(text), encoding="utf-8")
    return str(folder / "mine.yaml")


def test_the_file_or_the_command_line_seals_the_test_split(tmp_path: Path) -> None:
    opened, closed = plan(), plan("validation")
    written = planning.resolve(planning.load(study(tmp_path, "evaluate: validation"), seeds=2))
    assert (opened.split, closed.split, written.split) == ("test", "validation", "validation")
    assert (opened.sealed, closed.sealed) == ("", SEALED)
    assert {trial.split for _, _, trial in closed.trials()} == {"validation"}
    assert [trial.unsealed for _, _, trial in closed.trials()] == [trial for _, _, trial in opened.trials()]
    assert opened.digest != closed.digest and "evaluate" not in opened.frozen()
    assert closed.frozen()["evaluate"] == "validation" and "evaluate" in closed.command
    back = planning.load(study(tmp_path, "evaluate: validation"), sets={"evaluate": "test"})
    assert back.split == "test"
    with pytest.raises(SpecError, match=r"--set: evaluate"):
        plan("dev")


def test_the_frozen_plan_and_the_command_can_be_read_back(tmp_path: Path) -> None:
    store, closed = Store(tmp_path / "runs"), plan("validation")
    frozen_plan.freeze(closed, store)
    assert frozen_plan.check(closed, store)
    assert closed.command.count("evaluate=") == 1 and parse_yaml('"validation"', "x") == "validation"
    with pytest.raises(SpecError, match='-evaluate: "validation"'):
        frozen_plan.check(plan(), store)


def test_what_follows_a_sealed_pilot_opens_the_test_and_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    bases = str(ROOT / "studies/bases/numbers.yaml")
    path = Path(study(tmp_path / "studies", "seeds: 3"))
    path.write_text(path.read_text().replace("base: numbers", f"base: {bases}"), encoding="utf-8")
    piloted = planning.load("mine", sets={"evaluate": "validation"}).copied
    assert piloted is not None and piloted.extended is not None
    assert piloted.command(range(101, 106)) == "s2s new study mine-2 --like mine --seeds 101-105 && s2s run mine-2"
    assert (piloted.extended(None), piloted.extended(5)) == ("s2s run mine --replan", "s2s run mine --seeds 5 --replan")
    assert planning.load("mine", sets={"evaluate": "validation"}).command == "s2s run mine --set evaluate=validation"
    path.write_text(path.read_text() + "\nevaluate: validation\n", encoding="utf-8")
    written = planning.load("mine").copied
    assert written is not None and written.command(range(101, 103)).endswith("s2s run mine-2 --set evaluate=test")


def test_a_claim_on_a_further_test_set_waits_for_the_test(tmp_path: Path) -> None:
    (tmp_path / "gen.tsv").write_text("one\t1\n", encoding="utf-8")
    sets = "set: {data.tests: {gen: {kind: files, test: gen.tsv}}}"
    path = study(tmp_path, sets)
    Path(path).write_text(Path(path).read_text("utf-8").replace("metric: nll", "metric: nll, on: gen"), "utf-8")
    assert planning.load(path).split == "test"
    with pytest.raises(SpecError, match=r"mine.yaml:5: claims.0.on: test set 'gen' is sealed"):
        planning.load(path, sets={"evaluate": "validation"})


def test_claims_are_a_pilot_on_validation_and_confirmatory_on_the_test_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pilot, final = Store(tmp_path / "runs"), plan("validation"), plan()
    frozen_plan.freeze(pilot, store)
    finish(store, pilot, monkeypatch)
    assert set(frozen_plan.exploratory(pilot, store)) == {claim.name for claim in final.file.claims}
    frozen_plan.freeze(final, store)
    assert frozen_plan.exploratory(final, store) == {}
    place = ledger.standing(final, store)
    assert (place.number, place.sealed, place.tested) == (2, {pilot.digest: 8}, {})
    assert place.sentence == (
        "Attempt 2 at this study on this data: results of 1 earlier plan had been seen (8 finished trials) on the "
        "validation split; the test split had not been seen."
    )


def test_a_look_at_validation_does_not_wash_off_a_look_at_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "runs")
    first = planning.resolve(planning.load(study(tmp_path), seeds=2))
    frozen_plan.freeze(first, store)
    finish(store, first, monkeypatch)
    other = study(tmp_path)
    flipped = "[{name: d, better: {training.loss.mask: false}, than: {training.loss.mask: true}, metric: nll}]"
    lines = Path(other).read_text("utf-8").splitlines()
    Path(other).write_text("\n".join([*lines[:4], f"claims: {flipped}"]), "utf-8")
    pilot, again = (
        planning.resolve(planning.load(other, sets={"evaluate": split}, seeds=2)) for split in ("validation", "test")
    )
    frozen_plan.freeze(pilot, store)
    frozen_plan.freeze(again, store)
    assert "after 4 of 4 trials" in frozen_plan.exploratory(again, store)["d"]
    assert frozen_plan.dropped(again, store) == ["c"]
    place = ledger.standing(again, store)
    assert place.tested == {first.digest: 4} and "had not been seen" not in place.sentence


def test_going_back_to_a_plan_that_was_tested_does_not_say_that_the_test_was_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pilot, final = Store(tmp_path / "runs"), plan("validation"), plan()
    frozen_plan.freeze(final, store)
    frozen_plan.freeze(pilot, store)
    finish(store, pilot, monkeypatch)
    frozen_plan.freeze(final, store)
    place = ledger.standing(final, store)
    assert place.again and place.sentence.endswith("on the validation split.")


def test_lines_of_plans_on_the_test_are_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    frozen_plan.freeze(plan(), store)
    frozen_plan.freeze(plan("validation"), store)
    first, second = ledger.of_store(store, "masking").read_text("utf-8").splitlines()
    assert '"evaluate"' not in first and '"evaluate": "validation"' in second


def claims(folder: Path, **changes: Any) -> Path:
    """Change the claim of the study of ``study``."""
    path = folder / "mine.yaml"
    text = path.read_text("utf-8").splitlines()
    said = {"name": "d", "better": "{training.loss.mask: false}", "than": "{training.loss.mask: true}"} | changes
    path.write_text(
        "\n".join([*text[:4], f"claims: [{{{', '.join(f'{k}: {v}' for k, v in said.items())}, metric: nll}}]"]), "utf-8"
    )
    return path


def after_a_pilot(folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...]) -> Plan:
    """Run a pilot with seeds 1 to 3, turn its claim round, and freeze the test with some seeds."""
    path = study(folder)
    pilot = planning.resolve(planning.load(path, sets={"evaluate": "validation"}, seeds=3))
    frozen_plan.freeze(pilot, store)
    finish(store, pilot, monkeypatch)
    claims(folder)
    final = planning.resolve(replace(planning.load(path), seeds=seeds, looks=(len(seeds),)))
    frozen_plan.freeze(final, store)
    return final


def test_a_claim_made_from_a_pilot_is_exploratory_on_the_same_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that wins on validation wins on the test: choosing a claim there and testing it here is one look, not two."""
    store = Store(tmp_path / "runs")
    final = after_a_pilot(tmp_path, store, monkeypatch, (1, 2, 3))
    reason = "written or changed after 6 of 6 trials had finished, of the same trainings on the validation split"
    assert frozen_plan.exploratory(final, store)["d"].startswith(reason)
    assert frozen_plan.dropped(final, store) == ["c"]
    fresh = planning.resolve(replace(final, seeds=(4, 5, 6)))
    frozen_plan.freeze(fresh, store)
    assert frozen_plan.exploratory(fresh, store) == {}, "new trainings"
    frozen_plan.freeze(final, store)
    assert "the seeds were changed" in frozen_plan.exploratory(final, store)["d"], "no way back"


def test_a_claim_made_from_a_pilot_is_confirmatory_on_new_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "runs")
    final = after_a_pilot(tmp_path, store, monkeypatch, (4, 5, 6))
    assert frozen_plan.exploratory(final, store) == {} and frozen_plan.dropped(final, store) == []
    finish(store, final, monkeypatch)
    claims(tmp_path, name="e", by=0.5)
    later = planning.resolve(replace(planning.load(str(tmp_path / "mine.yaml")), seeds=(4, 5, 6), looks=(3,)))
    frozen_plan.freeze(later, store)
    assert "after 6 of 6 trials had finished" in frozen_plan.exploratory(later, store)["e"]


@pytest.mark.parametrize(("seeds", "kept"), [((1, 2), False), ((1, 2, 3, 4), False), ((4, 5), True), ((1, 2, 3), True)])
def test_seeds_cannot_be_chosen_by_a_pilot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: tuple[int, ...], kept: bool
) -> None:
    store, path = Store(tmp_path / "runs"), study(tmp_path)
    pilot = planning.resolve(planning.load(path, sets={"evaluate": "validation"}, seeds=3))
    frozen_plan.freeze(pilot, store)
    finish(store, pilot, monkeypatch)
    final = planning.resolve(replace(planning.load(path), seeds=seeds, looks=(len(seeds),)))
    frozen_plan.freeze(final, store)
    late = frozen_plan.exploratory(final, store)
    assert (late == {}) is kept
    assert kept or late["c"].startswith("the seeds were changed after results could be seen, of the same trainings")


def test_a_pilot_under_another_name_is_a_look_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = Store(tmp_path / "runs"), Path(study(tmp_path))
    pilot = planning.resolve(planning.load(str(path), sets={"evaluate": "validation"}, seeds=3))
    frozen_plan.freeze(pilot, store)
    finish(store, pilot, monkeypatch)
    path.rename(tmp_path / "other.yaml")
    other = planning.resolve(planning.load(str(tmp_path / "other.yaml"), seeds=3))
    frozen_plan.freeze(other, store)
    assert "for another study, of the same trainings" in frozen_plan.exploratory(other, store)["c"]
    fresh = planning.resolve(replace(other, seeds=(4, 5, 6)))
    frozen_plan.freeze(fresh, store)
    assert frozen_plan.exploratory(fresh, store) == {}
