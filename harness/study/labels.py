"""Labels of variants in reports, tables and figures: a matter of presentation, of no meaning for plans, trials and claims."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.core.registry import suggest
from harness.core.spec import SpecError
from harness.study.grid import CASE, STEP, StudyFile, Variant, factor_text, short_names, show


@dataclass(frozen=True)
class Labels:
    """What a reader sees in place of the names of variants and settings."""

    variants: Mapping[str, str] = field(default_factory=dict)
    """The label of every variant by its name; empty where a study names none."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Labels of variants, settings and values, by what stands for them in texts."""

    def variant(self, name: str) -> str:
        """Return the label of a variant; its name where it has none."""
        return self.variants.get(name, name)

    def text(self, text: str) -> str:
        """Return the name of a side of a comparison, or the path of a setting, with labels in place of what they stand for."""
        if not self.texts:
            return text
        known = "|".join(map(re.escape, sorted(self.texts, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.=-])({known})(?![\w.-])", lambda found: self.texts[found[1]], text)


def labels_of(file: StudyFile, variants: Sequence[Variant]) -> Labels:
    """Return the labels of a study.

    Raises:
        SpecError: a label is for nothing that the study has, or is empty, or two variants would look the same.
    """
    said = file.labels
    if not said:
        return Labels()
    values = {f"{path}={show(value)}": (path, value) for variant in variants for path, value in variant.factors.items()}
    _check(said, [*(v.name for v in variants), *values, *file.vary, *file.zip, *file.cases, *file.ladder])
    short = short_names([*file.vary, *file.zip])
    names = {
        v.name: said.get(v.name) or ", ".join(_piece(said, short, *f) for f in v.factors.items()) for v in variants
    }
    names = {name: label or name for name, label in names.items()}
    for name, label in names.items():
        twin = next(other for other, its in names.items() if its == label)
        if twin != name:
            raise SpecError(f"'{twin}' and '{name}' would both be called '{label}'", path="labels")
    texts = {text: label for text, (path, value) in values.items() if (label := _value(said, path, value))}
    texts |= {factor_text(short, *values[text]): label for text, label in texts.items()}
    texts |= {path: label for path, label in said.items() if path in short} | names
    return Labels(names, {text: label for text, label in texts.items() if text != label})


def _check(said: Mapping[str, str], known: Sequence[str]) -> None:
    for name, label in said.items():
        if name not in known:
            message = (
                f"this study has no variant, setting or case '{name}'; {suggest(name, list(dict.fromkeys(known)))}"
            )
            raise SpecError(message, path="labels")
        if not label.strip() or not label.isprintable():
            raise SpecError(f"the label of '{name}' needs characters that can be seen", path="labels")


def _value(said: Mapping[str, str], path: str, value: Any) -> str:
    """Return the label of a setting with its value; "" where neither has one."""
    if (whole := f"{path}={show(value)}") in said:
        return said[whole]
    if path in (CASE, STEP):
        return said.get(str(value), "")
    return f"{said[path]}={show(value)}" if path in said else ""


def _piece(said: Mapping[str, str], short: Mapping[str, str], path: str, value: Any) -> str:
    """Return what the label of a variant says of one of its settings."""
    text = factor_text(short, path, value)
    label = _value(said, path, value)
    return f"+ {label}" if label and text.startswith("+ ") else label or text
