"""Stages appear whole, are made once, go stale with their code and inputs, survive interruption, and vouch for themselves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.storage import disk, sealing
from harness.storage.store import Busy, Damaged, Record, Stage, Store, write


def stage(name: str = "train", key: str = "k1", code: str = "c1", **inputs: str) -> Stage:
    return Stage(name, key, {"lr": 0.1}, code, inputs)


def produce(text: str = "weights") -> Any:
    def into(folder: Path) -> dict[str, Any]:
        (folder / "model.txt").write_text(text, encoding="utf-8")
        (folder / "clock.jsonl").write_text(str(id(text)), encoding="utf-8")
        return {"params": 3}

    return into


def test_a_stage_is_made_once_and_found_after(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made, found = store.make(stage(), produce(), {"threads": 1})
    assert not found and made.facts == {"params": 3} and made.provenance == {"threads": 1}
    again, found = store.make(stage(), lambda folder: pytest.fail("made twice"), {})
    assert found and again == made
    assert store.state(stage()) == ("done", "")


def test_a_failure_leaves_nothing_and_an_interruption_leaves_its_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fails(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("x", encoding="utf-8")
        raise ValueError("no")

    def is_interrupted(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint").write_text("x", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="no"):
        store.make(stage(), fails, {})
    assert store.record("train", "k1") is None and not any((tmp_path / "work").iterdir())
    with pytest.raises(KeyboardInterrupt):
        store.make(stage(), is_interrupted, {})
    seen = []

    def goes_on(folder: Path) -> dict[str, Any]:
        seen.extend(sorted(path.name for path in folder.iterdir()))
        return {}

    store.make(stage(), goes_on, {})
    assert "checkpoint" in seen


def test_half_written_files_of_a_killed_run_do_not_stay(tmp_path: Path) -> None:
    whole, _ = Store(tmp_path / "whole").make(stage(), produce("same"), {})
    work = tmp_path / "broken" / "work" / "train-k1"

    def is_killed(folder: Path) -> dict[str, Any]:
        (folder / "model.part").write_text("half", encoding="utf-8")
        (folder / ".tmpXYZ").write_text("half, as safetensors writes", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "broken").make(stage(), is_killed, {})
    assert (work / "model.part").exists()
    resumed, _ = Store(tmp_path / "broken").make(stage(), produce("same"), {})
    assert resumed.seal == whole.seal and {path.name for path in resumed.folder.iterdir()} == {
        path.name for path in whole.folder.iterdir()
    }


def test_a_checkpoint_of_other_code_is_thrown_away(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def is_interrupted(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint").write_text("x", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make(stage(code="c1"), is_interrupted, {})
    store.make(stage(code="c2"), lambda folder: {"left": (folder / "checkpoint").exists()}, {})
    record = store.record("train", "k1")
    assert record is not None and record.facts == {"left": False}


def test_changed_code_makes_a_stage_stale_and_the_old_one_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make(stage(code="c1"), produce("old"), {})
    assert store.state(stage(code="c2")) == ("stale", "the code of train has changed")
    kept, found = store.make(stage(code="c2"), produce("new"), {}, keep_stale=True)
    assert found and (kept.folder / "model.txt").read_text(encoding="utf-8") == "old"
    made, found = store.make(stage(code="c2"), produce("new"), {})
    assert not found and (made.folder / "model.txt").read_text(encoding="utf-8") == "new"


def test_downstream_is_stale_only_if_upstream_has_other_results(tmp_path: Path) -> None:
    store = Store(tmp_path)
    below = stage("decode", "k2", train="k1")
    store.make(stage(), produce("same"), {})
    store.make(below, produce("hypotheses"), {})
    store.make(stage(code="c2"), produce("same"), {})
    assert store.state(below)[0] == "done", "equal seals: what stands in clock.jsonl does not count"
    store.make(stage(code="c3"), produce("other"), {})
    assert store.state(below) == ("stale", "train was recomputed with other results")


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    calls = []
    ready = threading.Barrier(2)

    def slow(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        threading.Event().wait(0.2)
        return {}

    def run() -> None:
        ready.wait()
        Store(tmp_path).make(stage(), slow, {})

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    Store(tmp_path / "a").make(stage(), produce(), {})
    (tmp_path / "a").rename(tmp_path / "b")
    record = Store(tmp_path / "b").record("train", "k1")
    assert record is not None and (record.folder / "model.txt").exists()
    assert str(tmp_path) not in (record.folder / "stage.json").read_text(encoding="utf-8")


def test_what_does_not_say_done_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.folder("train", "k1").mkdir(parents=True)
    assert store.state(stage())[0] == "absent"


def test_write_replaces_whole_files(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "a.json", json.dumps({"a": 1}))
    write(tmp_path / "deep" / "a.json", json.dumps({"a": 2}))
    assert json.loads((tmp_path / "deep" / "a.json").read_text(encoding="utf-8")) == {"a": 2}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path, place: int = -1) -> None:
    found = bytearray(path.read_bytes())
    found[place] ^= 1
    path.write_bytes(bytes(found))


def rewrite(record: Path, stage: dict[str, Any] | None = None, **changes: Any) -> None:
    """Change what a record says, and its checksum with it."""
    said = json.loads(record.read_text(encoding="utf-8")) | changes
    said["stage"] |= stage or {}
    del said["check"]
    record.write_text(json.dumps(said | {"check": sealing._digest(said)}), encoding="utf-8")


DAMAGES: dict[str, Callable[[Path], None]] = {"cut": cut, "removed": Path.unlink, "flipped": flip}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["model.txt", "clock.jsonl", "stage.json"])
def test_a_damaged_stage_is_absent_and_done_anew_and_the_old_one_is_kept(
    tmp_path: Path, file: str, damage: str
) -> None:
    store = Store(tmp_path)
    record, _ = store.make(stage(), produce(), {})
    below, _ = store.make(stage("decode", "k2", train="k1"), produce("words"), {})
    DAMAGES[damage](record.folder / file)
    now, why = store.state(stage())
    assert now == "absent" and file in why, "and what is wrong is said"
    assert store.fault("train", "k1") in why and store.fault("decode", "k2") == ""
    with pytest.raises(Damaged, match="damaged"):
        store.verified("train", "k1")
    again, found = store.make(stage(), produce(), {})
    assert not found and again.seal == record.seal and store.state(stage())[0] == "done"
    assert store.state(below.stage) == ("done", ""), "the same results: what is downstream stands"
    (aside,) = store.aside()
    assert (aside["stage"], aside["key"]) == ("train", "k1") and file in aside["fault"]
    assert (tmp_path / "quarantine" / aside["folder"]).is_dir()
    (tmp_path / "quarantine" / f"{aside['folder']}.json").write_text("[]", encoding="utf-8")
    assert store.aside() == [], "a line that is damaged itself is no trouble"


def test_every_bit_of_a_record_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record, _ = store.make(stage(), produce(), {"threads": 1})
    path = record.folder / "stage.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (0, 3, 5, 7):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            found = store.record("train", "k1")
            assert found is None or found == record, f"byte {place}, bit {bit}"


def test_sizes_are_looked_at_always_contents_when_used_and_weights_last(tmp_path: Path) -> None:
    def heavy(folder: Path) -> dict[str, Any]:
        (folder / "model.safetensors").write_bytes(b"weights")
        return {}

    store = Store(tmp_path)
    record, _ = store.make(stage(), heavy, {})
    flip(record.folder / "model.safetensors")
    assert store.record("train", "k1") == record, "nothing is hashed"
    assert store.state(stage())[0] == "done", "heavy files are not"
    assert not store.sound(record) and store.set_aside("train", "k1") == "model.safetensors is not what was written"
    assert store.state(stage()) == ("absent", "") and store.set_aside("train", "k1") == ""


@pytest.mark.parametrize("name", ["check", "sizes", "volatile", "files", "seal"])
def test_a_record_that_leaves_something_unsaid_is_damaged(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    record, _ = store.make(stage(), produce(), {})
    path = record.folder / "stage.json"
    rewrite(path)
    assert store.state(stage()) == ("done", "")
    said = json.loads(path.read_text(encoding="utf-8"))
    del said[name]
    check = {} if name == "check" else {"check": sealing._digest({n: v for n, v in said.items() if n != "check"})}
    path.write_text(json.dumps(said | check), encoding="utf-8")
    assert store.state(stage()) == ("absent", "train is damaged: stage.json is not what was written")
    assert not store.make(stage(), produce(), {})[1] and store.state(stage()) == ("done", "")


def test_what_was_hashed_is_hashed_again_only_if_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return disk.sha256(path)

    monkeypatch.setattr(disk.known_sha256, "read", counted)
    store = Store(tmp_path)
    record, _ = store.make(stage(), produce(), {})
    for name in record.sizes:
        os.utime(record.folder / name, (1, 1))
    threading.Event().wait(2 * disk.CLOCK_TICK_NS / 1e9)
    assert store.sound(record)
    hashed.clear()
    assert store.sound(record) and Store(tmp_path).sound(record) and hashed == []
    flip(record.folder / "model.txt")
    os.utime(record.folder / "model.txt", (1, 1))
    assert not store.sound(record) and hashed == ["model.txt"], "not even an old date hides a change"


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), RuntimeError("torch"), MemoryError()])
def test_a_failure_of_the_machine_leaves_the_checkpoint(tmp_path: Path, failure: Exception) -> None:
    store = Store(tmp_path)

    def fails(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint.pt").write_text("x", encoding="utf-8")
        raise failure

    with pytest.raises(type(failure)):
        store.make(stage(), fails, {})
    store.make(stage(), lambda folder: {"left": (folder / "checkpoint.pt").exists()}, {})
    record = store.record("train", "k1")
    assert record is not None and record.facts == {"left": True}
    assert not (record.folder / "checkpoint.pt").exists(), "and it goes when the stage is complete"


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it happens, not even what is in a finally clause of the store."""


