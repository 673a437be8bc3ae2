"""Studies, bases and presets: the user's own first, then what is shipped; and what to type where there is no Makefile."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.spec import SpecError
from harness.study import locate, planning


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x: 1\n")
    return path


def test_what_is_shipped_is_there_in_an_empty_folder() -> None:
    assert locate.study("masking") == locate.SHIPPED / "masking.yaml"
    assert {"numbers", "files"} <= set(locate.bases()) and "d2l" in locate.presets()


def test_a_file_of_ones_own_hides_the_one_that_is_shipped(elsewhere: Path) -> None:
    write(elsewhere / "studies/masking.yaml")
    write(elsewhere / "studies/bases/numbers.yaml")
    beside = write(elsewhere / "apart/bases/numbers.yaml")
    assert locate.study("masking") == Path("studies/masking.yaml")
    assert locate.base("numbers") == Path("studies/bases/numbers.yaml")
    assert locate.base("numbers", elsewhere / "apart") == beside
    assert locate.base("scan", elsewhere / "apart") == locate.SHIPPED / "bases/scan.yaml"


def test_a_path_is_seen_from_the_study_or_from_here(elsewhere: Path) -> None:
    near, here = write(elsewhere / "apart/b.yaml"), write(elsewhere / "c.yaml")
    assert locate.base("b.yaml", elsewhere / "apart") == near and locate.base("c.yaml") == Path(here.name)
    with pytest.raises(SpecError, match=r"d\.yaml: no such file; study files end in \.yaml"):
        locate.study("d.yaml")


def test_replications_have_a_folder_of_their_own(elsewhere: Path) -> None:
    card, study = write(elsewhere / "studies/replications/mine.yaml"), write(elsewhere / "studies/masking.yaml")
    write(elsewhere / "studies/replications/masking.yaml")
    assert locate.study("replications/mine") == locate.study("mine") == card.relative_to(elsewhere)
    assert locate.study("masking") == study.relative_to(elsewhere), "a study of the name comes first"
    assert {"masking", "replications/mine", "replications/masking"} <= set(locate.studies())
    with pytest.raises(SpecError, match=r"no study is called 'replications/mime'.*replications/mine"):
        locate.study("replications/mime")


def test_without_a_checkout_a_study_is_run_by_the_command_itself() -> None:
    again = planning.command("masking", "scan", {"training.clip": 1.0}, 3)
    assert again == "s2s run masking --base scan --seeds 3 --set training.clip=1.0"
