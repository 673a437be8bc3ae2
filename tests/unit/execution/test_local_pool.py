"""Workers: results, order, events, deaths, time-outs, and that nothing outlives the parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from harness.core.spec import SpecError
from harness.execution import local_pool, memory
from harness.execution.local_pool import CannotStart, Slot, Task, Workers, slots

SYSTEM = Path(__file__).parents[2] / "system"
ROOT = Path(__file__).parents[3]
CPU = Slot("cpu", {"S2S_TEST": "here"})


@pytest.fixture(autouse=True)
def _entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SYSTEM))


def _workers(count: int = 1, **settings: Any) -> Workers:
    return Workers("entries:act", (), [CPU] * count, settings)


def _task(name: str, do: str, **payload: Any) -> Task:
    return Task(name, {"do": do} | payload)


def _ignore(_name: str, _event: dict[str, Any]) -> None:
    pass


def _stop(_name: str, _event: dict[str, Any]) -> None:
    raise KeyboardInterrupt


def _alive(pids: Path, within: float) -> list[int]:
    """Processes of the noted ids that still run after some time at most."""
    until = time.monotonic() + within
    while True:
        noted = [int(file.name) for file in pids.iterdir()]
        alive = [p for p in noted if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.05)


def test_results_in_order_from_workers_that_live_on() -> None:
    tasks = [_task(f"t{n}", "echo", n=n) for n in range(6)]
    with _workers(2, deep={"a": [1, 2.5, None]}) as workers:
        ended = list(workers.run(tasks, _ignore))
        again = list(workers.run(tasks[:2], _ignore))
    assert sorted(end.name for end in ended) == [task.name for task in tasks]
    assert {end.status for end in ended} == {"done"}
    for end in ended:
        assert end.value["payload"] == {"do": "echo", "n": int(end.name[1:])}
        assert end.value["settings"] == {"deep": {"a": [1, 2.5, None]}}
        assert end.value["device"] == "cpu"
    # A worker that was slow to start may have had no task in the first run, but there are never more than two.
    assert len({end.value["pid"] for end in (*ended, *again)}) <= 2
    with _workers(1) as workers:
        ended, again = list(workers.run(tasks, _ignore)), list(workers.run(tasks, _ignore))
        assert [end.name for end in ended] == [task.name for task in tasks]
        assert len({end.value["pid"] for end in (*ended, *again)}) == 1, "one worker lives on through both runs"


def test_events_arrive_in_order_with_their_task() -> None:
    heard: dict[str, list[int]] = {"a": [], "b": []}
    with _workers(2) as workers:
        list(workers.run([_task(n, "count", n=500) for n in "ab"], lambda name, event: heard[name].append(event["n"])))
    assert heard == {"a": list(range(500)), "b": list(range(500))}


def test_environment_is_set_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    with Workers("entries:act", ("entries",), slots("cpu", jobs=1), {}) as workers:
        (end,) = workers.run([_task("t", "echo")], _ignore)
    assert end.value["env"] == {"OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": str(1 << 30), "S2S_TEST": None}
    assert os.environ["OMP_NUM_THREADS"] == "9" and "MALLOC_TRIM_THRESHOLD_" not in os.environ


def test_an_error_brings_its_traceback_and_costs_one_task() -> None:
    with _workers() as workers:
        failed, mute, fine = workers.run([_task("f", "fail"), _task("u", "unspeakable"), _task("e", "echo")], _ignore)
    assert (failed.status, failed.reason) == ("error", "ValueError: no such luck")
    assert "in _fail" in failed.traceback
    assert mute.status == "error" and "not JSON serializable" in mute.reason
    assert fine.status == "done"


KILLS = {
    ("SIGSEGV", 0, 0): ("died", "SIGSEGV"),
    ("SIGTERM", 0, 0): ("killed", "SIGTERM, sent by another process"),
    ("SIGKILL", 4, 4): ("killed", "SIGKILL; the kernel counts no kill"),
    ("SIGKILL", 4, 5): ("out_of_memory", "SIGKILL: memory ran out"),
    ("SIGKILL", None, None): ("out_of_memory", "but keeps no count here"),
}


@pytest.mark.parametrize("case", KILLS, ids=str)
def test_a_dead_worker_costs_its_task_only_and_what_is_known_of_its_death_is_said(
    case: tuple[str, int | None, int | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    number, before, after = case
    heard: list[Any] = []
    monkeypatch.setattr(memory, "oom_kills", lambda: after if heard else before)
    with _workers(logs=str(tmp_path)) as workers:
        tasks = [_task("e", "echo", n=1), _task("d", "die", signal=number), _task("f", "echo", n=2)]
        _, dead, fine = workers.run(tasks, lambda name, event: heard.append((name, event)))
    status, reason = KILLS[case]
    assert dead.status == status and reason in dead.reason
    assert dead.log == "[1Kabout to\nabout to die", "what the task before it printed is not its own"
    assert dead.measured["peak_memory_mb"] > 1 and dead.measured["free_memory_mb"] > 1
    assert heard == [("d", {"last": "words"})]
    assert fine.status == "done"


def test_each_death_is_explained_by_a_kill_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    dead: Any = SimpleNamespace(process=SimpleNamespace(exitcode=-signal.SIGKILL))
    monkeypatch.setattr(memory, "oom_kills", lambda: 5)
    workers = Workers("entries:act", (), [CPU], {}, eager=False)
    monkeypatch.setattr(memory, "oom_kills", lambda: 7)
    assert [workers._death(dead)[0] for _ in range(3)] == ["out_of_memory", "out_of_memory", "killed"]


def test_a_worker_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    def kill(_name: str, event: dict[str, Any]) -> None:
        os.kill(event["pid"], signal.SIGKILL)

    tasks = [_task("s", "sleep", pids=str(tmp_path)), *(_task(f"t{n}", "echo") for n in range(3))]
    with _workers(2) as workers:
        ended = {end.name: end for end in workers.run(tasks, kill)}
        assert not _alive(tmp_path, 30)
    assert ended.pop("s").status == "killed"
    assert [end.status for end in ended.values()] == ["done"] * 3


def test_death_is_seen_though_a_child_holds_the_pipe() -> None:
    began = time.monotonic()
    with _workers() as workers:
        left, exited = workers.run([_task("l", "leave_child"), _task("x", "exit")], _ignore)
    assert (left.status, left.reason) == ("died", "exited with code 3")
    assert (exited.status, exited.reason) == ("died", "exited with code 7")
    assert time.monotonic() - began < 10


def test_timeout_kills_the_worker_with_its_children(tmp_path: Path) -> None:
    tasks = [_task("s", "sleep", pids=str(tmp_path)), _task("c", "chatter"), _task("e", "echo")]
    with _workers() as workers:
        slow, loud, fine = workers.run(tasks, _ignore, timeout=0.5)
        assert (slow.status, slow.reason) == ("timeout", "stopped after 0.5 s")
        assert len(list(tmp_path.iterdir())) == 2 and not _alive(tmp_path, 30)
    assert loud.status == "timeout" and fine.status == "done"


def test_a_result_that_came_in_time_counts_however_late_it_is_read() -> None:
    def dawdle(_name: str, _event: dict[str, Any]) -> None:
        time.sleep(0.3)

    with _workers() as workers:
        (end,) = workers.run([_task("c", "count", n=2)], dawdle, timeout=0.2)
    assert end.status == "done"


def test_an_exception_in_the_parent_ends_busy_workers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), _workers(2) as workers:
        list(workers.run([_task("s", "sleep", pids=str(tmp_path))], _stop))
    assert len(list(tmp_path.iterdir())) == 2 and not _alive(tmp_path, 30)


def test_a_worker_deaf_to_sigterm_is_killed_after_a_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_pool, "GRACE", 0.3)
    with _workers() as workers:
        with pytest.raises(KeyboardInterrupt):
            next(workers.run([_task("s", "stubborn", pids=str(tmp_path))], _stop))
        assert not _alive(tmp_path, 30)
        (end,) = workers.run([_task("e", "echo")], _ignore)
    assert end.status == "done"


PARENT = """
import signal, sys
from harness.execution.local_pool import Slot, Task, Workers
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    with Workers("entries:act", (), [Slot("cpu", {})] * 2, {}) as workers:
        task = Task("s", {"do": "sleep", "pids": sys.argv[1]})
        list(workers.run([task, task], lambda name, event: print(name, flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_parent(tmp_path: Path, number: signal.Signals) -> None:
    script, pids = tmp_path / "parent.py", tmp_path / "pids"
    script.write_text(PARENT)
    pids.mkdir()
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{SYSTEM}"}
    command = [sys.executable, str(script), str(pids)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as parent:
        assert parent.stdout
        for _ in range(2):
            assert parent.stdout.readline() == "s\n"
        assert len(_alive(pids, 0)) == 4
        parent.send_signal(number)
        parent.wait(60)
    assert not _alive(pids, 30)


def test_workers_print_to_their_own_logs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with _workers(1, logs=str(tmp_path / "logs")) as workers:
        list(workers.run([_task("t", "echo", n=5)], _ignore))
    assert (tmp_path / "logs" / "worker-0.log").read_text() == "printed by 5\n"
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_can_have_no_log_prints_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").touch()  # no folder
    with _workers(1, logs=str(tmp_path / "logs")) as workers:
        (end,) = workers.run([_task("t", "echo", n=5)], _ignore)
    assert end.status == "done" and capfd.readouterr() == ("", "")


def test_alone_means_one_at_a_time_each_in_a_fresh_process() -> None:
    with _workers(2) as workers:
        before = {end.value["pid"] for end in workers.run([_task(f"t{n}", "echo") for n in range(4)], _ignore)}
        tasks, running, most = [_task(f"c{n}", "count", n=1) for n in range(3)], set[str](), 0

        def watch(name: str, _event: dict[str, Any]) -> None:
            nonlocal most
            running.add(name)
            most = max(most, len(running))

        for end in workers.run(tasks, watch, at_once=1):
            running.remove(end.name)
        alone = [
            end.value["pid"] for end in workers.run([_task(f"e{n}", "echo") for n in range(3)], _ignore, at_once=1)
        ]
        assert not any(psutil.pid_exists(pid) for pid in alone[:2]), "what a task left of memory is free for the next"
    assert most == 1 and len({*before, *alone}) == len(before) + 3


def test_no_task_begins_when_enough_have_failed() -> None:
    """Not even on a worker that was loading when it was handed out."""
    ends = dict[str, str]()
    with _workers(3) as workers:
        tasks = [_task(f"t{n}", "fail" if n == 2 else "echo") for n in range(40)]
        for end in workers.run(tasks, _ignore, enough=lambda: "error" in ends.values()):
            ends[end.name] = end.status
        assert ends["t2"] == "error" and "t2" in list(ends)[-3:], "what had begun beside it comes to its end"
        assert [end.status for end in workers.run(tasks[:2], _ignore)] == ["done", "done"], "a run of its own"


def test_no_more_workers_are_started_than_there_are_tasks() -> None:
    with Workers("entries:act", (), [CPU] * 6, {}, eager=False) as workers:
        assert [end.status for end in workers.run([_task("t", "echo")], _ignore)] == ["done"]
        assert len(workers._workers) == 1


PRESSED = """
import json, os, signal, sys, threading
from harness.execution.local_pool import Slot, Task, Workers
def press():
    while not over.wait(0.003):
        os.killpg(0, signal.SIGINT)
if __name__ == "__main__":
    signal.signal(signal.SIGINT, lambda *_: None)
    over = threading.Event()
    threading.Thread(target=press).start()
    with Workers("entries:act", (), [Slot("cpu", {})], {}) as workers:
        first = workers._workers[0].pid
        print(*((end.status, end.value["pid"] == first) for end in workers.run([Task("t", {"do": "echo"})], print)))
    over.set()
"""


def test_ctrl_c_in_a_terminal_is_for_the_parent_alone(tmp_path: Path) -> None:
    (tmp_path / "pressed.py").write_text(PRESSED)
    ended = subprocess.run(
        [sys.executable, "pressed.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{SYSTEM}:{ROOT}"},
        text=True,
        capture_output=True,
        start_new_session=True,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("printed by None\n('done', True)\n", "", 0)


def test_what_cannot_start_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dies_at_import.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(str(tmp_path))
    with (
        pytest.raises(CannotStart, match="no_such_module"),
        Workers("entries:act", ("no_such_module",), [CPU], {}) as w,
    ):
        list(w.run([_task("t", "echo")], _ignore))
    with pytest.raises(CannotStart, match="SIGABRT"), Workers("entries:act", ("dies_at_import",), [CPU], {}) as w:
        list(w.run([_task("t", "echo")], _ignore))


def test_slots_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_pool, "_count_gpus", lambda: 0)
    monkeypatch.setattr(local_pool, "_count_cores", lambda: 3)
    assert [slot.device for slot in slots("auto")] == ["cpu"] * 3
    assert [slot.device for slot in slots("cpu", jobs=5)] == ["cpu"] * 5
    with pytest.raises(SpecError, match="no CUDA device"):
        slots("cuda")
    with pytest.raises(SpecError, match="at least one worker"):
        slots("cpu", jobs=0)
    monkeypatch.setattr(local_pool, "_count_gpus", lambda: 2)
    assert [slot.device for slot in slots("auto", None, 2)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert [slot.device for slot in slots("cuda", jobs=1, per_gpu=2)] == ["cuda:0"]
    assert slots("cuda")[0].env["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert [slot.device for slot in slots("cpu")] == ["cpu"] * 3


def test_looking_for_gpus_loads_no_torch_where_there_are_none() -> None:
    code = "import sys; from harness.execution import local_pool; n = local_pool._count_gpus(); print(n, 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    devices = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
    assert devices or json.loads(said.split()[0]) == 0
    assert devices or said.split()[1] == "False"