@pytest.mark.parametrize("old", [False, True], ids=["new", "replaces"])
def test_killed_at_every_boundary_nothing_is_lost_or_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """At every flush and rename in turn: whoever comes next finds the stage complete, or work that can be gone on with."""
    calls, limit = 0, 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= limit:
                raise Killed
            return real(*args)

        return call

    made = []

    def work(folder: Path) -> dict[str, Any]:
        made.append(folder)
        return dict(produce("new")(folder))

    for place in range(1, 100):
        store, calls, limit = Store(tmp_path / str(place)), 0, 10_000
        if old:
            store.make(stage(code="c0"), produce("old"), {})
        with monkeypatch.context() as patched:
            for module in ("harness.storage.disk", "harness.storage.store", "harness.storage.sealing"):
                for name in ("sync", "rename"):
                    if hasattr(__import__(module, fromlist=["x"]), name):
                        patched.setattr(f"{module}.{name}", counted(getattr(disk, name)))
            made.clear()
            limit = place
            try:
                store.make(stage(), work, {})
            except Killed:
                done = store.state(stage())[0] == "done"
                complete = done or (store.root / "work" / "train-k1" / "stage.json").exists()
            else:
                break
        kept, _ = store.make(stage(code="c0"), produce("old"), {}, keep_stale=True) if old else (None, False)
        assert kept is None or (kept.folder / "model.txt").read_text(encoding="utf-8") in ("old", "new")
        record, _ = store.make(stage(), work, {})
        assert (record.folder / "model.txt").read_text(encoding="utf-8") == "new" and store.sound(record)
        assert len(made) <= 2 - complete, "what was complete is not done again"
        left = {path.name for path in (store.root / "work").iterdir()}
        assert left <= {"replaced-train-k1"} and store.aside() == [], "`gc` removes what is left"
    assert 10 < place < 99, "there are boundaries, and all were tried"


