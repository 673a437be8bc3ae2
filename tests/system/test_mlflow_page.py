"""MLflow's own page over a mirrored store, seen through a browser."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import psutil
import pytest

from harness.tracking import view
from harness.tracking.mlflow_store import MlflowStore
from harness.tracking.page import ui_command
from harness.tracking.records import StudyRecord, TrialRecord, VariantRecord

pytestmark = pytest.mark.slow


def _study(root: Path) -> StudyRecord:
    root.mkdir()
    model, found, report = (root / name for name in ("model.safetensors", "hypotheses.jsonl", "report.md"))
    model.write_bytes(b"weights")
    found.write_text('{"text": "one two"}\n')
    report.write_text("# Report\n")
    updates = range(100, 2100, 100)
    variants, trials = [], []
    for mask, bleu in (("true", 20.5), ("false", 17.25)):
        params = {"training.loss.mask": mask == "true", "model.encoder.kind": "rnn"}
        means = {"score/bleu": bleu, "ci/bleu_sd": 0.5}
        variant = VariantRecord(f"mask={mask}", params, {"training.loss.mask": mask == "true"}, means)
        variants.append(variant)
        for seed in (1, 2):
            trial = TrialRecord(
                trial=f"{mask}{seed}",
                variant=variant.name,
                seed=seed,
                status="ok",
                params=params | {"seed": seed},
                metrics={"score/bleu": bleu + seed},
                curve=[{"update": u, "loss": 300 / u + seed, "dev_nll": 400 / u} for u in updates],
                clock=[{"update": u, "unix_ms": 1_700_000_000_000 + 10 * u} for u in updates],
                dataset={"name": "numbers", "sha256": "ab" * 32},
                artifacts={"model.safetensors": model, "hypotheses.jsonl": found},
            )
            trials.append(trial)
    return StudyRecord(
        "masking/numbers", "Does masking matter?", {}, {"report.md": report}, variants, trials, "score/bleu", "higher"
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, psutil.Process]]:
    """The page's address, the store beneath it, and its process."""
    root = tmp_path_factory.mktemp("ui") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        MlflowStore(root).sync(_study(root))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        argv, env, _ = ui_command(root, port)
    log = (root / "server.log").open("w")
    process = subprocess.Popen(argv, env=env, cwd=root, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health", process, root / "server.log")
        yield address, root, psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
        log.close()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    pytest.fail(f"no answer from {address}:\n{log.read_text()}")


@pytest.fixture(scope="module")
def page(browser: Any) -> Any:
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    page.set_default_timeout(60_000)
    return page


def test_it_listens_on_this_machine_only_and_writes_nothing_beside_the_mirror(
    server: tuple[str, Path, psutil.Process],
) -> None:
    _, root, process = server
    family = [process, *process.children(recursive=True)]
    listening = [c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert set(listening) == {"127.0.0.1"}
    assert len(family) <= 4
    assert not {path.name for path in root.iterdir()} & {"mlruns", "mlartifacts", "mlflow.db"}


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:{port}", "", 200),
        ("localhost:{port}", "http://localhost:{port}", 200),
        ("evil.example", "", 403),
        ("evil.example:{port}", "", 403),
        ("192.168.1.7:{port}", "", 403),
        ("127.0.0.1.evil.example:{port}", "", 403),
        ("127.0.0.1:{port}", "https://evil.example", 403),
    ],
)
def test_other_pages_of_a_browser_are_refused(
    server: tuple[str, Path, psutil.Process], host: str, origin: str, status: int
) -> None:
    port = urlparse(server[0]).port
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Host": host.format(port=port), "Content-Type": "application/json"}
    headers |= {"Origin": origin.format(port=port)} if origin else {}
    asked.request("POST", "/api/2.0/mlflow/experiments/search", '{"max_results": 5}', headers)
    answer = asked.getresponse()
    assert answer.status == status
    assert (b"masking/numbers" in answer.read()) is (status == 200)


