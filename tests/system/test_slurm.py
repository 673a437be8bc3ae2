"""The plan of a study as jobs of SLURM: the same numbers, and nothing lost.

``sbatch``, ``srun``, ``sacct`` and ``scancel`` are stand-ins that run jobs on this machine as SLURM would: they obey what
submitit writes for them, so that the whole way is walked but for the queue.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit", reason="submitit is an extra: pip install 'seq2seq-harness[slurm]'")

from system.test_ray import ENTRY, QUESTION
from system.test_ray import Run as Run

from harness.core.spec import SpecError
from harness.execution.local_pool import Task, Workers, slots
from harness.execution.slurm_jobs import Jobs

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "sbatch": """
id=$(($(cat "$SLURM_HOME/last" 2>/dev/null || echo 100) + 1)); echo "$id" > "$SLURM_HOME/last"
cp "$1" "$SLURM_HOME/$id.sh"
echo RUNNING > "$SLURM_HOME/$id.state"
( export SLURM_JOB_ID=$id
  setsid bash "$SLURM_HOME/$id.sh" > "$SLURM_HOME/$id.out" 2>&1 & echo $! > "$SLURM_HOME/$id.pid"
  wait $!; code=$?
  grep -q RUNNING "$SLURM_HOME/$id.state" && { [ $code = 0 ] && echo COMPLETED || echo FAILED; } > "$SLURM_HOME/$id.state"
) > /dev/null 2>&1 &
echo "Submitted batch job $id"
""",
    "srun": """
while [ "${1#--}" != "$1" ]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
exec "$@"
""",
    "sacct": """
