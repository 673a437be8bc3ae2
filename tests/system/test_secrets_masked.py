"""Passwords and tokens of the environment: nothing that a command prints or writes holds them, least of all its errors."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import bad_servers
import pytest
from homes import Home, new_home
from servers import free_port

pytestmark = pytest.mark.slow
PASSWORD, TOKEN, HUB = "hunter2-of-ann", "bearer-7f3a9c21", "hf_QmVhcmVyVG9rZW4"
SECRETS = (PASSWORD, TOKEN, HUB, "YW5uOmh1bnRlcjItb2YtYW5u")  # the last is ann:hunter2-of-ann in base64
ENVIRONMENT = {"MLFLOW_TRACKING_TOKEN": TOKEN, "HF_TOKEN": HUB, "HF_HUB_OFFLINE": "1"}
LEAKY = """
import os
from multiprocessing import parent_process
from harness.contracts import Initializer
from harness.core.registry import register

@register("leaky")
class Leaky(Initializer):
    class Config(Initializer.Config):
        pass

    def fill(self, model):
        if parent_process() is not None:  # in a worker, after the check before the run
            raise RuntimeError(f"cannot tell {os.environ['MLFLOW_TRACKING_URI']} with {os.environ['HF_TOKEN']}")
"""


def clean(home: Home, *said: str) -> None:
    """Demand that no secret is in what was said, nor in any file of a study."""
    for text in said:
        assert not [secret for secret in SECRETS if secret in text], text
    files = [path for path in home.folder.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert files
    leaks = [(path, secret) for path in files for secret in SECRETS if secret.encode() in path.read_bytes()]
    assert not leaks


def both(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return new_home(tmp_path_factory.mktemp("secrets") / "home", seeds=1)


@pytest.mark.parametrize(
    "scheme", ["https", *(pytest.param(name, marks=pytest.mark.full) for name in ("http", "postgresql", "mysql"))]
)
def test_an_address_with_a_password_is_nowhere(home: Home, scheme: str) -> None:
    study = str(home.folder / "small.yaml")
    with bad_servers.nobody() as address:
        uri = address.replace("http://", f"{scheme}://ann:{PASSWORD}@")
        environment = ENVIRONMENT | {"MLFLOW_TRACKING_URI": uri}
        words = [
            ("validate", study),
            ("plan", study),
            ("run", study, "--jobs", "1"),
            ("sync", study),
            ("report", study),
        ]
        said = [both(home.tried(*each, **environment)) for each in words]
    assert "2 trials done" in said[2] or "nothing to do" in said[2], said[2]
    assert "note: MLflow could not be filled" in said[2] and "://***@127.0.0.1" in said[2]
    assert "://***@127.0.0.1" in said[3] and "Traceback" not in said[3]
    clean(home, *said)


@pytest.mark.parametrize("status", [401, *(pytest.param(status, marks=pytest.mark.full) for status in (403, 500))])
def test_a_server_that_repeats_what_it_was_told_is_not_repeated(home: Home, status: int) -> None:
    body = f"no: http://ann:{PASSWORD}@host, Bearer {TOKEN}".encode()
    with bad_servers.answering(status, body) as address:
        environment = ENVIRONMENT | {"MLFLOW_TRACKING_URI": address.replace("//", f"//ann:{PASSWORD}@")}
        clean(home, both(home.tried("sync", str(home.folder / "small.yaml"), **environment)))


def test_failures_of_trials_and_of_data_hold_none(tmp_path: Path) -> None:
    home = new_home(tmp_path / "leaky", seeds=1)
    (home.folder / "leaky.py").write_text(LEAKY, encoding="utf-8")
    environment = ENVIRONMENT | {"MLFLOW_TRACKING_URI": f"http://ann:{PASSWORD}@127.0.0.1:9"}
    words = ["run", str(home.folder / "small.yaml"), "--jobs", "1", "--plugin", str(home.folder / "leaky.py")]
    words += ["--set", "training.initializer.kind=leaky"]
    done = home.tried(*words, **environment)
    assert done.returncode == 1 and "cannot tell http://***@127.0.0.1:9 with ***" in both(done), both(done)
    assert any("cannot tell" in path.read_text() for path in (home.store / "failures").glob("*.json"))
    clean(home, both(done))
    dataset = "{kind: hub, id: some/dataset, source: de, reference: en}"
    clean(home, both(home.tried("data", dataset, **environment)))


def test_the_page_of_a_database_shows_no_password_to_other_users(tmp_path: Path) -> None:
    """Neither what it prints, nor its command, which all users of a machine can read."""
    home = new_home(tmp_path / "page")
    refused = home.tried("ui", MLFLOW_TRACKING_URI=f"https://ann:{PASSWORD}@tracking.example")
    assert refused.returncode == 2 and "open https://***@tracking.example" in " ".join(refused.stderr.split())
    clean(home, both(refused))
    uri = f"sqlite:////{tmp_path}/own.db"
    port = free_port()
    process = home.started("ui", "--port", str(port), MLFLOW_TRACKING_URI=uri)
    try:
        _wait(port, process)
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
        assert any(b"--default-artifact-root" in line and str(tmp_path).encode() in line for line in lines)
        assert not any(b"own.db" in line for line in lines)
    finally:
        process.terminate()
        process.communicate(timeout=60)  # no server is left that holds its output


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes()) and f"/{os.getpid()}/" not in str(path)
    except OSError:
        return False


def _wait(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    pytest.fail("no page")
