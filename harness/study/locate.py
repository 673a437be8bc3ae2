"""Where studies, bases and presets are: the user's own folder first, then what is shipped with the program."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from harness.core.registry import suggest
from harness.core.spec import SpecError

SHIPPED = Path(__file__).resolve().parents[1] / "shipped"
"""The shipped studies: a link to ``studies/`` in a checkout, a folder of the package where it is installed."""
ENDINGS = (".yaml", ".yml")
REPLICATIONS = "replications"
"""The folder beside the studies for those that stand beside published values."""


def studies() -> dict[str, Path]:
    """Return the files of all studies by name; replications are called ``replications/NAME``."""
    homes = [Path("studies"), SHIPPED]
    cards = _named([home / REPLICATIONS for home in homes])
    return _named(homes) | {f"{REPLICATIONS}/{name}": path for name, path in cards.items()}


def bases(*first: Path) -> dict[str, Path]:
    """Return the files of all bases by name; those in the folders ``first`` hide others of the same name."""
    return _named([*first, Path("studies/bases"), SHIPPED / "bases"])


def presets() -> dict[str, Path]:
    """Return the files of all presets by name."""
    found = importlib.util.find_spec("variants")
    shipped = [Path(found.origin).parent / "presets"] if found is not None and found.origin else []
    return _named([Path("studies/presets"), *shipped])


def study(name: str) -> Path:
    """Return the file of a study, given its name or a path; ``replications/`` may be left out where no study has the name.

    Raises:
        SpecError: there is none, with the nearest name.
    """
    known, card = studies(), f"{REPLICATIONS}/{name}"
    return _find(card if card in known and name not in known else name, known, "study")


def base(name: str, home: Path | None = None) -> Path:
    """Return the file of a base, given its name or a path, seen from the folder of a study (``home``) or from here.

    Raises:
        SpecError: there is none, with the nearest name.
    """
    if home is not None and Path(name).suffix in ENDINGS and (home / name).is_file():
        return home / name
    return _find(name, bases(*([home / "bases"] if home is not None else [])), "base")


def preset(name: str) -> Path:
    """Return the file of a preset, given its name or a path.

    Raises:
        SpecError: there is none, with the nearest name.
    """
    return _find(name, presets(), "preset")


def _find(name: str, known: dict[str, Path], what: str) -> Path:
    given = Path(name)
    if given.suffix in ENDINGS:
        if given.is_file():
            return given
        raise SpecError(f"no such file; {what} files end in .yaml", place=name)
    if name not in known:
        raise SpecError(f"no {what} is called '{name}'; {suggest(name, known)}")
    return known[name]


def _named(homes: Iterable[Path]) -> dict[str, Path]:
    """Return the YAML files of some folders by name; a file hides those of the same name in later folders."""
    return {path.stem: path for home in reversed(list(homes)) for path in sorted(home.glob("*.yaml"))}