def test_nothing_is_sent_home_and_no_jobs_are_run(server: tuple[str, Path, psutil.Process]) -> None:
    _, _, process = server
    for each in [process, *process.children(recursive=True)]:
        told = each.environ()
        assert told["MLFLOW_DISABLE_TELEMETRY"] == told["DO_NOT_TRACK"] == "true"
        assert told["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        outside = [c for c in each.net_connections("inet") if c.raddr and c.raddr.ip != "127.0.0.1"]
        assert not outside


def test_the_pages_show_the_study(server: tuple[str, Path, psutil.Process], page: Any, tmp_path: Path) -> None:
    address, root, _ = server
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    experiment, trial = _ids(root)

    page.goto(f"{address}/#/experiments/{experiment}/runs")
    _see(page, "mask=true", "mask=false")
    _see(page, "Does masking matter?")
    page.screenshot(path=tmp_path / "runs.png")

    page.goto(f"{address}/{view.address(experiment)}")
    _see(page, "score/bleu", "20.50", "17.25")
    assert not page.get_by_text("mask=true · seed 1").count(), "variants alone are compared"
    page.screenshot(path=tmp_path / "experiment.png")

    page.goto(f"{address}/#/experiments/{experiment}/runs/{trial}")
    _see(page, "mask=true · seed 1", "training.loss.mask", "model.encoder.kind", "21.5", "numbers")
    page.screenshot(path=tmp_path / "run.png")

    page.goto(f"{address}/#/experiments/{experiment}/runs/{trial}/model-metrics")
    _see(page, "training/loss", "training/dev_nll")
    page.locator(".js-plotly-plot .scatterlayer .trace").first.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=tmp_path / "curves.png")

    page.goto(f"{address}/#/experiments/{experiment}/runs/{trial}/artifacts")
    _see(page, "model.safetensors", "hypotheses.jsonl")
    page.get_by_text("hypotheses.jsonl").first.click()
    _see(page, "one two")
    page.screenshot(path=tmp_path / "artifacts.png")
    assert not trouble


def test_three_clicks_lead_a_newcomer_to_the_variants_by_the_primary_metric(
    server: tuple[str, Path, psutil.Process], browser: Any
) -> None:
    with browser.new_context(viewport={"width": 1500, "height": 1000}) as fresh:
        fresh.set_default_timeout(60_000)
        page = fresh.new_page()
        page.goto(f"{server[0]}/#/experiments")
        page.get_by_text("Model training").first.click()
        page.get_by_role("link", name="masking/numbers").first.click()
        with fresh.expect_page() as opened:
            page.get_by_role("link", name="Compare variants").click()
        opened.value.locator(".js-plotly-plot").first.get_by_text("20.50").first.wait_for()
        _see(opened.value, "score/bleu", "17.25", "mask=false")


def test_a_curve_moves_on_an_open_page_while_its_trial_trains(
    server: tuple[str, Path, psutil.Process], page: Any
) -> None:
    address, root, _ = server
    study = replace(_study(root.parent / "moving"), name="moving/numbers")
    whole = study.trials[0]

    def trains(first: int, last: int) -> None:
        part = {"curve": whole.curve[first:last], "clock": whole.clock[first:last]}
        new = replace(whole, status="running", metrics={}, artifacts={}, **part)
        MlflowStore(root).sync(replace(study, variants=study.variants[:1], trials=[new], artifacts={}))

    trains(0, 5)
    experiment, run = _ids(root, "moving/numbers")
    page.goto(f"{address}/#/experiments/{experiment}/runs/{run}/model-metrics")
    points = "() => Math.max(0, ...[...document.querySelectorAll('.js-plotly-plot')].flatMap(p => p.data.map(d => d.x.length)))"
    page.wait_for_function(f"({points})() == 5")
    trains(5, 12)
    page.wait_for_function(f"({points})() == 12", timeout=90_000)


def _ids(root: Path, name: str = "masking/numbers") -> tuple[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(MlflowStore(root).tracking_uri)
    experiment = client.get_experiment_by_name(name).experiment_id
    (run,) = client.search_runs([experiment], "tags.`s2s.trial` = 'true1'")
    return str(experiment), str(run.info.run_id)


def _see(page: Any, *texts: str) -> None:
    for text in texts:
        page.get_by_text(text).first.wait_for()
