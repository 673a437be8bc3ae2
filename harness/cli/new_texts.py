"""Texts that `s2s new` fills in: the test of a part, and a study."""

from __future__ import annotations

TEST = """\"\"\"Tests of the $title '$kind'.\"\"\"

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from harness.contracts import FIELDS, SPECIALS, Batch, Lengths, Memory, Pass, Scored, Source, StateShape, Streams, Words
from harness.core.registry import SLOTS
from harness.core.spec import SpecError, encode, override, read
from harness.study.bases import read_base
from harness.trial.pipeline import TrialChoice
from harness.trial.train import build

BASE = Path(__file__).resolve().parents[3] / "studies/bases/numbers.yaml"
WORDS = Words(source=9, target=9, joint=True, lists=lambda: ([*SPECIALS, *"abcde"],) * 2)
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
    return build(choice.model, choice.training, WORDS, seed=1)


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

STUDY = """# The question of the study, in one sentence.
question: Does the decoder have to hear the reference at every step of training?

# What you expect and why, written before the run; the report prints it beside the answer.
expectation: >
  Hearing its own words in training helps, because that is what it hears when it is used.

# The complete trial that the variants change: a file in studies/bases. `--base` takes another one.
base: $base

# Choices of all variants that differ from the base: dotted path to value (`s2s show $base` lists the paths).
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
    "tokenizer/fields": """texts = [FIELDS.join([text, "x"]) for text in ("one two", "two three")]
    learned = trial(kind).$path.build().learn(texts)
    return {name: one.to_str() for name, one in learned.items()}""",
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
    "positions": """part = trial(kind).$path.build(width=4, heads=2, layers=1, causal=True)
    place, x = torch.arange(3).unsqueeze(0), torch.randn(1, 3, 4)
    query = part.turn(torch.randn(1, 2, 3, 2), place)
    bias = part.bias(0, query, place, place)
    return [part.enter(x, place).tolist(), query.tolist(), None if bias is None else bias.tolist()]""",
    "context": """part = trial(kind).$path.build(memory=4, query=4)
    source = Source(MEMORY, part.keys(MEMORY))
    return part(torch.ones(1, 1, 4), source, part.start(source))[0].tolist()""",
    "decoder": "return model(kind)(SOURCE_BS, HEARD_BT).features_BTR.tolist()",
    "output": "built = model(kind)\n    state, source = built.read(SOURCE_BS)\n"
    "    return built.output.logp(built.follow(state, source, HEARD_BT), source).tolist()",
    "objective": """built, streams = model(kind), Streams(None, "argmax", torch.Generator(), torch.Generator())
    total = trial(kind).$path.build(model=built)(built, Batch(SOURCE_BS, HEARD_BT, HEARD_BT), streams, 0)
    return [None if number is None else number.item() for number in (total.value, total.normalizer, total.positions)]""",
    "order": """lengths = Lengths(torch.arange(9), torch.arange(9))
    part = trial(kind).$path.build()
    return part.rows(Pass(0, 5), lengths, torch.Generator().manual_seed(1)).tolist()""",
    "corruption": """batch = Batch(SOURCE_BS, HEARD_BT, HEARD_BT)
    part = trial(kind).$path.build(model=model(kind))
    return [ids.tolist() for ids in part.corrupted(batch, 0, torch.Generator().manual_seed(1))[:2]]""",
    "averaging": """part = trial(kind).$path.build()
    for update in (1, 2):
        part.follow([torch.tensor([float(update)])], update)
    return [mean.tolist() for mean in part.mean(2) or []]""",
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
    "search": """part = trial(kind).$path.build()
    part.prepare(lambda texts: [[4] for _ in texts])
    return part.find(model(kind).eval(), SOURCE_BS, 5).tokens_BT.tolist()""",
}
"""Lines of a generated test that compute the values to compare, by slot, or by slot and kind."""
