"""The plan of a study on a Ray cluster of two nodes, both on this machine: the same numbers, and nothing lost."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

# Nodes listen on the loopback interface alone; Ray reads this when it is imported.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="Ray is an extra: pip install 'seq2seq-harness[ray]'")

from ray.cluster_utils import Cluster as Nodes

from harness.core.spec import SpecError
from harness.execution import failures
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.local_pool import Ended, Executor, Task, Workers, slots
from harness.execution.ray_cluster import Cluster
from harness.execution.ray_transfer import Stores
from harness.execution.runner import execute, prepare_data
from harness.execution.scheduler import Settings
from harness.storage.store import Store
from harness.study import planning
from harness.study.plan import Plan
from harness.workflows import run_study

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
ENTRY = (entry_of(perform), MODULES)
SMALL: dict[str, Any] = {
    "data.dataset.train": 200,
    "data.dataset.validation": 30,
    "data.dataset.test": 40,
    "data.dataset.digits": 3,
    "model.encoder.cell.hidden": 8,
    "model.decoder.cell.hidden": 8,
    "training.updates": 900,
    "training.evaluate_every": 30,
}
QUESTION = """
question: Does the mask matter?
expectation: no
base: numbers
cases:
  with: {training.loss.mask: true}
  without: {training.loss.mask: false}
seeds: 3
claims: []
"""
WILD: dict[str, Any] = {"training.optimizer": {"kind": "sgd", "lr": 1e38}, "training.clip": 0.0}
COSTS = ("seconds", "per_second", "peak_memory_mb")


def add(nodes: Nodes, num_cpus: int = 1, num_gpus: int = 0) -> Any:
    options = {"object_store_memory": 80 << 20, "node_ip_address": "127.0.0.1", "include_dashboard": False}
    return nodes.add_node(num_cpus=num_cpus, num_gpus=num_gpus, **options)


def lose(nodes: Nodes, node: Any) -> None:
    """Take the power from a node: Ray alone would leave its processes a moment, in which they finish what they are at."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    for process in (raylet, *raylet.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    nodes.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A cluster of a head and one more node, a CPU each."""
    cluster = Nodes()
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", os.pathsep.join(paths))  # nodes find what is imported by themselves
            add(cluster)
            add(cluster)
            yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "small.yaml").write_text(QUESTION, encoding="utf-8")


