"""What of the door to SLURM needs no job: options of sbatch, and mistakes in a line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.cli.executors import Elsewhere, executor_of
from harness.core.spec import SpecError

pytest.importorskip("submitit", reason="submitit is an extra: pip install 'seq2seq-harness[slurm]'")

from harness.execution.slurm_jobs import Jobs, options


def test_options_are_those_of_sbatch_and_the_users_win() -> None:
    assert options([], gpu=False) == {"time": 240, "cpus_per_task": 1}
    asked = ["--partition=long", "time = 4:00:00", "gpus-per-node=a100:1", "exclusive", "comment=a=b"]
    assert options(asked, gpu=True) == {
        "time": "4:00:00",
        "cpus_per_task": 1,
        "gpus_per_node": "a100:1",
        "partition": "long",
        "exclusive": True,
        "comment": "a=b",
    }
    with pytest.raises(SpecError, match="NAME=VALUE, got '=long'"):
        options(["=long"], gpu=False)


@pytest.mark.parametrize(
    ("where", "per_gpu", "words"),
    [
        (Elsewhere("slurm", "host:1"), 1, "--address.*only 'here' is known"),
        (Elsewhere("local", None, ["partition=long"]), 1, "--slurm.*give --executor slurm too"),
        (Elsewhere("slurm"), 2, "--per-gpu.*GPUs for itself"),
    ],
)
def test_options_that_do_not_go_together_are_told_in_a_line(where: Elsewhere, per_gpu: int, words: str) -> None:
    with pytest.raises(SpecError, match=words) as told:
        executor_of("masking", where, device="cpu", jobs=1, per_gpu=per_gpu)
    assert "\n" not in str(told.value)


def test_without_the_package_the_user_learns_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "harness.execution.slurm_jobs")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(SpecError, match=r"submitit is not installed; pip install -e '\.\[slurm\]' -c constraints\.txt"):
        executor_of("masking", Elsewhere("slurm"), device="cpu", jobs=1, per_gpu=1)


def test_a_machine_without_slurm_says_so_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpecError, match=r"sbatch and srun are not found here.*--address here"):
        Jobs("entries:act", (), tmp_path / "runs").__enter__()
    assert not (tmp_path / "runs").exists()
