from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from harness.core.spec import read
from variants.data_dates import FORMATS, MONTHS, Dates, ordinal


def dataset(**settings: Any) -> Dates:
    return Dates(read(Dates.Config, {"train": 400, "validation": 50, "test": 100} | settings))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_named_by_how_it_writes_the_third_of_march(name: str) -> None:
    assert FORMATS[name](date(2009, 3, 3)) == name


@pytest.mark.parametrize(
    ("day", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th")]
)
def test_ordinals_by_hand(day: int, text: str) -> None:
    assert ordinal(day) == text
    assert [ordinal(20 + day) for day in (1, 2, 3)] == ["21st", "22nd", "23rd"]


def test_other_days_by_hand() -> None:
    assert FORMATS["tue, march 3, 2009"](date(1999, 12, 31)) == "fri, december 31, 1999"
    assert FORMATS["03-mar-2009"](date(1904, 9, 30)) == "30-sep-1904"
    assert FORMATS["3.3.2009"](date(2011, 11, 1)) == "1.11.2011"


@pytest.mark.parametrize("split", ["iid", "years", "formats"])
def test_every_row_is_its_day_and_falls_on_its_side(split: str) -> None:
    used = set()
    for name, rows in dataset(split=split).load().items():
        for source, (reference,), group, _, columns in rows:
            day = date.fromisoformat(reference)
            assert group == reference
            assert FORMATS[columns["format"]](day) == source
            assert columns["month"] == MONTHS[day.month - 1]
            used.add(columns["format"])
            if split == "years":
                assert (day.year >= 2000) == (name == "test")
            if split == "formats":
                assert columns["format"] in (list(FORMATS)[-2:] if name == "test" else list(FORMATS)[:-2])
    assert used == set(FORMATS)