echo "JobID|State|NodeList"
for file in "$SLURM_HOME"/*.state; do echo "$(basename "$file" .state)|$(cat "$file")|here"; done
""",
    "scancel": """
echo CANCELLED > "$SLURM_HOME/$1.state"
kill -TERM -- -$(cat "$SLURM_HOME/$1.pid")
""",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which SLURM's programs keep their jobs."""
    home, programs = tmp_path / "slurm", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
        (programs / name).chmod((programs / name).stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("SLURM_HOME", str(home))
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return home


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "small.yaml").write_text(QUESTION, encoding="utf-8")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The same plan by a worker process of this machine."""
    home = tmp_path_factory.mktemp("local")
    (home / "small.yaml").write_text(QUESTION, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, Workers(*ENTRY, slots("cpu", 1), {}) as workers:
        patch.chdir(ROOT)
        yield Run(home, "local").go(workers, patch)


def jobs_of(home: Path) -> list[int]:
    return sorted(int(path.stem) for path in home.glob("*.sh"))


def check_same(run: Run, unbroken: Run) -> None:
    assert run.outputs() == unbroken.outputs() and len(run.outputs()) == 1 + 6 * 3
    assert run.rows() == unbroken.rows()
    assert run.ends() == unbroken.ends()
    assert not list((run.store.root / "work").iterdir())


def test_a_job_that_is_killed_or_out_of_time_begins_again_where_it_was(
    slurm: Path, unbroken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, hit = Run(tmp_path, "slurm"), {signal.SIGKILL: 0, signal.SIGUSR2: 0}

    def listen(trial: str, event: dict[str, Any]) -> None:
        run.heard.append((trial, dict(event)))
        if 50 <= event.get("update", 0) <= 200 and (number := next((n for n, at in hit.items() if not at), None)):
            alive = [job for job in jobs_of(slurm) if (slurm / f"{job}.state").read_text() == "RUNNING\n"]
            hit[number] = alive[-1]
            (slurm / f"{alive[-1]}.state").write_text("NODE_FAIL\n" if number == signal.SIGKILL else "TIMEOUT\n")
            os.killpg(int((slurm / f"{alive[-1]}.pid").read_text()), number)

    run.listen = listen  # type: ignore[method-assign]
    with Jobs(*ENTRY, run.store.root, jobs=2, asked=["--partition=long", "mem=2G", "exclusive"]) as jobs:
        run.go(jobs, monkeypatch)
    check_same(run, unbroken)
    assert all(hit.values()) and len(jobs_of(slurm)) == 6 + 2
    notes = [event["note"] for _, event in run.heard if "restarts elsewhere" in event.get("note", "")]
    assert len(notes) == 2, notes
    text = (slurm / f"{jobs_of(slurm)[0]}.sh").read_text(encoding="utf-8")
    for line in ("partition=long", "mem=2G", "exclusive", "time=240", "cpus-per-task=1", "job-name=s2s"):
        assert f"#SBATCH --{line}\n" in text
    assert "gpus" not in text


def test_a_run_that_is_left_cancels_its_jobs_and_goes_on_from_their_checkpoints(
    slurm: Path, unbroken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, "slurm")

    def stop(_trial: str, event: dict[str, Any]) -> None:
        if event.get("update", 0) >= 100:
            raise KeyboardInterrupt

    run.listen = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), Jobs(*ENTRY, run.store.root, jobs=1) as jobs:
        run.go(jobs, monkeypatch)
    assert (slurm / f"{jobs_of(slurm)[-1]}.state").read_text() == "CANCELLED\n"
    again = Run(tmp_path, "slurm")
    with Jobs(*ENTRY, again.store.root, jobs=2) as jobs:
        again.go(jobs, monkeypatch)
    check_same(again, unbroken)
    first = next(event["update"] for _, event in again.heard if "update" in event)
    assert first >= 100, "it went on from its checkpoint"


@pytest.mark.full
def test_jobs_run_on_this_machine_to_try_a_study(
    unbroken: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, "here")
    with Jobs(*ENTRY, run.store.root, jobs=2, here=True) as jobs:
        run.go(jobs, monkeypatch)
    check_same(run, unbroken)


def acting(home: Path, **options: Any) -> Jobs:
    return Jobs("entries:act", (), home / "runs", **options)


def task(home: Path, name: str, do: str, **payload: Any) -> Task:
    return Task(name, {"do": do, "store": str(home / "runs"), "trials": [[name]], "stages": []} | payload)


def test_tasks_end_as_they_do_on_one_machine(slurm: Path, tmp_path: Path) -> None:
    tasks = [
        task(tmp_path, "count", "count", n=300),
        task(tmp_path, "fail", "fail"),
        task(tmp_path, "die", "die", signal="SIGSEGV"),
    ]
    heard: list[int] = []

    def listen(name: str, event: dict[str, Any]) -> None:
        heard.extend([event["n"]] if name == "count" else [])

    with acting(tmp_path, jobs=3, device="cuda") as jobs:
        ended = {end.name: end for end in jobs.run(tasks, listen)}
    assert {name: end.status for name, end in ended.items()} == {"count": "done", "fail": "error", "die": "died"}
    assert heard == list(range(300))
    assert ended["fail"].reason == "ValueError: no such luck" and "SIGSEGV" in ended["die"].reason
    assert "#SBATCH --gpus-per-node=1\n" in (slurm / f"{jobs_of(slurm)[0]}.sh").read_text(encoding="utf-8")


@pytest.mark.usefixtures("slurm")
def test_a_node_that_is_unlike_or_does_not_share_the_store_stops_the_study_in_a_line(tmp_path: Path) -> None:
    with acting(tmp_path) as jobs:
        jobs._order = jobs._order._replace(identity=jobs._order.identity | {"its code": "other"})
        with pytest.raises(SpecError, match=r"node \S+: its code is \w+ there and other here") as told:
            list(jobs.run([task(tmp_path, "t", "count", n=1)], lambda *_: None))
    assert "\n" not in str(told.value)
    with acting(tmp_path) as jobs:
        jobs._order = jobs._order._replace(token="one that no node sees")
        with pytest.raises(SpecError, match=r"does not see the store .* set S2S_STORE"):
            list(jobs.run([task(tmp_path, "t", "count", n=1)], lambda *_: None))


@pytest.mark.usefixtures("slurm")
def test_what_slurm_refuses_is_told_in_a_line(tmp_path: Path) -> None:
    Path(os.environ["PATH"].partition(os.pathsep)[0], "sbatch").write_text(
        "#!/bin/bash\necho 'sbatch: error: invalid partition specified: longest' >&2\nexit 1\n", encoding="utf-8"
    )
    with (
        acting(tmp_path, asked=["partition=longest"]) as jobs,
        pytest.raises(SpecError, match=r"SLURM refuses the job: .*invalid partition specified: longest") as told,
    ):
        list(jobs.run([task(tmp_path, "t", "count", n=1)], lambda *_: None))
    assert "\n" not in str(told.value)


@pytest.mark.full
def test_a_job_that_is_lost_again_and_again_is_given_up(slurm: Path, tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    notes: list[str] = []

    def listen(_: str, event: dict[str, Any]) -> None:
        if "note" in event:
            notes.append(event["note"])
        else:
            job = jobs_of(slurm)[-1]
            (slurm / f"{job}.state").write_text("NODE_FAIL\n")
            os.killpg(int((slurm / f"{job}.pid").read_text()), signal.SIGKILL)

    began = time.monotonic()
    with acting(tmp_path, jobs=1) as jobs:
        (end,) = jobs.run([task(tmp_path, "bad", "sleep", pids=str(tmp_path / "pids"))], listen)
    assert end.status == "died" and "3 times: SLURM reports NODE_FAIL" in end.reason
    assert len(notes) == 2 and time.monotonic() - began < 120
