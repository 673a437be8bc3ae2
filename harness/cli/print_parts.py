"""What there is, as people see it in a terminal: parts, files, one variant, a dataset, what a model says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.padding import Padding
from rich.text import Text

from harness.cli.terminal import entry, grid, heading, indented, say, unmarked

WIDEST_TYPE = 36
"""Characters of a readable type that still fits a column."""


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def print_overview(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print what there is: a summary of each slot, then presets, bases and studies."""
    say(Text("slots (`s2s list SLOT` shows the settings of its parts)", style="bold"))
    for slot in found["slots"]:
        say(entry(slot["name"], f"{slot['summary']}: {', '.join(slot['kinds'])}"))
    for what in ("presets", "bases", "studies"):
        print_files(what, found[what])


def print_parts(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Print the parts of a slot, each with its settings."""
    for slot in found["slots"]:
        say(Text(f"{slot['name']}: {unmarked(slot['summary'])}", style="bold"))
    for part in found["parts"]:
        say(entry(part["kind"], part["summary"]))
        if part["settings"]:
            say(grid(map(_setting, part["settings"]), indent=6))


def _setting(said: Mapping[str, Any]) -> list[str]:
    default = "required" if said["required"] else f"= {_value(said['default'])}"
    if len(said["type"]) <= WIDEST_TYPE:
        return [said["name"], said["type"], default, unmarked(said["about"])]
    return [said["name"], "see right", default, f"{unmarked(said['about'])} Known: {said['type']}."]


def print_files(what: str, found: list[dict[str, str]]) -> None:
    """Print the bases, studies or presets that there are."""
    say(heading(what))
    for row in found:
        say(entry(row["name"], row["about"]))


def print_page(page: Mapping[str, Any]) -> None:
    """Print one variant: its choices, parts with formulas and sources, parameters and shapes."""
    say(Text(page["name"], style="bold"))
    say(*(Text(page[key]) for key in ("about", "source", "sizes") if page.get(key)))
    if page["skipped"]:
        say(Text(f"skipped: {page['skipped']}", style="red"))
    say(heading("choices"), *(indented(line) for line in _outline(page["choice"])))
    say(heading("parts"))
    for part in page["parts"]:
        say(entry(part["path"], f"{part['kind']} ({part['file']})"))
        say(indented(unmarked(part["about"]), by=6, style="dim"))
    if page["parameters"]:
        source, target = page["words"]
        say(heading(f"parameters, with vocabularies of {source:,} and {target:,} words"))
        say(grid(([name, f"{count:,}"] for name, count in page["parameters"].items()), right=1))
        say(heading("shapes"))
        say(grid([name, " x ".join(map(str, shape))] for name, shape in page["shapes"].items()))


def _outline(plain: Any, depth: int = 0) -> Iterator[str]:
    """Yield the lines of nested choices, as in a base file."""
    for key, value in plain.items():
        nested = isinstance(value, Mapping) and value
        small = nested and not any(isinstance(inner, Mapping) for inner in value.values())
        if small and depth:
            inside = ", ".join(f"{k}: {_value(v)}" for k, v in value.items())
            yield f"{'  ' * depth}{key}: {{{inside}}}"
        elif nested:
            yield f"{'  ' * depth}{key}:"
            yield from _outline(value, depth + 1)
        else:
            yield f"{'  ' * depth}{key}: {_value(value)}"


def print_dataset(facts: Mapping[str, Any]) -> None:
    """Print sizes, lengths, identity and first rows of a dataset."""
    splits: Mapping[str, Mapping[str, Any]] = facts["splits"]
    say(Text(f"sha256 {facts['sha256']}" + (f", revision {facts['revision']}" if facts["revision"] else "")))
    names = list(dict.fromkeys(name for said in splits.values() for name in said))
    rows = [[name.replace("_", " "), *(_shown(said.get(name, "")) for said in splits.values())] for name in names]
    say("", grid(rows, indent=0, headers=["", *splits], right=len(splits)))
    left_out = ", ".join(f"{reason}: {count:,}" for reason, count in facts.get("left_out", {}).items())
    say(*(["", f"left out: {left_out}"] if left_out else []))
    say(*(Text(f"check: {warning}", style="yellow") for warning in facts.get("warnings", ())))
    for split, first in facts["rows"].items():
        if first:
            say(heading(f"{split}, first rows"))
            say(grid([row["source"], " | ".join(row["references"])] for row in first))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


SHADES = " .:-=+*#%@"
"""A tenth of the weight each, least first."""


def _attention(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a map: a row for each target token, a character for each source token, darker with more weight."""
    width = max(map(len, shown["said"]))
    for token, row in zip(shown["said"], shown["weights"], strict=True):
        yield f"{token:>{width}} |" + "".join(SHADES[min(9, int(10 * weight))] for weight in row) + "|"
    yield f"{'':{width}}  columns: {' '.join(shown['source'])}"


def print_tried(answers: Iterable[Mapping[str, Any]]) -> None:
    """Print what a trained model says to each source, the log-probability that it gives, and where it looks."""
    for answer in answers:
        cut = ", cut at the limit" if answer["truncated"] else ""
        hypothesis = Text.assemble((answer["hypothesis"], "bold"), (f"  (log p {answer['score']:.2f}{cut})", "dim"))
        say(Text(answer["source"]), Padding(hypothesis, (0, 0, 0, 2), expand=False))
        ranked = [[f"{each['score']:.2f}", each["hypothesis"], "cut" if each["truncated"] else ""]
                  for each in answer.get("n_best", ())]  # fmt: skip
        say(*([grid(ranked, indent=4)] if ranked else []))
        if "attention" in answer:
            shown = answer["attention"]
            say(*(indented(line) for line in (["this model has no attention"] if shown is None else _attention(shown))))
