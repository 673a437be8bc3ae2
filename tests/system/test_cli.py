"""The command line: quick to start, and a user's mistake is one paragraph that tells what to do."""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from harness.cli import app
from harness.cli.arguments import print_json
from harness.core.spec import SpecError
from harness.storage.store import Store

HOME = Path(__file__).resolve().parents[2]
HEAVY = {
    "torch",
    "mlflow",
    "datasets",
    "pandas",
    "seaborn",
    "matplotlib",
    "scipy",
    "sacrebleu",
    "tokenizers",
    "pyarrow",
}
START = """
import sys
from harness.cli import app
sys.argv = ["s2s", *{argv}]
try:
    app.main()
finally:
    print("loaded:", *sorted({heavy} & set(sys.modules)))
"""

# -------------------------------------------------------------------------------------------------------- starting


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (["--help"], {}),
        (["run", "--help"], {}),
        (["new", "part", "--help"], {}),
        (["--version"], {}),
        ([], {"_S2S_COMPLETE": "complete_bash", "COMP_WORDS": "s2s r", "COMP_CWORD": "1"}),
    ],
    ids=["help", "help-run", "help-new", "version", "completion"],
)
def test_help_and_completion_load_nothing_heavy(argv: list[str], env: dict[str, str]) -> None:
    code = START.format(argv=argv, heavy=HEAVY)
    ran = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert ran.stdout.splitlines()[-1] == "loaded:", ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr.replace("SystemExit", "")


@pytest.mark.slow
def test_a_second_list_loads_no_parts(tmp_path: Path) -> None:
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    for argv in (["list"], ["list", "attention", "--json"], ["list"]):
        code = START.format(argv=argv, heavy=HEAVY)
        ran = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=HOME, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "loaded:"


def test_the_version_names_what_decides_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--version"], monkeypatch) == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["seq2seq-harness", "torch", "datasets", "mlflow"] and lines["torch"].startswith("2.")


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["list"], ["list", "--json"]])
def test_a_reader_that_has_gone_ends_a_command_without_noise(argv: list[str]) -> None:
    gone, pipe = os.pipe()
    os.close(gone)
    command = [sys.executable, "-m", "harness", *argv]
    ran = subprocess.run(command, cwd=HOME, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    os.close(pipe)
    assert ran.returncode in (0, 141) and not ran.stderr


def test_a_port_that_is_taken_is_told_before_any_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.tracking.mlflow_store.MlflowStore.ready", lambda _: "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["ui", "--port", str(port)], monkeypatch) == 2
    out, err = capsys.readouterr()
    assert not out and f"--port: port {port} cannot be used (Address already in use); choose another one" in err


def test_a_store_that_mlflow_cannot_use_is_refused_before_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("S2S_STORE", str(folder / "what?"))
    (folder / "studies/s.yaml").write_text(STUDY)
    assert run(["run", "s"], monkeypatch) == 2
    assert "--no-track" in capsys.readouterr().err
    assert not list(folder.glob("what?/**/score*"))


# -------------------------------------------------------------------------------------------------------- mistakes

STUDY = """\
question: Does it matter?
expectation: It does.
base: numbers
vary:
  training.loss.mask: [true, false]
seeds: 2
claims:
  - name: it matters
    better: {training.loss.mask: true}
    than: {training.loss.mask: false}
    metric: exact_match
"""


class Mistake(NamedTuple):
    """What is typed, in a folder with which files, and what the complaint says."""

    argv: list[str]
    said: list[str]
    files: dict[str, str | bytes] = {}


def edited(before: str, after: str) -> dict[str, str | bytes]:
    assert before in STUDY
    return {"studies/s.yaml": STUDY.replace(before, after)}


def bare(varied: str) -> dict[str, str | bytes]:
    """Return the study without claims, with other variants."""
    return {"studies/s.yaml": f"question: Q?\nexpectation: E.\nbase: numbers\n{varied}seeds: 2\n"}


