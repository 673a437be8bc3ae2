"""MLflow's own page for a store, on this machine only."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from harness.core.redaction import masked
from harness.core.signals import Stopped
from harness.core.spec import SpecError
from harness.tracking import view
from harness.tracking.mlflow_store import ENVIRONMENT, MlflowStore

GRACE = 10.0
"""Seconds that the page has to end."""


def comparisons(root: Path) -> list[tuple[str, str]]:
    """Return each study in MLflow, the latest first, with the part of an address at which its variants are compared."""
    found = MlflowStore(root).experiments()
    return [(each.name, view.address(each.experiment_id)) for each in found if view.TAG in each.tags]


def server(root: Path) -> str:
    """Return the address of the server that MLFLOW_TRACKING_URI names, without its password; "" where the store has its own."""
    mirror = MlflowStore(root)
    return "" if mirror.direct else masked(mirror.tracking_uri).rstrip("/") + "/"


def comparisons_there(root: Path) -> list[tuple[str, str]]:
    """Return ``comparisons`` of the server that MLFLOW_TRACKING_URI names.

    Raises:
        SpecError: it does not answer.
    """
    try:
        return comparisons(root)
    except Exception as error:  # whatever the libraries of the network raise
        reason = masked(" ".join(str(error).split()))[:300]
        told = f"MLFLOW_TRACKING_URI is a server with a page of its own: open {server(root)}"
        raise SpecError(f"{told}; asked for the studies, it gave: {reason}") from None


def ui_command(root: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    """Return command and environment of MLflow's own page for a store, for this machine only, and a note.

    Raises:
        SpecError: MLFLOW_TRACKING_URI names a server, which has its own page, or the database cannot be used.
    """
    mirror = MlflowStore(root)
    if not mirror.direct:
        raise SpecError(f"MLFLOW_TRACKING_URI is a server with a page of its own: open {masked(mirror.tracking_uri)}")
    note = mirror.ready()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was closed a moment ago is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise SpecError(f"port {port} cannot be used ({reason}); choose another one", place="--port") from None
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"]  # by default the whole local network may ask
    argv += ["--default-artifact-root", mirror.database.artifacts.as_uri()]
    # The address may contain a password, which all users of the machine could read in a command.
    env = ENVIRONMENT | dict(os.environ) | {"MLFLOW_BACKEND_STORE_URI": mirror.tracking_uri}
    return argv, env, note


def serve(argv: list[str], env: dict[str, str], port: int, answers: Callable[[], None], log: Path) -> int:
    """Run a server until it ends or this process is stopped, and return its exit code; no process stays behind.

    Args:
        argv: the command.
        env: its environment.
        port: its port on this machine.
        answers: called once, when the server answers.
        log: the file for its output.
    """
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(argv, env=env, stdout=output, stderr=output, process_group=0) as server,
    ):
        try:
            while server.poll() is None and not _answers(port):
                time.sleep(0.1)
            if server.poll() is None:
                answers()
            return server.wait()
        except Stopped:
            os.killpg(server.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(GRACE)
            return 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError, http.client.HTTPException), closing(asked):
        asked.request("GET", "/health")
        return asked.getresponse().status == http.client.OK
    return False
