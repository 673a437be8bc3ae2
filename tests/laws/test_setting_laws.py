"""Laws of settings: none is without effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import choices
import torch
from test_model_laws import INPUTS_BT, SOURCE_BS, along

from harness.contracts import PAD
from harness.core.registry import Choice
from harness.core.spec import Incompatible, flatten, override
from harness.trial.model import ModelChoice


def switches(choice: Choice, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every boolean and Literal setting of a choice with every other value that it could have."""
    for name, field in type(choice).model_fields.items():
        value, inner = getattr(choice, name), f"{path}.{name}".lstrip(".")
        if isinstance(value, Choice):
            yield from switches(value, inner)
        elif field.annotation is bool:
            yield inner, not value
        elif get_origin(field.annotation) is Literal:
            yield from ((inner, other) for other in get_args(field.annotation) if other != value)


def observed(plain: Any) -> list[torch.Tensor]:
    """What a model remembers of a source, and what it says."""
    model = choices.build(plain)
    memory = model.encoder(model.embeddings.source(SOURCE_BS), SOURCE_BS != PAD)
    return [memory.values_BSM, *memory.final, *model(SOURCE_BS, INPUTS_BT)]


def taught(plain: Any) -> list[torch.Tensor]:
    """What a target teaches the parameters of a model."""
    model = choices.build(plain)
    model.output.nll(*along(model, SOURCE_BS, INPUTS_BT), INPUTS_BT.roll(-1, 1)).sum().backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


def alike(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return len(before) == len(after) and all(map(torch.equal, before, after))


def test_every_switch_does_something(plain: Any) -> None:
    before = observed(plain)
    for path, value in switches(ModelChoice.model_validate(plain)):
        try:
            after = observed(override(ModelChoice, plain, {path: value}))
        except Incompatible:
            continue
        same = alike(before, after) and alike(taught(plain), taught(override(ModelChoice, plain, {path: value})))
        assert not same, f"{path}: {value} changes nothing"


def test_every_dropout_drops_in_training(plain: Any) -> None:
    flat = flatten(plain)
    paths = [path for path in flat if path.endswith("dropout")]
    for path in paths:
        if flat.get(path.removesuffix("dropout") + "layers") == 1:
            continue  # a stack of one has nothing between its layers
        alone = override(ModelChoice, plain, {other: 0.5 if other == path else 0.0 for other in paths})
        model = choices.build(alone).train()
        memories = [model.encoder(model.embeddings.source(SOURCE_BS), SOURCE_BS != PAD) for _ in range(2)]
        said = [model(SOURCE_BS, INPUTS_BT).features_BTR for _ in range(2)]
        final = [[memory.values_BSM, *memory.final] for memory in memories]
        assert not all(map(torch.equal, *final)) or not torch.equal(*said), f"{path} drops nothing"