def data(**settings: object) -> list[str]:
    return ["data", json.dumps({"kind": "files"} | settings)]


VALIDATE = ["validate", "s"]
TSV = "one\t1\ntwo\t2\n"
MISTAKES = {
    "unknown key": Mistake(
        VALIDATE, ["studies/s.yaml:6: sedes", "did you mean 'seeds'"], edited("seeds: 2", "sedes: 2")
    ),
    "unknown setting": Mistake(
        VALIDATE,
        ["studies/s.yaml:5: training.loss.maks: ", "did you mean 'mask'"],
        edited("  training.loss.mask: [", "  training.loss.maks: ["),
    ),
    "unknown kind": Mistake(
        VALIDATE,
        ["studies/s.yaml:5: model.decoder.bridge.kind: no bridge is called 'coppy'; did you mean 'copy'"],
        edited("training.loss.mask: [true, false]", "model.decoder.bridge.kind: [coppy, linear]"),
    ),
    "unknown kind in the base": Mistake(
        [*VALIDATE, "--base", "b"],
        ["studies/bases/b.yaml:3: data.dataset.kind: no dataset is called 'numbres'; did you mean 'numbers'"],
        {"studies/s.yaml": STUDY, "studies/bases/b.yaml": "about: x\ndata:\n  dataset: numbres\n"},
    ),
    "wrong type": Mistake(
        VALIDATE,
        ["studies/s.yaml:5: training.loss.mask: input should be a valid boolean, got 'yes'"],
        edited("[true, false]", "[yes, false]"),
    ),
    "unknown value": Mistake(
        VALIDATE,
        ["studies/s.yaml:5: training.loss.normalize: unknown value 'tokens'; did you mean 'token'"],
        edited("training.loss.mask: [true, false]", "training.loss.normalize: [tokens, padded]"),
    ),
    "not YAML": Mistake(VALIDATE, ["studies/s.yaml:6: not YAML: "], edited("[true, false]", "[true, false")),
    "empty study": Mistake(VALIDATE, ["studies/s.yaml:1: "], {"studies/s.yaml": ""}),
    "claims of no variant": Mistake(
        VALIDATE,
        ["studies/s.yaml:", "claims.0.better", "no variant has training.loss.mask = 'true'; known: true, false"],
        edited("better: {training.loss.mask: true}", 'better: {training.loss.mask: "true"}'),
    ),
    "claims of what does not vary": Mistake(
        VALIDATE,
        ["studies/s.yaml:", "claims.0.than", "did you mean 'training.loss.mask'"],
        edited("than: {training.loss.mask", "than: {training.loss.maks"),
    ),
    "unknown metric": Mistake(
        VALIDATE,
        ["studies/s.yaml:11: claims.0.metric: ", "did you mean 'exact_match'"],
        edited("exact_match", "exact_macht"),
    ),
    "unknown study": Mistake(
        ["run", "masing"], ["no study is called 'masing'", "did you mean 'masking'"], {"studies/masking.yaml": STUDY}
    ),
    "unknown study file": Mistake(["run", "nowhere/s.yaml"], ["nowhere/s.yaml: no such file"]),
    "unknown base": Mistake(
        [*VALIDATE, "--base", "nubmers"],
        ["no base is called 'nubmers'", "did you mean 'numbers'"],
        {"studies/s.yaml": STUDY},
    ),
    "bad set": Mistake(
        [*VALIDATE, "--set", "training.clip"],
        ["--set wants path=value, got 'training.clip'"],
        {"studies/s.yaml": STUDY},
    ),
    "unknown set": Mistake(
        [*VALIDATE, "--set", "training.clap=1.0"],
        ["--set: training.clap: ", "did you mean 'clip'"],
        {"studies/s.yaml": STUDY},
    ),
    "set of what varies": Mistake(
        [*VALIDATE, "--set", "training.loss.mask=true"],
        ["--set: training.loss.mask: the study varies this"],
        {"studies/s.yaml": STUDY},
    ),
    "unknown slot": Mistake(["list", "atention"], ["no slot is called 'atention'", "did you mean 'attention'"]),
    "unknown device": Mistake(
        ["run", "s", "--device", "tpu"], ["--device", "'tpu'", "cuda"], {"studies/s.yaml": STUDY}
    ),
    "unknown page": Mistake(["show", "nubmers"], ["did you mean 'numbers'"]),
    "unknown dataset": Mistake(["data", "scna"], ["did you mean 'scan'"]),
    "unknown trial": Mistake(["try", "abcdef", "one"], ["abcdef"]),
    "missing file": Mistake(data(train="a.tsv", carve_test=0.1), ["no file", "a.tsv"]),
    "missing file in a study": Mistake(
        ["run", "s", "--set", "data.dataset={kind: files, train: gone.tsv}"],
        ["no file", "gone.tsv"],
        {"studies/s.yaml": STUDY},
    ),
    "missing column": Mistake(
        data(train="a.tsv", reference=2), ["a.tsv:1: there is no column 2 but 2 columns"], {"a.tsv": TSV}
    ),
    "missing named column": Mistake(
        data(train="a.csv", source="sorce", reference="target"),
        ["a.csv:1: there is no column 'sorce'; did you mean 'source'"],
        {"a.csv": "source,target\none,1\n"},
    ),
    "empty file": Mistake(data(train="a.tsv"), ["a.tsv: the file is empty"], {"a.tsv": ""}),
    "empty text": Mistake(
        data(train="a.tsv"), ["a.tsv:3: the reference is empty", "skip_empty"], {"a.tsv": TSV + "three\t\n"}
    ),
    "not UTF-8": Mistake(
        data(train="a.tsv"), ["a.tsv:3: byte 0xff is not UTF-8"], {"a.tsv": TSV.encode() + b"\xff\t3\n"}
    ),
    "not UTF-8 study": Mistake(
        VALIDATE, ["studies/s.yaml: cannot be read as UTF-8"], {"studies/s.yaml": b"question: \xff\n"}
    ),
    "half a gzip": Mistake(
        data(train="a.tsv.gz"), ["a.tsv.gz: cannot be read"], {"a.tsv.gz": gzip.compress(TSV.encode())[:-9]}
    ),
    "unequal line counts": Mistake(
        data(train={"source": "a.en", "reference": "a.zh"}),
        ["a.en has 2 lines", "a.zh has 1"],
        {"a.en": "one\ntwo\n", "a.zh": "一\n"},
    ),
    "no test split": Mistake(
        data(train="a.tsv", carve_test=None), ["there is no test split", "carve_test"], {"a.tsv": TSV}
    ),
    "hub unreachable": Mistake(
        ["data", "{kind: hub, id: no/such, source: de, reference: en}"], ["no/such", "S2S_HUB_MIRROR", "network"]
    ),
    "new part of no slot": Mistake(["new", "part", "atention", "mine"], ["did you mean 'attention'"]),
    **{
        f"keys that are both {key}, in {section}": Mistake(
            VALIDATE,
            [f"studies/s.yaml:6: {section}: the keys here and in line 5 are both read as '{key}'; rename one"],
            bare(f'{section}:\n  {written}: {{training.clip: 1.0}}\n  "{key}": {{training.clip: 2.0}}\n'),
        )
        for section in ("cases", "ladder")
        for written, key in (("1", "1"), ("true", "True"), ("null", "None"), ("1e-3", "0.001"))
    },
    "a set said twice": Mistake(
        [*VALIDATE, "--set", "training.clip=1.0", "--set", " training.clip=2.0"],
        ["--set: training.clip: is set twice"],
        {"studies/s.yaml": STUDY},
    ),
    **{
        f"an emptied grid, {command}": Mistake(
            [command, "s"],
            ["studies/s.yaml:5: every variant is left out", "clip=1.0: excluded: low; clip=2.0: excluded: high"],
            bare(
                "vary: {training.clip: [1.0, 2.0]}\n"
                "exclude: [{when: {training.clip: 1.0}, reason: low}, {when: {training.clip: 2.0}, reason: high}]\n"
            ),
        )
        for command in ("plan", "validate", "run", "report")
    },
    "seeds with a point": Mistake(
        VALIDATE, ["studies/s.yaml:6: seeds: ", "got 2.0; write 2:"], edited("seeds: 2", "seeds: 2.0")
    ),
    "updates with an exponent": Mistake(
        VALIDATE,
        ["studies/s.yaml:6: training.updates: ", "got 1000.0; write 1000:"],
        edited("seeds: 2", "set: {training.updates: 1e3}\nseeds: 2"),
    ),
    "null where a number is wanted": Mistake(
        VALIDATE,
        ["training.updates: ", "got null"],
        edited("seeds: 2", "set: {training.updates: null}\nseeds: 2"),
    ),
    "a branch that is replaced": Mistake(
        VALIDATE,
        ["training.loss: is not set", "the mapping at 'training' replaces all", "write `training.updates: 10`"],
        edited(
            "  training.loss.mask: [true, false]",
            "  model.encoder.reverse: [true, false]\nset: {training: {updates: 10}}",
        ),
    ),
    "unknown preset": Mistake(
        [*VALIDATE, "--set", "preset=bahdanau"],
        ["--set: preset: no preset is called 'bahdanau'; did you mean 'bahdanau2015'"],
        {"studies/s.yaml": STUDY},
    ),
    "new study is there": Mistake(["new", "study", "s"], ["studies/s.yaml: already exists"], {"studies/s.yaml": STUDY}),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the bases, and no network."""
    shutil.copytree(HOME / "studies/bases", tmp_path / "studies/bases")
    monkeypatch.chdir(tmp_path)
    for name in ("S2S_STORE", "S2S_HUB_MIRROR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    return tmp_path


def run(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """Run a command as the shell would, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["s2s", *argv])
    with pytest.raises(SystemExit) as ended:
        app.main()
    return ended.value.code


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_paragraph(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mistake = MISTAKES[name]
    for file, content in mistake.files.items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code = run(mistake.argv, monkeypatch)
    out, err = capsys.readouterr()
    assert code == 2 and not out
    assert err.startswith("s2s: ") and err.count("\n") == 1 and "Traceback" not in err, err
    for part in mistake.said:
        assert part in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("argv", [["rnu", "s"], ["run"], ["run", "s", "--seeds", "0"], ["list", "--jsno"]])
def test_usage_errors_exit_with_2_too(
    argv: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv, monkeypatch) == 2
    assert "Traceback" not in capsys.readouterr().err and not (folder / "runs").exists()


def test_a_full_disk_is_told_without_a_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "runs").write_text("a file where the store should be")
    (folder / "studies/s.yaml").write_text(STUDY)
    assert run(["run", "s"], monkeypatch) == 2
    err = capsys.readouterr().err
    assert err.startswith("s2s: ") and "run the same command again" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "reader"),
    [
        (["plan", "s"], "execution.runner.prepare_data"),
        (["power", "s"], "workflows.sample_size.needs"),
        (["report", "s"], "workflows.write_report.write_report"),
        (["report", "two"], "workflows.run_datasets.write_joint_report"),
        (["try", "abc", "one"], "workflows.try_model.try_model"),
        (["sync", "s"], "tracking.sync.sync"),
        (["verify", "s"], "workflows.verify.choose"),
    ],
)
def test_nothing_is_removed_under_a_command_that_reads(
    argv: list[str], reader: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "studies/s.yaml").write_text(STUDY)
    (folder / "studies/two.yaml").write_text(STUDY.replace("base: numbers", "base: [numbers, scan]"))
    (folder / "runs").mkdir()
    monkeypatch.setattr("harness.workflows.write_report.write_report", lambda *_, **__: None)
    monkeypatch.setattr("harness.cli.print_answers.print_answer", lambda *_: None)
    monkeypatch.setattr("harness.study.frozen_plan.check", lambda *_: True)

    def removed(*_: Any, **__: Any) -> NoReturn:
        with Store(folder / "runs").alone():
            pass
        pytest.fail("nobody would have noticed a removal")

    monkeypatch.setattr(f"harness.{reader}", removed)
    assert run(argv, monkeypatch) == 2
    assert f"another command uses this store: process {os.getpid()}" in capsys.readouterr().err
    assert [path.name for path in (folder / "runs/locks").iterdir()] == ["store.lock"], "it is free again"