class Run:
    """One run of the study on some executor, in a store of its own."""

    def __init__(self, home: Path, name: str, **changes: Any) -> None:
        self.store, self.results = Store(home / name), home / f"{name}-results"
        self.plan: Plan = planning.load(str(home / "small.yaml"), sets=SMALL | changes)
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def listen(self, trial: str, event: dict[str, Any]) -> None:
        self.heard.append((trial, event))

    def go(self, workers: Executor, monkeypatch: pytest.MonkeyPatch) -> Run:
        monkeypatch.setenv("S2S_RESULTS", str(self.results))
        settings = Settings(workers, checkpoint_every=0.1)
        self.done = run_study.run_study(self.plan, self.store, settings, self.listen, tracked=False)
        return self

    def outputs(self) -> dict[str, dict[str, str]]:
        """The sha256 of all files of all stages: weights, curves, hypotheses, scores."""
        plan = planning.resolve(self.plan)
        stages = {stage.title: stage for _, _, trial in plan.trials() for stage in trial.stages.values()}
        records = {title: self.store.record(stage.name, stage.key) for title, stage in stages.items()}
        return {title: record.files for title, record in records.items() if record is not None}

    def rows(self) -> list[dict[str, str]]:
        text = (self.results / "small" / "numbers" / "trials.csv").read_text(encoding="utf-8").splitlines()
        return [{k: v for k, v in row.items() if not k.endswith(COSTS)} for row in csv.DictReader(text)]

    def failures(self) -> dict[str, Any]:
        plan = planning.resolve(self.plan)
        found = {trial.digest: failures.last(self.store, trial) for _, _, trial in plan.trials()}
        return {name: (each.status, each.reason) for name, each in found.items() if each is not None}

    def ends(self) -> list[tuple[str, str]]:
        return sorted((trial, event["status"]) for trial, event in self.heard if "status" in event)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The same plan by a worker process of this machine."""
    home = tmp_path_factory.mktemp("local")
    (home / "small.yaml").write_text(QUESTION, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, Workers(*ENTRY, slots("cpu", 1), {}) as workers:
        patch.chdir(ROOT)
        yield Run(home, "local").go(workers, patch)


def check_same(run: Run, unbroken: Run) -> None:
    """The outputs, ends and rows are those of one machine, and all that was computed is counted."""
    check_results(run, unbroken)
    assert run.done.ran.stages == unbroken.done.ran.stages == dict.fromkeys(("train", "decode", "score"), 6)


def check_results(run: Run, unbroken: Run) -> None:
    assert len(run.outputs()) == 1 + 6 * 3
    assert run.outputs() == unbroken.outputs()
    assert run.rows() == unbroken.rows()
    assert run.ends() == unbroken.ends()
    assert run.done.ran.made == 6
    assert not list((run.store.root / "work").iterdir())


def test_a_node_killed_in_the_middle_costs_nothing(
    nodes: Nodes, unbroken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, victim = Run(tmp_path, "ray"), sorted(nodes.worker_nodes, key=id)[-1]
    far: dict[str, int] = {}
    killed: list[str] = []

    def listen(trial: str, event: dict[str, Any]) -> None:
        run.heard.append((trial, dict(event)))
        far.update({trial: event["update"]} if "update" in event else {})
        far.update({trial: 0} if "status" in event else {})
        if not killed and sum(100 <= update <= 850 for update in far.values()) == 2:
            lose(nodes, victim)
            killed.append(victim.unique_id)

    run.listen = listen  # type: ignore[method-assign]
    with Cluster(nodes.address, *ENTRY) as cluster:
        assert cluster.capacity == 2
        run.go(cluster, monkeypatch)
        assert killed, "two trials were never in the middle at once"
        assert cluster.capacity == 1
    add(nodes)
    check_results(run, unbroken)
    notes = [at for at, (_, event) in enumerate(run.heard) if "restarts elsewhere" in event.get("note", "")]
    assert len(notes) == 1
    trial = run.heard[notes[0]][0]
    check_computed_once(run, trial, notes[0])
    again = [event["update"] for name, event in run.heard[notes[0] :] if name == trial and "update" in event]
    assert not again or again[0] > 30, "it went on from its checkpoint"


def check_computed_once(run: Run, broken: str, at: int) -> None:
    """Only what the node was at is begun twice; what it finished without being heard is found, and counts for nobody."""
    stages, made = ["train", "decode", "score"], Counter[str]()
    for trial, end in ((trial, event) for trial, event in run.heard if event.get("status") == "ok"):
        made.update(end["made"])
        heard = run.heard[at:] if trial == broken else run.heard
        begun = [event["stage"] for name, event in heard if name == trial and "stage" in event]
        assert end["passed"] == ["prepare", *stages] and end["made"] == begun
        assert begun == (stages[len(stages) - len(begun) :] if trial == broken else stages)
    assert run.done.ran.stages == made


@pytest.mark.full
def test_without_shared_storage_stages_come_back(
    nodes: Nodes, unbroken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stores, "token", lambda self, store: "one that no node sees")
    run = Run(tmp_path, "ray")
    found_at_its_end: list[bool] = []

    def listen(trial: str, event: dict[str, Any]) -> None:
        run.heard.append((trial, dict(event)))
        if event.get("status") == "ok":
            found_at_its_end.append(bool(list((run.store.root / "stages" / "score").iterdir())))

    run.listen = listen  # type: ignore[method-assign]
    with Cluster(nodes.address, *ENTRY) as cluster:
        run.go(cluster, monkeypatch)
    assert not (run.store.root / "logs").exists(), "nothing was done in this store"
    assert found_at_its_end == [True] * 6
    check_same(run, unbroken)


@pytest.mark.full
def test_failures_are_those_of_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    runs = [Run(tmp_path, name, **WILD) for name in ("ray", "local")]
    with Cluster(nodes.address, *ENTRY) as cluster, Workers(*ENTRY, slots("cpu", 1), {}) as workers:
        for run, executor in zip(runs, (cluster, workers), strict=True):
            plan = planning.resolve(run.plan).upto(1)
            prepare_data(plan, run.store, print)
            execute(plan, run.store, Settings(executor), run.listen)
    remote, local = runs
    assert len(remote.failures()) == 2 and {status for status, _ in remote.failures().values()} == {"diverged"}
    assert remote.failures() == local.failures() and remote.ends() == local.ends()


def task(home: Path, name: str, do: str, **payload: Any) -> Task:
    return Task(name, {"do": do, "store": str(home / "runs"), "trials": [[name]], "stages": []} | payload)


def acting(nodes: Nodes, **options: Any) -> Cluster:
    return Cluster(nodes.address, "entries:act", (), **options)


@pytest.mark.full
def test_tasks_end_as_they_do_on_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    tasks = [
        task(tmp_path, "echo", "echo"),
        task(tmp_path, "count", "count", n=300),
        task(tmp_path, "fail", "fail"),
        task(tmp_path, "die", "die", signal="SIGSEGV"),
    ]
    heard: list[int] = []

    def listen(name: str, event: dict[str, Any]) -> None:
        heard.extend([event["n"]] if name == "count" else [])

    with acting(nodes) as cluster:
        ended = {end.name: end for end in cluster.run(tasks, listen)}
        assert {name: end.status for name, end in ended.items()} == {
            "echo": "done", "count": "done", "fail": "error", "die": "died",
        }  # fmt: skip
        assert ended["echo"].value["device"] == "cpu" and ended["echo"].value["env"]["OMP_NUM_THREADS"] == "1"
        assert heard == list(range(300))
        assert ended["fail"].reason == "ValueError: no such luck" and "in _fail" in ended["fail"].traceback
        assert "SIGSEGV" in ended["die"].reason
        (tmp_path / "pids").mkdir()
        late = task(tmp_path, "late", "sleep", pids=str(tmp_path / "pids"))
        ends = list(cluster.run([late], lambda *_: None, timeout=2.0))
        assert ends == [
            Ended("late", "timeout", reason="stopped after 2 s", log=ends[0].log, measured=ends[0].measured)
        ]
    assert not any(alive(int(path.name)) for path in (tmp_path / "pids").iterdir()), "with all its children"


@pytest.mark.full
def test_jobs_limit_what_runs_at_once_and_tasks_are_taken_as_there_is_room(nodes: Nodes, tmp_path: Path) -> None:
    taken: list[str] = []
    open_ends: list[int] = []

    def tasks() -> Iterator[Task]:
        for n in range(3):
            taken.append(f"t{n}")
            yield task(tmp_path, f"t{n}", "echo")

    with acting(nodes, jobs=1) as cluster:
        assert cluster.capacity == 1
        for number, _ in enumerate(cluster.run(tasks(), lambda *_: None), start=1):
            open_ends.append(len(taken) - number)
    assert open_ends == [0, 0, 0]


@pytest.mark.full
def test_a_task_whose_supervisor_dies_again_and_again_is_given_up(nodes: Nodes, tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    notes: list[str] = []

    def listen(_: str, event: dict[str, Any]) -> None:
        if "note" in event:
            notes.append(event["note"])
        else:
            psutil.Process(psutil.Process(event["pid"]).ppid()).kill()

    with acting(nodes) as cluster:
        bad, good = task(tmp_path, "bad", "sleep", pids=str(tmp_path / "pids")), task(tmp_path, "good", "echo")
        ended = {end.name: end for end in cluster.run([bad, good], listen)}
    assert ended["good"].status == "done"
    assert ended["bad"].status == "died" and "3 times" in ended["bad"].reason and len(notes) == 2
    begun = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert len(begun) == 6 and not any(alive(pid) for pid in begun), "a process whose supervisor is gone ends itself"


def alive(pid: int, within: float = 10.0) -> bool:
    until = time.monotonic() + within
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return True
        time.sleep(0.05)
    return False


def test_a_node_with_another_version_stops_the_study_in_a_line(nodes: Nodes, tmp_path: Path) -> None:
    with acting(nodes) as cluster:
        cluster._order = cluster._order._replace(identity=cluster._order.identity | {"its code": "other"})
        with pytest.raises(SpecError, match=r"node 127\.0\.0\.1 of the cluster: its code is \w+ there and other here"):
            list(cluster.run([task(tmp_path, "t", "echo")], lambda *_: None))


@pytest.mark.full
def test_gpus_are_asked_for_only_where_there_are_some(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no node of the cluster has a GPU"), acting(nodes, device="cuda"):
        pass
    with acting(nodes, per_gpu=4) as cluster:
        assert cluster._order.device == "cpu" and cluster.capacity == 2
    node = add(nodes, num_cpus=4, num_gpus=1)  # as far as Ray knows
    try:
        with acting(nodes, device="cpu") as cluster:
            assert cluster.capacity == 6
        with acting(nodes, per_gpu=3) as cluster:
            assert cluster.capacity == 3
            ended = list(cluster.run([task(tmp_path, f"t{n}", "echo") for n in range(3)], lambda *_: None))
        assert [end.value["device"] for end in ended] == ["cuda:0"] * 3
    finally:
        nodes.remove_node(node)


@pytest.mark.full
def test_a_task_that_ray_ends_for_want_of_memory_is_out_of_memory(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")  # this node thinks that it is full
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "200")
    node = add(nodes, num_gpus=1)
    (tmp_path / "pids").mkdir()
    try:
        with acting(nodes, device="cuda") as cluster:
            (ended,) = cluster.run([task(tmp_path, "t", "sleep", pids=str(tmp_path / "pids"))], lambda *_: None)
    finally:
        nodes.remove_node(node)
    assert ended.status == "out_of_memory" and "memory" in ended.reason and "\n" not in ended.reason
    assert not any(alive(int(path.name)) for path in (tmp_path / "pids").iterdir())


def command(home: Path, address: str) -> list[str]:
    sets = [word for path, value in SMALL.items() for word in ("--set", f"{path}={value}")]
    options = ["--executor", "ray", "--address", address, "--no-track", "--seeds", "1", "--checkpoint-every", "1000"]
    return [sys.executable, "-m", "harness", "run", str(home / "small.yaml"), *options, *sets]


@pytest.mark.full
def test_ctrl_c_keeps_checkpoints_and_the_same_command_ends_the_study(nodes: Nodes, tmp_path: Path) -> None:
    """In a process of its own, by the command line, from Ctrl-C to the report."""
    env = os.environ | {"S2S_STORE": str(tmp_path / "runs"), "S2S_RESULTS": str(tmp_path / "results")}
    typed = [*command(tmp_path, nodes.address), "--set", "training.updates=20000", "--checkpoint-every", "5"]
    running = subprocess.Popen(
        typed, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        while not (kept := list((tmp_path / "runs").glob("work/train-*/checkpoint.pt"))):
            assert running.poll() is None, running.communicate()
            time.sleep(0.1)
        before = kept[0].stat().st_mtime_ns
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 130 and "the same command resumes" in err and "Traceback" not in out + err
    assert kept[0].stat().st_mtime_ns > before, "written when it was told to stop, long before its time"
    assert not list((tmp_path / "runs").glob("work/cluster-*"))
    done = subprocess.run(
        [*command(tmp_path, nodes.address), "--replan"], env=env, cwd=ROOT, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "results/small/numbers/trials.csv").read_text(encoding="utf-8").splitlines()
    assert [row["status"] for row in csv.DictReader(table)] == ["ok", "ok"]
