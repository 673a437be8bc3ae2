"""Any sequence of makings, failures, kills, damages and removals, by two openers of one store, against a plain model of it."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness.storage import disk, garbage
from harness.storage.store import Stage, Store
from unit.storage.test_store import DAMAGES

KEYS = ("a", "b")
CODES = ("c1", "c2", "c3")
SAME = {"c1": "one", "c2": "one", "c3": "two"}
"""What each version of the code makes: two of them make the same."""


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush nothing: there are kills here, but no power cuts, and flushing takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Killed(BaseException):
    """Nothing that the store does comes after it."""


@contextmanager
def killed_at(place: int) -> Iterator[None]:
    """End what is done inside at the flush or rename of this number."""
    calls, real = 0, {name: getattr(disk, name) for name in ("sync", "rename")}

    def counted(name: str) -> Callable[..., None]:
        def call(*paths: Path) -> None:
            nonlocal calls
            calls += 1
            if calls == place:
                raise Killed
            real[name](*paths)

        return call

    import harness.storage.sealing
    import harness.storage.store

    modules: tuple[Any, ...] = (disk, harness.storage.store, harness.storage.sealing)
    bound = [(module, name) for module in modules for name in real if hasattr(module, name)]
    for module, name in bound:
        setattr(module, name, counted(name))
    try:
        with suppress(Killed):
            yield
    finally:
        for module, name in bound:
            setattr(module, name, real[name])


class Stages(RuleBasedStateMachine):
    """Two stages upstream (train) and one downstream of each (decode)."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.stores = [Store(self.home / "runs"), Store(self.home / "runs")]
        self.done: dict[tuple[str, str], tuple[str, str]] = {}
        """Of every stage that is there and whole: its code, and what its upstream held when it was made."""
        self.said: dict[tuple[str, str], str] = {}
        """The code of every stage whose record can be read: a file beside it may be damaged, in its old size."""
        self.texts: dict[str, str] = {}
        """What stands in a stage, by its seal."""
        self.moved: dict[tuple[str, str], tuple[str, str]] = {}
        """What a kill left moved away, and not yet replaced: the next one puts it back or replaces it."""

    def teardown(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def stage(self, name: str, key: str, code: str) -> Stage:
        return Stage(name, key, {}, code, {"train": key} if name == "decode" else {})

    def upstream(self, name: str, key: str) -> str:
        code = self.said.get(("train", key)) if name == "decode" else None
        return SAME[code] if code else ""

    def state(self, name: str, key: str, code: str) -> str:
        made, upstream = self.done.get((name, key)), self.upstream(name, key)
        if made is None:
            return "absent"
        return "done" if made[0] == code and upstream in ("", made[1]) else "stale"

    def observe(self, name: str, key: str, code: str) -> None:
        """Take over what an attempt with this code left, which must be what was there, what was moved, or what it makes."""
        record, before = self.stores[1].record(name, key), self.done.pop((name, key), None)
        self.said.pop((name, key), None)
        if record is None:
            self.moved |= {(name, key): before} if before else {}
        elif self.stores[1].fault(name, key) == "":
            self.texts[record.seal] = SAME[record.stage.fingerprint]
            made = (record.stage.fingerprint, self.texts.get(record.seals.get("train", ""), ""))
            assert made in (before, self.moved.pop((name, key), None), (code, self.upstream(name, key)))
            self.done[name, key], self.said[name, key] = made, made[0]
        else:
            self.said[name, key] = record.stage.fingerprint

    @rule(
        name=st.sampled_from(["train", "decode"]),
        key=st.sampled_from(KEYS),
        code=st.sampled_from(CODES),
        by=st.integers(0, 1),
    )
    def make(self, name: str, key: str, code: str, by: int) -> None:
        called: list[Path] = []

        def produce(folder: Path) -> dict[str, Any]:
            called.append(folder)
            (folder / "model.txt").write_text(SAME[code], encoding="utf-8")
            (folder / "clock.jsonl").write_text(code, encoding="utf-8")
            return {}

        before = self.state(name, key, code)
        record, found = self.stores[by].make(self.stage(name, key, code), produce, {})
        assert found == (not called)
        assert found or before != "done", "what is done is not done again"
        assert (record.folder / "model.txt").read_text(encoding="utf-8") == SAME[code]
        assert not (record.folder / "checkpoint.pt").exists()
        self.observe(name, key, code)
        assert self.state(name, key, code) == "done"

    @rule(
        name=st.sampled_from(["train", "decode"]),
        key=st.sampled_from(KEYS),
        code=st.sampled_from(CODES),
        kind=st.sampled_from([ValueError, OSError, KeyboardInterrupt]),
    )
    def fail(self, name: str, key: str, code: str, kind: type[BaseException]) -> None:
        def produce(folder: Path) -> dict[str, Any]:
            (folder / "checkpoint.pt").write_text(code, encoding="utf-8")
            raise kind

        before = self.state(name, key, code)
        with suppress(kind):
            _, found = self.stores[0].make(self.stage(name, key, code), produce, {})
            assert found
            self.observe(name, key, code)
            return
        assert before != "done", "what is done is not begun again"
        work = self.home / "runs" / "work" / f"{name}-{key}"
        assert work.exists() == (kind is not ValueError)
        self.observe(name, key, code)

    @rule(
        name=st.sampled_from(["train", "decode"]),
        key=st.sampled_from(KEYS),
        code=st.sampled_from(CODES),
        place=st.integers(1, 25),
    )
    def is_killed(self, name: str, key: str, code: str, place: int) -> None:
        with killed_at(place):
            self.make(name, key, code, 0)
        self.observe(name, key, code)

    @precondition(lambda self: self.done)
    @rule(
        data=st.data(),
        damage=st.sampled_from(sorted(DAMAGES)),
        file=st.sampled_from(["model.txt", "clock.jsonl", "stage.json"]),
    )
    def damage(self, data: st.DataObject, damage: str, file: str) -> None:
        name, key = data.draw(st.sampled_from(sorted(self.done)))
        DAMAGES[damage](self.stores[0].folder(name, key) / file)
        del self.done[name, key]
        if self.stores[0].record(name, key) is None:
            assert damage != "flipped" or file == "stage.json"
            del self.said[name, key]

    @rule(referred=st.sets(st.sampled_from(KEYS)))
    def remove(self, referred: set[str]) -> None:
        folder = self.home / "runs" / "studies" / "study" / "base"
        garbage.refer(folder, {name: sorted(referred) for name in ("train", "decode")})
        garbage.remove(self.stores[1], self.home / "results")
        self.done = {(name, key): made for (name, key), made in self.done.items() if key in referred}
        self.said = {(name, key): made for (name, key), made in self.said.items() if key in referred}
        self.moved = {(name, key): made for (name, key), made in self.moved.items() if key in referred}
        stages = {path.name for path in (self.home / "runs").glob("stages/*/*")}
        assert stages <= referred and not any((self.home / "runs").glob("quarantine/*"))
        assert {path.name for path in (self.home / "runs" / "locks").iterdir()} <= {"store.lock"}

    @invariant()
    def is_as_the_model_says(self) -> None:
        for store in getattr(self, "stores", []):
            for name, key in itertools.product(("train", "decode"), KEYS):
                for code in CODES:
                    assert store.state(self.stage(name, key, code))[0] == self.state(name, key, code)
                assert (name, key) not in self.done or store.fault(name, key) == ""


def run(examples: int, steps: int) -> None:
    how = settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=set(Phase) - {Phase.shrink})
    run_state_machine_as_test(Stages, settings=how)


def test_histories() -> None:
    run(12, 25)


@pytest.mark.full
@pytest.mark.slow
def test_long_histories() -> None:
    run(60, 40)