@pytest.mark.parametrize("command", ["sync", "verify", "export"])
def test_a_base_that_has_not_run_is_left_out(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "studies/two.yaml").write_text(STUDY.replace("base: numbers", "base: [numbers, scan]"))
    (folder / "runs").mkdir()
    done: list[str] = []

    def stop(plan: Any, *_: Any, **__: Any) -> NoReturn:
        done.append(plan.base)
        raise SpecError("so far")

    monkeypatch.setattr("harness.study.frozen_plan.check", lambda plan, _: plan.base == "scan")
    for reader in ("tracking.sync.sync", "workflows.verify.choose", "workflows.export_import.export"):
        monkeypatch.setattr(f"harness.{reader}", stop)
    assert run([command, "two"], monkeypatch) == 2 and done == ["scan"]
    assert (
        "two on numbers: nothing of this study is in the store; `s2s run` runs it; left out" in capsys.readouterr().err
    )
    monkeypatch.setattr("harness.study.frozen_plan.check", lambda *_: False)
    assert run([command, "two"], monkeypatch) == 2 and done == ["scan"]
    assert "left out" not in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("argv", "key"),
    [
        (["list", "attention", "--json"], "parts"),
        (["show", "numbers", "--json"], "shapes"),
        (["validate", "s", "--json"], "variants"),
        (["data", "{kind: numbers, source: en, reference: zh, train: 9, validation: 3, test: 3}", "--json"], "splits"),
    ],
)
def test_json_is_for_programs(
    argv: list[str], key: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "studies/s.yaml").write_text(STUDY)
    assert run(argv, monkeypatch) == 0
    assert key in json.loads(capsys.readouterr().out)


