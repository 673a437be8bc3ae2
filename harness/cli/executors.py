"""Which executor runs the tasks of a study, as options of a command name it; its package is imported only then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.cli.arguments import check_device, the_store

if TYPE_CHECKING:
    from harness.execution.local_pool import Workers
    from harness.execution.ray_cluster import Cluster
    from harness.execution.slurm_jobs import Jobs


class Elsewhere(NamedTuple):
    """Where the tasks of a study run, and what those machines are told."""

    executor: str = "local"
    """``local``, ``ray`` or ``slurm``."""
    address: str | None = None
    """Of a Ray cluster; for SLURM ``here`` runs its jobs on this machine."""
    slurm: Sequence[str] = ()
    """Options of ``sbatch``."""

    def check(self) -> None:
        """Raise ``SpecError`` if an option does not belong to the executor."""
        from harness.core.spec import SpecError

        if self.executor not in ("local", "ray", "slurm"):
            known = "known: local, ray, slurm"
            raise SpecError(f"no executor is called '{self.executor}'; {known}", place="--executor")
        if self.address is not None and self.executor == "local":
            raise SpecError("names a Ray cluster; give --executor ray too", place="--address")
        if self.executor == "slurm" and self.address not in (None, "here"):
            raise SpecError(
                "SLURM finds its cluster by itself; only 'here' is known, for this machine", place="--address"
            )
        if self.slurm and self.executor != "slurm":
            raise SpecError("are options of sbatch; give --executor slurm too", place="--slurm")


def executor_of(
    name: str, where: Elsewhere = Elsewhere(), *, device: str, jobs: int | None, per_gpu: int
) -> Workers | Cluster | Jobs:
    """Return the executor of a study's tasks: worker processes on this machine, a Ray cluster, or jobs of SLURM.

    Raises:
        SpecError: the device or the executor is unknown, or its package is not installed.
    """
    from harness.execution.entry import MODULES, entry_of, perform

    check_device(device)
    where.check()
    work = (entry_of(perform), MODULES)
    if where.executor == "ray":
        with _extra("ray"):
            from harness.execution.ray_cluster import Cluster
        return Cluster(where.address or "auto", *work, device=device, jobs=jobs, per_gpu=per_gpu)  # type: ignore[arg-type]
    if where.executor == "slurm":
        with _extra("slurm", "submitit"):
            from harness.execution.slurm_jobs import Jobs
        if per_gpu > 1:
            from harness.core.spec import SpecError

            raise SpecError("a job of SLURM has its GPUs for itself", place="--per-gpu")
        here = where.address == "here"
        return Jobs(*work, the_store().root, device=device, jobs=jobs, asked=where.slurm, here=here)
    from harness.execution.local_pool import Workers, logs_of, slots

    places, root = slots(device, jobs, per_gpu), the_store().root  # type: ignore[arg-type]
    # Workers start while the plan is made, unless the study has an answer already: there may be nothing to do.
    eager = not any((root / "studies" / Path(name).stem).glob("*/answer.json"))
    return Workers(*work, places, {"logs": str(logs_of(root))}, eager=eager)


@contextmanager
def _extra(name: str, package: str = "") -> Iterator[None]:
    """Let a block import a package of an extra.

    Raises:
        SpecError: it is not installed; and how to install it.
    """
    from harness.core.spec import SpecError

    try:
        yield
    except ModuleNotFoundError as error:
        package = package or name
        if error.name != package:
            raise
        message = f"{package} is not installed; pip install -e '.[{name}]' -c constraints.txt"
        raise SpecError(message, place=f"--executor {name}") from None
