"""How the terminal shows parts, files, one variant, a dataset, and the answers of a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from harness.cli.terminal import Hanging, entry, grid, heading, indented, paragraphs, say, unmarked


def _value(value: Any) -> str:
    """Return a value as a study file writes it."""
    return (value or "''") if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def print_overview(found: Mapping[str, Any]) -> None:
    """Print every slot with its summary and, below it, its kinds; then presets, bases and studies."""
    say(Text("slots, each with the kinds of part that fill it (settings: `s2s list SLOT`)", style="bold"))
    for slot in found["slots"]:
        say(entry(slot["name"], slot["summary"]), indented(", ".join(slot["kinds"]), by=6, style="green"))
    for what in ("presets", "bases", "studies"):
        print_files(what, found[what])
    if found.get("plugins"):
        say(heading("plugins of installed packages, loaded by --plugin NAME"))
        say(*(entry(name, package) for name, package in found["plugins"].items()))


def print_parts(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print the parts of each slot with their settings; settings that all parts of a slot share come first, once."""
    for slot in found["slots"]:
        parts = [part for part in found["parts"] if part["slot"] == slot["name"]]
        shared = (
            [row for row in parts[0]["settings"] if all(row in part["settings"] for part in parts)] if parts else []
        )
        shared = shared if len(parts) > 1 else []
        say(Text(f"{slot['name']}: {unmarked(slot['summary'])}", style="bold"))
        say(*([indented("settings of every kind:", style="dim")] if shared else []), *map(_setting, shared))
        for part in parts:
            own = [row for row in part["settings"] if row not in shared]
            better = f" ({part['better']} is better)" if part["better"] in ("higher", "lower") else ""
            say(entry(part["kind"], part["summary"] + better), *map(_setting, own))


def _setting(row: Mapping[str, Any]) -> Hanging:
    """Return a setting with its type, its default, and its description."""
    default = "required" if row["required"] else f"default {_value(row['default'])}"
    kind = Text(f"{row['type']}, {default}", style="dim")
    return Hanging(Text.assemble((row["name"], "bold"), ": ", kind, f". {unmarked(row['about'])}"), 6, 4)


def print_files(what: str, found: list[dict[str, str]]) -> None:
    """Print bases, studies or presets with their descriptions."""
    say(heading(what))
    for row in found:
        say(entry(row["name"], row["about"]))


def print_page(page: Mapping[str, Any]) -> None:
    """Print one variant: its choices, parts with formulas and sources, parameters and shapes."""
    say(Text(page["name"], style="bold"))
    say(*(Text(page[key]) for key in ("about", "source", "sizes") if page.get(key)))
    if page["skipped"]:
        say(Text(f"skipped: {page['skipped']}", style="red"))
    say(heading("choices"), *_outline(page["choice"]))
    say(heading("parts"))
    for part in page["parts"]:
        say(entry(part["path"], f"{part['kind']} ({part['file']})"))
        say(indented("\n\n".join(paragraphs(part["about"])), by=6, style="dim"))
    if page["parameters"]:
        source, target = page["words"]
        say(heading(f"parameters, with vocabularies of {source:,} and {target:,} words"))
        say(grid(([name, f"{count:,}"] for name, count in page["parameters"].items()), right=1))
        say(heading("shapes"))
        say(grid([name, " x ".join(map(str, shape))] for name, shape in page["shapes"].items()))


def _outline(plain: Any, depth: int = 0) -> Iterator[RenderableType]:
    """Yield the lines of nested choices, as in a base file."""
    by = 2 + 2 * depth
    for key, value in plain.items():
        nested = isinstance(value, Mapping) and value
        small = nested and not any(isinstance(inner, Mapping) for inner in value.values())
        if small and depth:
            inside = ", ".join(f"{k}: {_value(v)}" for k, v in value.items())
            yield indented(f"{key}: {{{inside}}}", by, hang=4)
        elif nested:
            yield indented(f"{key}:", by)
            yield from _outline(value, depth + 1)
        else:
            yield indented(f"{key}: {_value(value)}", by, hang=4)


def print_dataset(facts: Mapping[str, Any]) -> None:
    """Print sizes and lengths of a dataset, warnings, its first rows, and what identifies it."""
    splits: Mapping[str, Mapping[str, Any]] = facts["splits"]
    names = list(dict.fromkeys(name for facts_of in splits.values() for name in facts_of))
    rows = [
        [name.replace("_", " "), *(_shown(facts_of.get(name, "")) for facts_of in splits.values())] for name in names
    ]
    say(grid(rows, indent=0, headers=["", *splits], right=len(splits)))
    left_out = ", ".join(f"{reason}: {count:,}" for reason, count in facts.get("left_out", {}).items())
    say(*(["", f"rows left out: {left_out}"] if left_out else []))
    say(*(Text(f"check: {warning}", style="yellow") for warning in facts.get("warnings", ())))
    for split, first in facts["rows"].items():
        if first:
            say(heading(f"{split}, first rows"))
            say(grid([row["source"].replace("\t", "  "), " | ".join(row["references"])] for row in first))
    say("", Text(f"sha256 {facts['sha256']}" + (f", revision {facts['revision']}" if facts["revision"] else "")))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


SHADES = " .:-=+*#%@"
"""Characters for attention weights, a tenth each, from the least to the most."""


def _attention(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of an attention map: a row a target token, a character a source token, darker with more weight."""
    width = max(map(len, shown["said"]))
    for token, row in zip(shown["said"], shown["weights"], strict=True):
        yield f"{token:>{width}} |" + "".join(SHADES[min(9, int(10 * weight))] for weight in row) + "|"
    yield f"{'':{width}}  columns: {' '.join(shown['source'])}"


def print_tried(answers: Iterable[Mapping[str, Any]]) -> None:
    """Print the answer to each source text, its log-probability, and the attention map."""
    for answer in answers:
        cut = ", cut at the limit" if answer["truncated"] else ""
        hypothesis = Text.assemble((answer["hypothesis"], "bold"), (f"  (log p {answer['score']:.2f}{cut})", "dim"))
        say(Text(answer["source"]), Hanging(hypothesis, 2, 4))
        ranked = [[f"{each['score']:.2f}", each["hypothesis"], "cut" if each["truncated"] else ""]
                  for each in answer.get("n_best", ())]  # fmt: skip
        say(*([grid(ranked, indent=4)] if ranked else []))
        if "attention" in answer:
            shown = answer["attention"]
            say(*(indented(line) for line in (["the model has no attention"] if shown is None else _attention(shown))))
