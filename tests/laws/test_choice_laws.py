"""Laws of choices: what is written out reads back as the same, and the digest tells meanings apart."""

from __future__ import annotations

from typing import Any

import choices

from harness.contracts import Search
from harness.core.registry import SLOTS, Choice
from harness.core.spec import digest, encode, flatten, override, read
from harness.trial.model import ModelChoice


def shuffled(plain: Any) -> Any:
    """The same data with names in another order."""
    return {key: shuffled(plain[key]) for key in sorted(plain, reverse=True)} if isinstance(plain, dict) else plain


def test_a_choice_survives_the_round_trip(plain: Any) -> None:
    choice = read(ModelChoice, plain)
    again = read(ModelChoice, encode(choice))
    assert again == choice and encode(again) == encode(choice)
    assert digest(again) == digest(choice) == digest(read(ModelChoice, shuffled(plain)))


def test_the_digest_tells_meanings_apart() -> None:
    sample = choices.models() + choices.searches()
    digests = {digest(read(Search.kinds[p["kind"]].Config if "kind" in p else ModelChoice, p)) for p in sample}
    assert len(digests) == len(sample)


def test_every_setting_counts(plain: Any) -> None:
    before = digest(read(ModelChoice, plain))
    for path, value in flatten(plain).items():
        if isinstance(value, bool):
            other: Any = not value
        elif isinstance(value, int):
            other = value + 1
        elif isinstance(value, float):
            other = value / 2 if value else 0.5
        else:
            continue
        assert digest(read(ModelChoice, override(ModelChoice, plain, {path: other}))) != before, path


def test_every_part_explains_its_settings() -> None:
    for slot in SLOTS.values():
        for kind, part in slot.kinds.items():
            assert part.__doc__ and part.Config.__doc__, f"{slot.__name__} '{kind}' has no docstring"
            config: type[Choice] = part.Config
            for name, field in config.model_fields.items():
                assert field.description, f"{slot.__name__} '{kind}': setting '{name}' has no docstring"
