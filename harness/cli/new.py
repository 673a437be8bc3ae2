"""Starting points that work: a part that is a copy of another, with its test; a study; a base."""

from __future__ import annotations

import ast
import inspect
import json
import keyword
import re
import shlex
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from harness.cli.templates import copied, defined, pruned
from harness.core.names import file_name
from harness.core.registry import SLOTS, Choice, suggest
from harness.core.spec import SpecError, override, read
from harness.study import locate
from harness.study.planning import read_base
from harness.trial.pipeline import TrialChoice

BASE = "numbers"
"""The base in which a new part is tested."""
LISTS = {"metric": "decoding.scoring.metrics"}
"""Slots of which a trial names several parts: where."""
DEEPEST = 6
"""Names in the dotted path of a slot, at most: a slot may hold slots of its own kind."""

# ------------------------------------------------------------------------------------------------------------ parts


def part(slot: str, kind: str, like: str | None = None) -> str:
    """Write a part that is a copy of another; return what to do next.

    In the checkout that is installed it stands among the parts, with a test; elsewhere it is a plugin in this folder.

    Raises:
        SpecError: unknown slot, or a name that is not valid or is taken.
    """
    _check_kind(slot, kind)
    kinds = SLOTS[slot].kinds
    if like is not None and like not in kinds:
        raise SpecError(f"no {slot} is called '{like}'; {suggest(like, kinds)}")
    like = like or simplest(slot)
    called, text = file_name(f"{slot}_{kind}", "a file"), copied(kinds[like], slot, kind, like)
    text = _opt_in(text) if slot in LISTS else text
    path, chosen, around = place(slot, like)
    home = Path(inspect.getfile(kinds[like])).resolve().parent
    if home == Path("variants").resolve() and Path("tests/unit/variants").is_dir():
        file, test = Path(f"variants/{called}.py"), Path(f"tests/unit/variants/test_{called}.py")
        names = {"slot": slot, "kind": kind, "like": like, "path": path, "title": slot.replace("_", " ")}
        said = {
            "choice": _one_line(chosen), "around": _python(around), "result": Template(RESULTS[slot]).substitute(names),
            "value": '[{"kind": kind} | CHOICE]' if slot in LISTS else '{"kind": kind} | CHOICE',
        }  # fmt: skip
        _write({file: text, test: _test(Template(TEST).substitute(names, **said))})
        steps = [f"written: {file}, a working copy of the {slot} '{like}'", f"written: {test}", "next:"]
        steps += [f"  change {file}, and in {test} the expected numbers", f"  s2s list {slot}", f"  pytest {test}"]
        steps += ["  or keep it elsewhere, and name the file: s2s run STUDY --plugin FILE.py", "  make test"]
    else:
        file = Path(f"{called}.py")
        _write({file: text})
        steps = [f"written: {file}, a working copy of the {slot} '{like}'", "next:", f"  change {file}"]
        steps += [f"  s2s list {slot} --plugin {file}", f"  s2s run STUDY --plugin {file}"]
    return "\n".join([*steps, *_comparison(path, chosen, around, like, kind)])


def _comparison(path: str, chosen: dict[str, Any], around: Mapping[str, Any], like: str, kind: str) -> list[str]:
    """Return the lines of a study that compares a part with the one that it is a copy of."""
    values = [{"kind": name} | chosen if chosen else name for name in (like, kind)]
    if path in LISTS.values():
        return ["  compute both in a study:", f"    set: {{{path}: [{', '.join(map(_yaml, values))}]}}"]
    axis = f"{path}: [{', '.join(map(_yaml, values))}]" if chosen else f"{path}.kind: [{like}, {kind}]"
    return ["  compare it in a study:", *([f"    set: {_yaml(around)}"] if around else []), f"    vary: {{{axis}}}"]


def _opt_in(text: str) -> str:
    """Return the text of a metric that is computed where it is named, from statistics that no other one shares."""
    text = re.sub(r"\n    (default|shared): ClassVar\[\w+\] = [^\n]*", "", text)
    return re.sub(r"\n{3}(?=    )", "\n\n", text)  # where they stood alone


def _test(text: str) -> str:
    """Return the text of a test without what its slot does not need."""
    tree = ast.parse(text)
    roots = {name for name in defined(tree) if name.startswith("test_")}
    return text.splitlines()[0] + "\n" + pruned(tree, roots, text.encode().splitlines())


