"""The training of an ensemble: its members one after the other, each an ordinary training in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from harness.contracts.training_choice import TrainingChoice
from harness.core.seeds import member_seed
from harness.storage import checkpoint
from harness.storage.checkpoint import otherwise, spelled
from harness.storage.disk import make_folder
from harness.trial.train import ELSEWHERE, Emit, Workplace

Train = Callable[[TrainingChoice, int, Workplace], dict[str, Any]]
"""Trains one model in a folder, from a choice and a seed, and returns facts."""
Member = dict[str, Any]
"""What is kept of a member that is trained: facts, tensors by file, points of curve and clock, and the place."""
LINES = ("curve.jsonl", "clock.jsonl")
SUMMED = ("params", "updates", "epochs", "target_tokens", "train_seconds", "train_flops")
"""Facts of which an ensemble costs as much as its members together."""
OWN = ("updates", "best_update", "best_dev_nll")
"""Facts that are told of each member."""


def train_all(train: Train, choice: TrainingChoice, seed: int, at: Workplace) -> dict[str, Any]:
    """Train the members of an ensemble, write their parameters into one file and their curves, and return facts.

    The curve goes through the updates of all members. Interrupted anywhere, the same call goes on from the last checkpoint
    of the member that was being trained.

    Raises:
        Diverged: the loss of a member became infinite or no number.
    """
    members: list[Member] = []
    for number in range(choice.members):
        members.append(_finished(at, number) or _trained(train, choice, seed, at, members))
        shutil.rmtree(_folder(at, number), ignore_errors=True)  # there too if it was interrupted just here before
    _write(members, at.folder)
    for number in range(choice.members):
        _path(at, number).unlink()
    return _facts(members, at)


def by_itself(choice: TrainingChoice, number: int) -> TrainingChoice:
    """Return how a member, counted from 0, is trained; a stream that is fixed has a fixed stream for each of them."""
    fixed = {name: seed for name, seed in choice.fixed if seed}
    streams = choice.fixed.changed(**{name: member_seed(seed, number) for name, seed in fixed.items()})
    return choice.changed(members=1, fixed=streams)


def _folder(at: Workplace, number: int) -> Path:
    return at.folder / f"member_{number}"


def _path(at: Workplace, number: int) -> Path:
    return at.folder / f"member_{number}.pt"


def _finished(at: Workplace, number: int) -> Member | None:
    """Return a member that was trained before an interruption."""
    path = _path(at, number)
    if not path.exists():
        return None
    try:
        member = checkpoint.read(path)
    except checkpoint.Unreadable as error:
        path.unlink()
        at.emit({"note": f"member {number} cannot be read and is thrown away, it is trained anew ({error})"})
        return None
    if away := otherwise(member["place"], at.place):
        told = f"{spelled(away)} there, {spelled(otherwise(at.place, member['place']))} here"
        at.emit(
            {"note": f"member {number} was trained elsewhere ({told}): its last bits may differ from those of here"}
        )
    return member


def _trained(train: Train, choice: TrainingChoice, seed: int, at: Workplace, before: Sequence[Member]) -> Member:
    """Train the next member in a folder of its own, and keep what it leaves there in one file."""
    number, folder = len(before), make_folder(_folder(at, len(before)))
    emit = _counted(at.emit, sum(member["facts"]["updates"] for member in before), choice.members - number)
    own = at._replace(folder=folder, emit=emit)
    facts = train(by_itself(choice, number), member_seed(seed, number), own)
    member: Member = {name: _read_lines(folder / name) for name in LINES} | {"facts": facts, "place": at.place}
    member["files"] = {path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    checkpoint.write(_path(at, number), member)
    return member


def _counted(emit: Emit, before: int, left: int) -> Emit:
    """Return where a member reports to: its updates follow those of the members before it, and as many members are left."""

    def counted(event: dict[str, Any]) -> None:
        if "updates" in event:
            event = event | {"update": before + event["update"], "updates": before + left * event["updates"]}
        emit(event)

    return counted


def _write(members: Sequence[Member], folder: Path) -> None:
    for name in members[0]["files"]:
        each = (
            (f"members.{number}.{tensor}", value)
            for number, member in enumerate(members)
            for tensor, value in member["files"][name].items()
        )
        save_file(dict(each), folder / name)
    for name in LINES:
        before, lines = 0, []
        for number, member in enumerate(members):
            lines += [point | {"update": before + point["update"], "member": number} for point in member[name]]
            before += member["facts"]["updates"]
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _facts(members: Sequence[Member], at: Workplace) -> dict[str, Any]:
    each = [member["facts"] for member in members]
    facts = each[0] | {name: sum(one[name] for one in each) for name in SUMMED}
    facts |= {
        "epochs": round(facts["epochs"], 3),
        "peak_memory_mb": max(one["peak_memory_mb"] for one in each),
        "target_tokens_per_second": facts["target_tokens"] / facts["train_seconds"],
        "train_flops_per_token": facts["train_flops"] / facts["target_tokens"],
        "members": [{name: one[name] for name in OWN} for one in each],
    }
    elsewhere = [place for one in each for place in one.get(ELSEWHERE, [])]
    elsewhere += [away for member in members if (away := otherwise(member["place"], at.place))]
    facts |= (
        {ELSEWHERE: [place for n, place in enumerate(elsewhere) if place not in elsewhere[:n]]} if elsewhere else {}
    )
    return {name: fact for name, fact in facts.items() if name not in ("best_update", "best_dev_nll")}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
