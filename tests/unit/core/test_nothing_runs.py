"""No line of the project executes what data, a study or a result holds: its syntax trees are searched for what could."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[3]
MODULES = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "runpy", "code", "yaml"}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "popen", "getoutput", "getstatusoutput", "read_pickle", "to_pickle", "import_module", "exec_module",
    "extractall", "extract", "from_string", "mktemp", "literal_eval", "spec_from_file_location",
}  # fmt: skip
"""Functions by their last name, wherever they are from."""
ALLOWED = {
    ("variants/__init__.py", "import_module"): "the files of this very package, listed by the package itself",
    (
        "harness/execution/worker.py",
        "import_module",
    ): "entry and modules of workers are written in the code of the parent",
    (
        "harness/storage/checkpoint.py",
        "pickle",
    ): "an error by its name, for a checkpoint that is none; nothing of it is called",
    (
        "harness/storage/archive.py",
        "extract",
    ): "a function of the project, not of tarfile: regular files by checked names only",
    ("harness/execution/local_pool.py", "import_module"): "torch, by a literal name, only where there may be a GPU",
    ("harness/core/plugins.py", "spec_from_file_location"): "a file that the user names on the command line",
    ("harness/core/plugins.py", "exec_module"): "a file that the user names on the command line",
}
"""File and finding, with the reason."""


def findings(source: str) -> list[str]:
    """Return what in a source could execute data."""
    return [found for node in ast.walk(ast.parse(source)) for found in _in(node)]


def _in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
    if isinstance(node, ast.ImportFrom):
        return [node.module] if node.module and node.module.partition(".")[0] in MODULES else []
    return _in_call(node) if isinstance(node, ast.Call) else []


def _in_call(node: ast.Call) -> list[str]:
    function, given = node.func, {word.arg: word.value for word in node.keywords}
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    home = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    found = [name] if name in CALLS or (name in NAMES and not home) else []
    if (home, name) == ("os", "system"):
        found.append("os.system")
    if (home, name) == ("torch", "load") and not _is(given.get("weights_only"), True):
        found.append("torch.load")
    if name == "Environment" or (home, name) == ("jinja2", "Template"):
        found.append("jinja2 without a sandbox")
    if name == "YAML" and not _is(given.get("typ"), "rt"):
        found.append("YAML that makes objects")
    unsafe = {"shell": False, "allow_pickle": False, "autoescape": True, "trust_remote_code": False}
    return found + [word for word, safe in unsafe.items() if word in given and not _is(given[word], safe)]


def _is(node: ast.expr | None, value: object) -> bool:
    return (isinstance(node, ast.Constant) and node.value is value) or (isinstance(value, str) and _text(node) == value)


def _text(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def sources() -> list[Path]:
    return sorted(path for room in ("harness", "variants") for path in (HOME / room).rglob("*.py"))


def test_nothing_in_the_project_could_execute_data() -> None:
    found = {
        (path.relative_to(HOME).as_posix(), what) for path in sources() for what in findings(path.read_text("utf-8"))
    }
    assert found - set(ALLOWED) == set(), "could execute what a file holds; if it cannot, say why in ALLOWED"
    assert set(ALLOWED) - found == set(), "no longer there; take it out of ALLOWED"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "eval(text)",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "pd.read_pickle(path)",
        "importlib.import_module(name)",
        "YAML(typ='unsafe')",
        "YAML()",
        "jinja2.Environment()",
        "jinja2.Template(text)",
        "environment.from_string(text)",
        "SandboxedEnvironment(autoescape=False)",
        "load_dataset(name, trust_remote_code=True)",
        "tar.extractall(folder)",
    ],
)
def test_the_search_finds(source: str) -> None:
    assert findings(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p, weights_only=True)",
        "YAML(typ='rt')",
        "model.eval()",
        "re.compile(x)",
        "np.load(p, allow_pickle=False)",
    ],
)
def test_the_search_lets_pass(source: str) -> None:
    assert not findings(source)