def _check_kind(slot: str, kind: str) -> None:
    if slot not in SLOTS:
        raise SpecError(f"no slot is called '{slot}'; {suggest(slot, SLOTS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind) or keyword.iskeyword(kind) or kind in ("true", "false", "null"):
        raise SpecError(
            f"'{kind}' cannot name a kind; use lower-case letters, digits and underscores, and no reserved word"
        )
    if kind in SLOTS[slot].kinds:
        raise SpecError(f"there is a {slot} called '{kind}' already; known: {', '.join(sorted(SLOTS[slot].kinds))}")


def simplest(slot: str) -> str:
    """Return the kind to start from: the shortest to read of those with settings and without nested slots."""

    def cost(kind: str) -> tuple[bool, bool, bool, int]:
        config, aside = SLOTS[slot].kinds[kind].Config, getattr(SLOTS[slot].kinds[kind], "diagnostic", False)
        nested = any(_choice_in(field) for field in config.model_fields.values())
        return aside, nested, not config.model_fields, copied(SLOTS[slot].kinds[kind], slot, "x", kind).count("\n")

    return str(min(SLOTS[slot].kinds, key=cost))


def _choice_in(field: Any) -> type[Choice] | None:
    inner = field.annotation
    return inner if isinstance(inner, type) and issubclass(inner, Choice) else None


def place(slot: str, kind: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return where a slot is in a trial of the base, the settings that a kind needs there, and what must be set around it."""
    base = read_base(locate.base(BASE))[0]
    path, around = (LISTS[slot], {}) if slot in LISTS else next(_places(SLOTS[slot], base))
    plain: Any = override(TrialChoice, base, around)
    for name in path.split("."):
        plain = plain.get(name, {}) if isinstance(plain, Mapping) else {}
    return path, _required(SLOTS[slot].kinds[kind].Config, plain if isinstance(plain, Mapping) else {}), around


def _places(slot: Any, base: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every place of a slot, nearest first, with the kinds around it that the base has otherwise."""
    waiting: deque[tuple[Any, Any, list[str], dict[str, Any]]] = deque([(TrialChoice, base, [], {})])
    while waiting:
        config, plain, above, around = waiting.popleft()
        for name, field in config.model_fields.items():
            inner, path = _choice_in(field), [*above, name]
            if inner is None or len(path) > DEEPEST:
                continue
            here = plain.get(name) if isinstance(plain, Mapping) else None
            if not inner.is_slot():
                waiting.append((inner, here, path, around))
                continue
            if inner.slot is slot:
                yield ".".join(path), around
            has = here.get("kind") if isinstance(here, Mapping) else here
            for kind, found in sorted(inner.slot.kinds.items(), key=lambda item: item[0] != has):
                changed = {} if kind == has else {f"{'.'.join(path)}.kind": kind}
                waiting.append((found.Config, here if kind == has else None, path, around | changed))


def _required(config: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of the settings that have no default: those of the base where it has them, else any that are valid."""
    made = {}
    for name, field in config.model_fields.items():
        if not field.is_required():
            continue
        inner = _choice_in(field)
        if inner is not None and inner.is_slot():
            kind = simplest(next(slot for slot, contract in SLOTS.items() if contract is inner.slot))
            made[name] = {"kind": kind} | _required(inner.slot.kinds[kind].Config, {})
        elif inner is not None:
            made[name] = _required(inner, {})
        else:
            made[name] = _valid(field, name, plain.get(name))
    return made


def _valid(field: Any, name: str, first: Any) -> Any:
    options = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    for value in (first, *options, True, 4, 0.5, 1.0, name, None, (4,), (name,), {}):
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
            adapter.validate_python(value, strict=True)
        except ValidationError:
            continue
        return value
    raise SpecError(f"no example of the setting '{name}' is known; name another kind with --like")


# --------------------------------------------------------------------------------------------------- copy of a part


# ------------------------------------------------------------------------------------------------- studies and bases


def study(name: str) -> str:
    """Write a study that is valid as it is; return what to do next.

    Raises:
        SpecError: the name is no name or is taken, or there is no base to start from.
    """
    locate.base(BASE)
    path = _file("studies", name)
    _write({path: Template(STUDY).substitute(base=BASE)})
    steps = [
        f"written: {path}",
        "next:",
        "  change the question, what varies and what is claimed",
        f"  s2s validate {name}",
    ]
    return "\n".join([*steps, f"  s2s plan {name}", f"  s2s run {name}"])


def base(name: str, like: str = BASE) -> str:
    """Write a base that is a copy of another; return what to do next.

    Raises:
        SpecError: the name is no name or is taken, or the base to copy is not there or not valid.
    """
    original = locate.base(like)
    plain, lines, _ = read_base(original)
    read(TrialChoice, plain, lambda dotted: lines.place(dotted.split(".")))
    path = _file("studies/bases", name)
    _write({path: original.read_text(encoding="utf-8")})
    steps = [
        f"written: {path}, a copy of {original}",
        "next:",
        "  change `about` and the dataset, then sizes and budget",
    ]
    return "\n".join([*steps, f"  s2s show {name}", "  name it in a study as `base`, or run a study with --base"])


def folder(at: Path) -> str:
    """Make a working folder with a study and a base of the user's own; return what to do next.

    Raises:
        SpecError: one of its files is there already; none is written then.
    """
    own = Path("studies/mine.yaml"), Path("studies/bases/mine.yaml")
    text = Template(STUDY).substitute(base="mine")
    _write(
        {at / own[0]: text, at / own[1]: locate.base(BASE).read_text(encoding="utf-8"), at / ".gitignore": "/runs/\n"}
    )
    steps = [f"written: {at / own[0]}, a study", f"written: {at / own[1]}, its base, a copy of '{BASE}'", "next:"]
    steps += [f"  cd {shlex.quote(str(at))}", f"  change {own[0]} and {own[1]}", "  s2s list, s2s show mine"]
    return "\n".join([*steps, "  s2s plan mine", "  s2s run mine      (the report: results/mine/mine/report.html)"])


def _file(folder: str, name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise SpecError(f"'{name}' cannot name a file; use lower-case letters, digits, hyphens and underscores")
    return Path(folder) / f"{file_name(name, 'a file')}.yaml"


def _write(files: Mapping[Path, str]) -> None:
    """Write new files; if one of them is there already, none is written."""
    for path in files:
        if path.exists():
            raise SpecError("is there already; choose another name, or remove it first", place=str(path))
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)


def _one_line(plain: Any) -> str:
    """Return plain data as Python source on a line that may be long."""
    text = _python(plain)
    return text if len(text) < 95 else f"{text}  # noqa: E501  # fmt: skip"


def _python(plain: Any) -> str:
    """Return plain data as Python source, as ruff would format it."""
    if isinstance(plain, Mapping):
        return "{" + ", ".join(f"{_python(key)}: {_python(value)}" for key, value in plain.items()) + "}"
    if isinstance(plain, list | tuple):
        return "[" + ", ".join(map(_python, plain)) + "]"
    return json.dumps(plain) if isinstance(plain, str) else repr(plain)


def _yaml(plain: Any) -> str:
    """Return plain data as YAML on one line."""
    if isinstance(plain, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in plain.items()) + "}"
    if isinstance(plain, list | tuple):
        return "[" + ", ".join(map(_yaml, plain)) + "]"
    return plain if isinstance(plain, str) else json.dumps(plain)


# -------------------------------------------------------------------------------------------------------- templates

TEST = """\"\"\"Tests of the $title '$kind'.\"\"\"

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness.contracts import Batch, Lengths, Memory, Pass, Scored, Source, StateShape, Streams, Words
from harness.core.registry import SLOTS
from harness.core.spec import SpecError, encode, override, read
from harness.study.planning import read_base
from harness.trial.pipeline import TrialChoice
from harness.trial.train import build

BASE = Path(__file__).resolve().parents[3] / "studies/bases/numbers.yaml"
WORDS = Words(source=9, target=9, joint=True)
SOURCE_BS = torch.tensor([[4, 5, 6], [7, 8, 0]])
HEARD_BT = torch.tensor([[1, 4, 5], [1, 6, 0]])
MEMORY = Memory(torch.arange(12.0).view(1, 3, 4), torch.ones(1, 3, dtype=torch.bool), (torch.ones(1, 1, 4),))
AROUND: dict[str, Any] = $around
CHOICE: dict[str, Any] = $choice


def trial(kind: str) -> TrialChoice:
    changes = AROUND | {"$path": $value}
    return read(TrialChoice, override(TrialChoice, read_base(BASE)[0], changes))


def model(kind: str) -> Any:
    choice = trial(kind)
    return build(choice.model, choice.training.initializer, WORDS, seed=1)


def result(kind: str) -> Any:
    torch.manual_seed(1)
    $result


def test_it_is_registered_and_its_choice_round_trips() -> None:
    assert "$kind" in SLOTS["$slot"].kinds
    choice = trial("$kind")
    assert read(TrialChoice, encode(choice)) == choice


def test_a_model_builds_in_its_trial() -> None:
    assert sum(parameter.numel() for parameter in model("$kind").parameters()) > 0


def test_it_computes_its_formula() -> None:
    # The line to replace: a copy answers as the original does. Once the part is yours, write here what its formula gives
    # for this small example, worked out by hand: `assert result("$kind") == pytest.approx([...])`.
    assert result("$kind") == result("$like")
"""

STUDY = """# What the study wants to know, in one sentence.
question: Does the decoder have to hear the reference at every step of training?

# What you expect and why, written before the run; the report prints it beside the answer.
expectation: >
  Hearing its own words in training helps, because that is what it hears when it is used.

# The complete trial that the variants change: a file in studies/bases. `--base` takes another one.
base: $base

# What all variants have otherwise than the base: dotted path to value (`s2s show $base` lists the paths).
set:
  training.teacher_forcing.kind: constant

# What varies: every value of one path with every value of the others. Also: `zip:` (paths side by side), `cases:`
# (variants by name, each a mapping of paths to values), `exclude:` (a list of `when:` and `reason:`).
vary:
  training.teacher_forcing.ratio: [1.0, 0.5]

# How often every variant is trained. One seed never earns the word "better".
seeds: 3

# What is claimed: one primary metric each; `by` is the smallest difference that matters, and a claim that there is no
# difference has `within` in its place.
claims:
  - name: hearing its own words helps
    better: {training.teacher_forcing.ratio: 0.5}
    than: {training.teacher_forcing.ratio: 1.0}
    metric: primary
    by: 0.0
"""

RESULTS = {
    "dataset": """try:
        loaded = trial(kind).$path.build(folders=(Path(__file__).parent,)).load()
        return {name: list(rows) for name, rows in loaded.items()}
    except SpecError as error:  # data that are not here
        return str(error)""",
    "tokenizer": 'return trial(kind).$path.build().learn(["one two", "two three"]).to_str()',
    "embeddings": "part = trial(kind).$path.build(words=WORDS)\n    return part.target(HEARD_BT).tolist()",
    "cell": """part = trial(kind).$path.build(entering=3)
    state = tuple(torch.zeros(1, part.layers, *shape) for shape in part.shape.tensors)
    return part(torch.randn(1, 2, 3), state)[0].tolist()""",
    "encoder": """part = trial(kind).$path.build(embedded=8)
    return part(torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool)).values_BSM.tolist()""",
    "bridge": """shape = StateShape(1, ((4,),))
    part = trial(kind).$path.build(memory=4, theirs=shape, ours=shape)
    return [tensor.tolist() for tensor in part(MEMORY)]""",
    "attention": """part = trial(kind).$path.build(memory=4, query=4)
    return part(torch.ones(1, 1, 4), part.keys(MEMORY.values_BSM)).tolist()""",
    "context": """part = trial(kind).$path.build(memory=4, query=4)
    source = Source(MEMORY, part.keys(MEMORY))
    return part(torch.ones(1, 1, 4), source, part.start(source))[0].tolist()""",
    "decoder": "return model(kind)(SOURCE_BS, HEARD_BT).features_BTR.tolist()",
    "output": "built = model(kind)\n    state, source = built.read(SOURCE_BS)\n"
    "    return built.output.logp(built.follow(state, source, HEARD_BT), source).tolist()",
    "objective": """built, streams = model(kind), Streams(None, "argmax", torch.Generator(), torch.Generator())
    made = trial(kind).$path.build(model=built)(built, Batch(SOURCE_BS, HEARD_BT, HEARD_BT), streams, 0)
    return [None if number is None else float(number) for number in (made.value, made.normalizer, made.positions)]""",
    "order": """lengths = Lengths(torch.arange(9), torch.arange(9))
    part = trial(kind).$path.build()
    return part.rows(Pass(0, 5), lengths, torch.Generator().manual_seed(1)).tolist()""",
    "teacher_forcing": "part = trial(kind).$path.build()\n    return [part.ratio(update) for update in range(5)]",
    "optimizer": """weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = trial(kind).$path.build().over([weight])
    weight.square().sum().backward()
    optimizer.step()
    return weight.tolist()""",
    "pretraining": """built = model(kind)
    trial(kind).$path.build().start(built, {}, lambda choice, pairs: None)
    return sum(float(part.sum()) for part in built.parameters())""",
    "schedule": "part = trial(kind).$path.build()\n    return [part.factor(update, 5) for update in range(5)]",
    "initializer": """layer = torch.nn.Linear(2, 2)
    trial(kind).$path.build().fill(layer)
    return layer.weight.tolist()""",
    "metric": """part = SLOTS["metric"].kinds[kind].Config(**CHOICE).build()
    counts = part.statistics(Scored(["a b", "c"], [["a b"], ["c d"]]))
    return None if counts is None else float(part.score(counts.sum(0)))""",
    "search": "return trial(kind).$path.build().find(model(kind).eval(), SOURCE_BS, 5).tokens_BT.tolist()",
}
"""What a generated test compares, by slot."""
