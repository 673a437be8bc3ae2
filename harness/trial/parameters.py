"""Parameters of a model, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters on the CPU, shared ones once."""
    seen: dict[int, str] = {}
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.state_dict(keep_vars=True).items()
        if seen.setdefault(id(parameter), name) == name
    }


def load_model(model: nn.Module, path: Path) -> None:
    """Read a file of ``parameters`` into a model of the same choice."""
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    names = dict(model.named_parameters())
    if unexpected or any(name in names for name in missing):
        raise ValueError(f"{path} belongs to another model: it lacks {missing} and has {unexpected}")


def save_start(model: nn.Module, keeps: Callable[[str], bool], folder: Path) -> int:
    """Write the parameters of a model that are kept as ``start.safetensors``; return how many numbers they hold."""
    kept = {name: part for name, part in parameters(model).items() if keeps(name)}
    save_file(kept, folder / "start.safetensors")
    return sum(part.numel() for part in kept.values())


def load_start(model: nn.Module, folder: Path) -> None:
    """Read what ``save_start`` wrote into a model of the same choice; other parameters stay as they are."""
    unexpected = model.load_state_dict(load_file(folder / "start.safetensors"), strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"{folder} belongs to another model: it has {unexpected}")