def test_whoever_does_not_wait_hears_who_is_at_it(tmp_path: Path) -> None:
    inside, over = threading.Event(), threading.Event()

    def slow(_: Path) -> dict[str, Any]:
        inside.set()
        over.wait(30)
        return {}

    thread = threading.Thread(target=lambda: Store(tmp_path).make(stage(), slow, {}))
    thread.start()
    inside.wait(30)
    with pytest.raises(Busy, match=f"train-k1 .*process {os.getpid()} on .*, since "):
        Store(tmp_path).make(stage(), produce(), {}, wait=False)
    with pytest.raises(Busy):
        Store(tmp_path).set_aside("train", "k1", wait=False)
    assert Store(tmp_path).make(stage("train", "other"), produce(), {}, wait=False)[1] is False
    over.set()
    thread.join()
    assert Store(tmp_path).make(stage(), produce(), {}, wait=False)[1]


def foreign(home: Path, store: Store, text: str = "weights", code: str = "c1") -> Path:
    """Return a stage of another store, copied into the work of this one."""
    record, _ = Store(home).make(stage(code=code), produce(text), {})
    return Path(shutil.copytree(record.folder, store.root / "work" / "incoming" / text))


def test_a_stage_from_elsewhere_is_taken_over_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    first = store.admit(foreign(tmp_path / "a", store))
    assert first.folder == store.folder("train", "k1") and store.state(stage()) == ("done", "") and store.sound(first)
    again = store.admit(foreign(tmp_path / "a", store))
    assert again == first and not any((store.root / "work" / "incoming").iterdir())


