"""A study that is killed again and again, at random instants, ends as one that never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Tell
from tiny import Home, computed_again, interrupted, study_file

KILLS = 50
LANES = 2
"""Studies at once."""
WAYS = ("machine", "machine", "parent", "parent", "worker", "SIGTERM", "SIGINT")
"""Who gets which signal: SIGKILL for all processes, for the parent alone or a worker; or a polite signal for the parent."""
STEPS = ("prepare", "train", "decode", "score", "report", "mirror")
PATIENCE = 120.0


def command(study: Path) -> list[str]:
    return ["run", str(study), "--jobs", "2", "--checkpoint-every", "0.1"]


def kill(running: subprocess.Popen[str], way: str) -> list[int]:
    """Send the signal and return the processes that it ends, if there were any to get it."""
    with suppress(psutil.Error):
        parent = psutil.Process(running.pid)
        children = parent.children(recursive=True)
        workers = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
        if way == "worker" and not workers:
            return []
        struck = {"machine": [parent, *children], "worker": workers[:1]}.get(way, [parent])
        for process in struck if running.poll() is None else []:
            process.send_signal(getattr(signal, way, signal.SIGKILL))
        return [process.pid for process in ([*struck, *children] if way != "worker" else struck)]
    return []


def open_steps(events: list[dict[str, Any]], struck: list[int]) -> set[str]:
    """Return what the struck processes were at, by the audit."""
    last = {(event["pid"], event["step"], event["key"]): event["what"] for event in events if event["pid"] in struck}
    return {step for (_, step, _), what in last.items() if what != "end"}


def finish(home: Home, study: Path, whole: dict[str, Any], told: str) -> None:
    """Run the study to its end and compare everything with the unbroken run."""
    for _ in range(3):  # a trial whose worker was killed may be tried again
        running = home.start(*command(study))
        if running.wait(PATIENCE) == 0:
            break
    assert running.returncode == 0, f"{told}: {home.said()}"
    assert home.quiet(), f"{told}: still running: {home.living()}"
    assert home.results_of() == whole["results"], told
    assert computed_again(home.events()) == [], told
    assert home.left_behind() == [], told
    assert home.settled(study) == whole["mirrored"], f"{told}: {home.said()}"
    assert "Traceback" not in home.said(), f"{told}: {home.said()}"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = Home(tmp_path_factory.mktemp("unbroken"))
    study = study_file(home.folder.parent / "studies")
    began = time.monotonic()
    assert home.start(*command(study)).wait(PATIENCE) == 0, home.said()
    seconds = time.monotonic() - began
    trained = {e["key"] for e in home.events() if e["step"] == "train"}
    assert len(trained) == 4 and not interrupted(home.events()).total() and not computed_again(home.events())
    return {"study": study, "seconds": seconds, "results": home.results_of(), "mirrored": home.settled(study)}


def lane(number: int, seed: int, kills: int, folder: Path, whole: dict[str, Any]) -> dict[str, Counter[str]]:
    """Kill study after study until enough kills have struck, finishing and comparing each."""
    rng = random.Random(f"{seed} {number}")
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("ways", "at", "other")}
    home, told = Home(folder / f"lane-{number}-0"), ""
    while counts["ways"].total() < kills:
        way, instant = rng.choice(WAYS), rng.uniform(0, whole["seconds"])
        running = home.start(*command(whole["study"]))
        with suppress(subprocess.TimeoutExpired):
            running.wait(instant)
        struck = kill(running, way) if running.poll() is None else []
        at = open_steps(home.events(), struck) or {"between"}
        code = running.wait(PATIENCE)
        if struck:
            counts["ways"][way] += 1
            counts["at"].update(at)
            told += f"{way} at {instant:.2f} s ({', '.join(sorted(at))}); "
            assert home.quiet(), f"{told} still running: {home.living()}"
        if code == 0:
            counts["other"]["studies"] += 1
            finish(home, whole["study"], whole, f"seed {seed}: {told}")
            _count_resumed(home, counts["other"])
            home, told = Home(folder / f"lane-{number}-{counts['other']['studies']}"), ""
    finish(home, whole["study"], whole, f"seed {seed}: {told}")
    _count_resumed(home, counts["other"])
    counts["other"]["studies"] += 1
    return counts


def _count_resumed(home: Home, counts: Counter[str]) -> None:
    events = home.events()
    counts["resumed from a checkpoint"] += sum(e.get("resumed", False) for e in events)
    counts["stages begun anew"] += interrupted(events).total()


def strike(home: Home, words: list[str], step: str, key: str = "") -> None:
    """Kill a run where a step, or the stage with a key, has done its work, but not yet declared it finished."""
    before, latest = len(home.events()), time.monotonic() + PATIENCE
    running = home.start(*words, FAULTS_HOLD=f"{step} {key}".strip())
    while not any(
        e["step"] == step and e["what"] == "produced" and key in ("", e["key"]) for e in home.events()[before:]
    ):
        assert time.monotonic() < latest and running.poll() is None, home.said()
        time.sleep(0.02)
    assert step in open_steps(home.events(), kill(running, "machine"))
    running.wait(PATIENCE)
    assert home.quiet()


def aim(home: Home, steps: list[str], whole: dict[str, Any]) -> None:
    """Kill one study where each of these steps has done its work, but not yet declared it finished."""
    for step in steps:
        strike(home, command(whole["study"]), step)
    finish(home, whole["study"], whole, f"aimed at {', '.join(steps)}")


def aim_past_a_checkpoint(home: Home, whole: dict[str, Any]) -> Counter[str]:
    """Kill one study where a training has just written a checkpoint, and finish it; return what was resumed."""
    counts = Counter[str]()
    strike(home, command(whole["study"]), "checkpoint")
    finish(home, whole["study"], whole, "aimed past a checkpoint")
    _count_resumed(home, counts)
    return counts


@pytest.mark.slow
def test_kills_at_random_instants_change_nothing(tmp_path: Path, unbroken: dict[str, Any], tell: Tell) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(10**6))
    kills = int(os.environ.get("FAULTS_KILLS") or KILLS)
    print(f"FAULTS_SEED={seed} repeats these instants")
    with ThreadPoolExecutor(LANES) as pool:
        done = pool.map(lambda n: lane(n, seed, kills // LANES, tmp_path, unbroken), range(LANES))
        found = list(done)
    counts = {name: sum((one[name] for one in found), Counter[str]()) for name in found[0]}
    missed = [step for step in STEPS if not counts["at"][step]]
    if missed:
        aim(Home(tmp_path / "aimed"), missed, unbroken)
    if not counts["other"]["resumed from a checkpoint"]:
        counts["other"] += aim_past_a_checkpoint(Home(tmp_path / "resumed"), unbroken)
    tell(
        f"kills: {counts['ways'].total()} at random instants of {counts['other']['studies']} studies (FAULTS_SEED={seed}), "
        f"{_listed(counts['ways'])}; struck at {_listed(counts['at'])}; aimed at {', '.join(missed) or 'none'}; "
        f"{_listed(counts['other'])}; computed twice: none"
    )
    assert counts["other"]["resumed from a checkpoint"], "no training goes on from a checkpoint after a kill"


SMALL: dict[str, Any] = {"data__dataset__train": 60, "training__updates": 20, "training__evaluate_every": 10}
MORE: dict[str, Any] = {
    "kind": "numbers", "source": "en", "reference": "zh", "train": 20, "validation": 10, "test": 20, "digits": 2
}  # fmt: skip
"""A further test set, decoded and scored beside the main one."""


@pytest.mark.slow
def test_a_trial_killed_at_every_stage_of_its_further_test_set_ends_with_the_same_rows(tmp_path: Path) -> None:
    study = study_file(tmp_path / "studies", cases={"plain": {}}, seeds=1, data__tests={"more": MORE}, **SMALL)
    words = ["run", str(study), "--jobs", "1", "--no-track"]
    whole, home = Home(tmp_path / "whole"), Home(tmp_path / "killed")
    whole.call(*words)
    ended = [(e["step"], e["key"]) for e in whole.events() if e["what"] == "end" and e["key"]]
    assert [step for step, _ in ended] == ["prepare", "test", "train", "decode", "score", "decode", "score"]
    for step, key in (ended[1], *ended[-2:]):
        strike(home, words, step, key)
    home.call(*words)
    assert home.results_of() == whole.results_of() and "more/nll" in home.results_of()["trials.csv"]
    assert computed_again(home.events()) == [] and home.left_behind() == []
    begun = Counter((e["step"], e["key"]) for e in home.events() if e["what"] == "begin" and e["key"])
    assert begun == Counter({stage: 1 + (stage in (ended[1], *ended[-2:])) for stage in ended})


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
