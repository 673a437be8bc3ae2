"""A warm process that damages one file of a finished study after the other, and answers the study again in a child.

``python damage.py FOLDER EVERY``: prints, per damage, what was computed again and what was wrong, as a line of JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boundaries import SIZES, answered, forked, swept
from tiny import STAGES, Home, study_file

WAYS = ("flip", "cut", "delete")


def hurt(path: Path, way: str) -> None:
    """Flip the middle bit of a file, cut it in half, or delete it."""
    content = path.read_bytes()
    if way == "delete":
        path.unlink()
    elif way == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :])


def noticed(home: Home) -> list[str]:
    """Return the stages that ``s2s gc --check`` would name."""
    from harness.storage.garbage import damage
    from harness.storage.store import Store

    return [name for (name, _), _ in damage(Store(home.store))]


def wrong(home: Home, whole: Home, hurt_stage: str, path: Path, answer: dict[str, Any]) -> str:
    """Say what is not as it should be after a damaged study was answered again."""
    told = json.loads((home.folder / "answer.json").read_text())
    if told != answer:
        return f"another answer: {told}"
    computed = [event["step"] for event in home.events() if event["what"] == "begin"]
    if computed not in ([], [hurt_stage]):
        return f"computed {computed}"
    if home.outputs() == whole.outputs() and not noticed(home):
        kept = [event for event in home.events() if event["what"] == "end"]
        return "" if len(kept) == len(computed) else "begun and not finished"
    if computed:
        return "done anew, but not the same"
    # Nothing needed it: it is still damaged, and whoever looks after the store is told.
    return "" if noticed(home) == [hurt_stage] else f"{path.name} is damaged and nobody is told: {noticed(home)}"


def main(folder: Path, every: int) -> None:
    """Answer a study, then damage, answer and compare, every so-manieth of all ways to damage each file."""
    import variants  # noqa: F401
    from harness.study.planning import load, resolve
    from harness.workflows import answer_cache

    study = study_file(folder / "studies", cases={"plain": {}}, seeds=1, **SIZES)
    whole = Home(folder / "whole")

    def told(home: Home) -> None:
        made = answered(home, study, "store")
        (home.folder / "answer.json").write_text(json.dumps([made.table, made.verdicts, made.failed]))

    if forked(lambda: told(whole), folder / "said.txt"):
        raise SystemExit((folder / "said.txt").read_text())
    swept(whole)
    answer_cache.code()  # the children need not read the code again for its fingerprint
    [trial.stages for _, _, trial in resolve(load(str(study))).trials()]
    expected = json.loads((whole.folder / "answer.json").read_text())
    for stage, file, way, known in damages(whole, every):
        home = Home(folder / f"{stage}-{file.name}-{way}-{known}")
        shutil.copytree(whole.store, home.store)
        if not known:
            for memory in home.store.glob("studies/*/*/answer.json"):
                memory.unlink()
        hurt(home.store / file.relative_to(whole.store), way)
        code = forked(lambda: told(home), home.folder / "said.txt")  # noqa: B023 (called at once)
        fault = (home.folder / "said.txt").read_text()[-1000:] if code else ""
        fault = fault or wrong(home, whole, stage, file, expected)
        remade = len([event for event in home.events() if event["what"] == "end"])
        said = {"stage": stage, "file": file.name, "way": way, "known": known, "remade": remade}
        print(json.dumps(said | {"wrong": fault}), flush=True)
        if not fault:
            shutil.rmtree(home.folder)


def damages(whole: Home, every: int) -> Iterator[tuple[str, Path, str, bool]]:
    """Yield the stage, the file, the way, and whether the study remembers its answer: every so-manieth of each stage."""
    for stage in STAGES:
        files = sorted((whole.store / "stages" / stage).glob("*/*"))
        ways = (("flip", True), *((way, False) for way in WAYS))
        yield from [(stage, file, way, known) for file in files for way, known in ways][::every]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
