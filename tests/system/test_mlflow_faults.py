"""Tracking servers that are away, slow, refuse or lie: a study keeps its results, says why, and a sync completes it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import bad_servers
import pytest
from homes import Home, new_home
from servers import Server, client_of, mlflow_server, told

from harness.core.spec import SpecError
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.records import StudyRecord, VariantRecord


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that has been run, but not been mirrored."""
    home = new_home(tmp_path_factory.mktemp("ready") / "home")
    home.s2s("run", str(home.folder / "small.yaml"), "--jobs", "2", "--no-track")
    return home


@pytest.fixture
def home(ready: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(ready.folder, tmp_path / "home")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def whole(ready: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What MLflow says of the study when nothing went wrong."""
    home = Home(Path(shutil.copytree(ready.folder, tmp_path_factory.mktemp("whole") / "home")))
    home.s2s("sync", study(home))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return told(client_of(MlflowStore(home.store).tracking_uri))


def study(home: Home) -> str:
    return str(home.folder / "small.yaml")


DENIED = b'{"error_code": "PERMISSION_DENIED", "message": "no"}'
Fault = Callable[[Path], AbstractContextManager[str]]
FAULTS: dict[str, tuple[Fault, str]] = {
    "nobody": (lambda _: bad_servers.nobody(), "nothing listens at this address"),
    "unknown host": (lambda _: bad_servers.unknown_host(), "its host is not known"),
    "reset": (lambda _: bad_servers.resetting(), "interrupted"),
    "unauthorized": (lambda _: bad_servers.answering(401), "MLFLOW_TRACKING_USERNAME"),
    "forbidden": (lambda _: bad_servers.answering(403), "does not allow this user"),
    "forbidden, as MLflow has it": (lambda _: bad_servers.answering(403, DENIED), "does not allow this user"),
    "failing": (lambda _: bad_servers.answering(500), "server fails"),
    "unavailable": (lambda _: bad_servers.answering(503), "server fails"),
    "a page": (lambda _: bad_servers.answering(200, b"<html>Welcome to nginx!</html>"), "is not MLflow"),
    "empty": (lambda _: bad_servers.answering(200, b""), "is not MLflow"),
    "yes to everything": (lambda _: bad_servers.answering(200, b"{}"), "is not MLflow"),
    "another page": (lambda _: bad_servers.answering(404, b"<html>Not found</html>"), "is not MLflow"),
    "other JSON": (lambda _: bad_servers.answering(200, b'["no"]'), "is not MLflow"),
    "silent": (lambda _: bad_servers.silent(), "no answer in time"),
    "certificate": (bad_servers.distrusted, "secure connection"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fault, why = FAULTS[name]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with fault(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(SpecError, match=rf"^{re.escape(address)}: .*{why}"):
            MlflowStore(tmp_path).sync(StudyRecord("a/b", variants=[VariantRecord("v")]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["failing", *(pytest.param(name, marks=pytest.mark.full) for name in ("nobody", "a page"))]
)
def test_a_study_ends_well_whatever_the_server_does_and_says_why(home: Home, tmp_path: Path, name: str) -> None:
    fault, why = FAULTS[name]
    with fault(tmp_path) as address:
        began = time.monotonic()
        done = home.tried("run", study(home), MLFLOW_TRACKING_URI=address)
        assert time.monotonic() - began < 180  # a busy machine
        assert done.returncode == 0 and not done.stderr, done.stderr
        said = " ".join(done.stdout.split())
        assert re.search(rf"note: MLflow could not be filled \({re.escape(address)}: .*{why}", said), said
        assert "The results are safe; `s2s sync small`" in said and "pilot (" in said
        failed = home.tried("sync", study(home), MLFLOW_TRACKING_URI=address)
        assert failed.returncode == 2 and why in failed.stderr and "Traceback" not in failed.stderr, failed.stderr


@pytest.mark.full
@pytest.mark.slow
def test_a_server_that_never_answers_is_not_waited_for_longer_than_is_said(home: Home) -> None:
    with bad_servers.silent() as address:
        began = time.monotonic()
        said = home.s2s("run", study(home), MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_TIMEOUT="600")
        took = time.monotonic() - began
    assert "waiting for MLflow, 60 s at most; Ctrl-C leaves it to `s2s sync`" in said
    assert "it took longer than 60 s" in said and "`s2s sync small`" in said
    assert 60 < took < 240


@pytest.mark.slow
def test_ctrl_c_leaves_a_server_that_never_answers_to_a_sync(home: Home) -> None:
    def as_in_a_terminal() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with bad_servers.silent() as address:
        how = home.command("run", study(home), MLFLOW_TRACKING_URI=address)
        process = subprocess.Popen(**how, stdout=subprocess.PIPE, preexec_fn=as_in_a_terminal)
        assert process.stdout is not None
        while "waiting for MLflow" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "pilot (" in said and "interrupted by Ctrl-C" in said


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("survives", [2, 20, 60])
def test_a_server_that_dies_after_some_requests_loses_nothing(
    home: Home, server: Server, whole: dict[str, Any], survives: int
) -> None:
    _forget(server)
    proxy = bad_servers.Proxy(server.address, lambda count: count < survives)
    with bad_servers.serving(proxy) as address:
        said = home.s2s("run", study(home), MLFLOW_TRACKING_URI=address)
        assert "note: MLflow could not be filled" in said, said
    assert " runs written" in home.s2s("sync", study(home), MLFLOW_TRACKING_URI=server.address)
    assert told(client_of(server.address)) == whole
    again = home.s2s("sync", study(home), MLFLOW_TRACKING_URI=server.address)
    assert "0 runs written with 0 points, 6 unchanged" in again


@pytest.mark.full
@pytest.mark.slow
def test_answers_that_are_lost_on_their_way_leave_no_run_twice(
    home: Home, server: Server, whole: dict[str, Any]
) -> None:
    """The server does what it is asked, but every third answer is lost, so that the client asks again."""
    _forget(server)

    proxy = bad_servers.Proxy(server.address, lost=lambda count: count % 3 == 1)
    with bad_servers.serving(proxy) as address:
        assert "6 runs written" in home.s2s("sync", study(home), MLFLOW_TRACKING_URI=address)
    assert told(client_of(server.address)) == whole


@pytest.mark.full
@pytest.mark.slow
def test_a_slow_server_is_left_behind_and_completed_later(home: Home, server: Server, whole: dict[str, Any]) -> None:
    _forget(server)
    with bad_servers.serving(bad_servers.Proxy(server.address, delay=2.0)) as address:
        said = home.s2s("run", study(home), MLFLOW_TRACKING_URI=address)
    assert "it took longer than 60 s" in said
    home.s2s("sync", study(home), MLFLOW_TRACKING_URI=server.address)
    assert told(client_of(server.address)) == whole


@pytest.mark.slow
@pytest.mark.parametrize("after", [3.0, *(pytest.param(after, marks=pytest.mark.full) for after in (2.0, 4.0, 5.0))])
def test_a_sync_that_is_killed_is_completed_by_the_next(home: Home, whole: dict[str, Any], after: float) -> None:
    started = home.started("sync", study(home))
    time.sleep(after)
    started.kill()
    started.communicate()
    home.s2s("sync", study(home))
    assert told(client_of(MlflowStore(home.store).database.uri)) == whole
    assert "0 runs written with 0 points, 6 unchanged" in home.s2s("sync", study(home))


@pytest.mark.slow
def test_two_syncs_at_once_write_everything_once(home: Home, whole: dict[str, Any]) -> None:
    started = [home.started("sync", study(home)) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0] for process in started)
    assert ["0 runs written" in said[0], "6 runs written" in said[1]] == [True, True], said
    assert told(client_of(MlflowStore(home.store).database.uri)) == whole


@pytest.mark.full
@pytest.mark.slow
def test_two_stores_may_fill_one_server_at_once(
    ready: Home, server: Server, whole: dict[str, Any], tmp_path: Path
) -> None:
    """As two machines do that share a server, but no disk."""
    _forget(server)
    homes = [Home(Path(shutil.copytree(ready.folder, tmp_path / name))) for name in ("one", "two")]
    started = [home.started("sync", study(home), MLFLOW_TRACKING_URI=server.address) for home in homes]
    for process in started:
        process.communicate(timeout=120)
    home = homes[0]
    home.s2s("sync", study(home), MLFLOW_TRACKING_URI=server.address)
    assert told(client_of(server.address)) == whole


@pytest.mark.full
@pytest.mark.slow
def test_a_full_disk_under_the_mirror_is_a_note(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = home.store / "mlflow"
    small.mkdir()
    with ExitStack() as stack:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(small)], capture_output=True)
        if mounted.returncode:
            pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
        stack.callback(partial(subprocess.run, ["umount", str(small)], check=True))
        said = home.s2s("run", study(home))
        assert "note: MLflow could not be filled" in said and "the disk is full" in said, said
    assert "6 runs written" in home.s2s("sync", study(home))


def _forget(server: Server) -> None:
    """Take the study off the server for good."""
    client = client_of(server.address)
    found = client.get_experiment_by_name("small/numbers")
    if found is not None:
        client.rename_experiment(found.experiment_id, f"before {time.monotonic_ns()}")