def test_a_stage_with_other_results_replaces_one_only_if_told_to(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    store.make(stage(), produce("mine"), {})
    other = foreign(tmp_path / "a", store, "theirs", "c2")
    with pytest.raises(SpecError, match="other results"):
        store.admit(other)
    assert store.state(stage()) == ("done", "")
    made = store.admit(other, replace=True)
    assert (made.folder / "model.txt").read_text(encoding="utf-8") == "theirs"
    flip(made.folder / "model.txt")
    store.admit(foreign(tmp_path / "b", store, "mine", "c1"))
    assert store.state(stage()) == ("done", "") and len(store.aside()) == 1, "what was damaged made room"


def name_of_another_folder(folder: Path) -> None:
    rewrite(folder / "stage.json", {"key": "../../../outside"})


def hash_left_out(folder: Path) -> None:
    (folder / "more.txt").write_text("x")
    sizes = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["sizes"]
    rewrite(folder / "stage.json", sizes=sizes | {"more.txt": 1})


def size_left_out(folder: Path) -> None:
    rewrite(folder / "stage.json", sizes={"model.txt": 7})


def link(folder: Path) -> None:
    (folder / "model.txt").rename(folder.parent / "elsewhere")
    (folder / "model.txt").symlink_to(folder.parent / "elsewhere")


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "a file is flipped": lambda folder: flip(folder / "model.txt"),
    "a file is missing": lambda folder: (folder / "model.txt").unlink(),
    "a file is a link": link,
    "there is a file more": lambda folder: (folder / "more.txt").write_text("x"),
    "there is a folder more": lambda folder: (folder / "more").mkdir(),
    "the record is flipped": lambda folder: flip(folder / "stage.json", 40),
    "the record is none": lambda folder: (folder / "stage.json").write_text("[1]"),
    "the record is missing": lambda folder: (folder / "stage.json").unlink(),
    "the record nests without end": lambda folder: (folder / "stage.json").write_text("[" * 100_000),
    "the key leads out": name_of_another_folder,
    "a file has no hash": hash_left_out,
    "a file has no size": size_left_out,
}


@pytest.mark.parametrize("how", FOREIGN)
def test_a_stage_from_elsewhere_is_refused(tmp_path: Path, how: str) -> None:
    store = Store(tmp_path / "here")
    folder = foreign(tmp_path / "a", store)
    FOREIGN[how](folder)
    with pytest.raises(Damaged):
        store.admit(folder)
    assert store.state(stage()) == ("absent", "") and not (tmp_path / "outside").exists()


def test_rights_are_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    record, _ = store.make(stage(), produce(), {})

    def refuses(path: Path) -> Record:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(disk.known_sha256, "read", refuses)
    monkeypatch.setattr(disk.known_sha256, "known", {})
    with pytest.raises(PermissionError):
        store.make(stage(), lambda folder: pytest.fail("made again"), {})
    assert record.folder.exists() and store.aside() == []


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(SpecError, match=r"cannot be written .*S2S_STORE"):
        Store(tmp_path / "file").demand_writable()
    Store(tmp_path / "new").demand_writable()