def test_power_is_told_for_every_base(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = "{name: c, better: {training.loss.mask: true}, than: {training.loss.mask: false}, metric: nll}"
    vary = "vary: {training.loss.mask: [true, false]}"
    (folder / "studies/two.yaml").write_text(
        f"question: q\nexpectation: e\nbase: [numbers, scan]\n{vary}\nclaims: [{claim}]\n"
    )
    stated = ["--delta", "2", "--sd-seed", "1", "--sd-sentence", "40", "--sentences", "500", "--json"]
    assert run(["power", "two", *stated], monkeypatch) == 0
    assert [told["base"] for told in json.loads(capsys.readouterr().out)] == ["numbers", "scan"]


def test_data_are_exported(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    choice = "{kind: numbers, source: en, reference: digits, train: 9, validation: 3, test: 4}"
    assert run(["data", choice, "--rows", "0", "--export", "out"], monkeypatch) == 0
    counts = {path.name: path.read_text().count("\n") for path in (folder / "out").iterdir()}
    assert (
        counts == {"train.tsv": 9, "validation.tsv": 3, "test.tsv": 4} and "written to out" in capsys.readouterr().out
    )
    assert run(["data", choice, "--export", "out", "--json"], monkeypatch) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["splits"] and "written to out" in told.err


def test_json_for_programs_holds_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"perplexity": [math.inf, math.nan, 1.5]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"perplexity": [None, None, 1.5]}


def test_new_files_are_written_and_valid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["new", "base", "mine", "--like", "scan"], monkeypatch) == 0
    assert run(["new", "study", "hearing"], monkeypatch) == 0
    assert run(["validate", "hearing", "--base", "mine"], monkeypatch) == 0
    assert (folder / "studies/bases/mine.yaml").exists()
