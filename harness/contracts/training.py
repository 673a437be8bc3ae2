"""The training slots: the objective, teacher forcing, and how parameters begin and move."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts.data import Dataset
from harness.contracts.tensors import PAD, Readout, Source
from harness.core.registry import Choice, slot

_Kind = TypeVar("_Kind", bound=torch.optim.Optimizer)


class Batch(NamedTuple):
    """Padded sentence pairs: sources end with EOS, inputs begin with BOS, targets end with EOS."""

    source_BS: Tensor
    inputs_BT: Tensor
    targets_BT: Tensor
    weight_B: Tensor | None = None
    """What each pair counts; None: 1."""

    def rows(self, part: slice) -> Batch:
        """Return some of the pairs, as they are padded."""
        weight_B = None if self.weight_B is None else self.weight_B[part]
        return Batch(self.source_BS[part], self.inputs_BT[part], self.targets_BT[part], weight_B)

    @property
    def real_BT(self) -> Tensor:
        """Where targets are words or EOS, not padding."""
        return self.targets_BT != PAD

    def weighted(self, each: Tensor, counted_BT: Tensor | None = None) -> Tensor:
        """Multiply numbers of each pair, or of each counted position, by the weight of the pair."""
        if self.weight_B is None:
            return each
        if counted_BT is None:
            return each * self.weight_B
        return each * self.weight_B.unsqueeze(1).expand_as(counted_BT)[counted_BT]


class Streams(NamedTuple):
    """What an objective may draw from, fixed by the seed: the tosses of teacher forcing, and random numbers of its own.

    All generators are on the CPU, so that every device draws the same numbers.
    """

    gold_BT: Tensor | None
    """True where the decoder hears the reference; None: everywhere."""
    replace: Literal["argmax", "sample"]
    """How the model's own words are chosen where the reference is not heard."""
    words: torch.Generator
    """Draws those words where they are sampled."""
    samples: torch.Generator
    """For draws of the objective itself."""

    def follow(self, model: Any, batch: Batch) -> tuple[Readout, Source]:
        """Run the model along the targets of a batch, under teacher forcing as it was tossed: readouts, and the source."""
        state, source = model.read(batch.source_BS)
        readout = model.follow(state, source, batch.inputs_BT, self.gold_BT, self.replace, self.words)
        return readout, source


class Sum(NamedTuple):
    """What an objective adds up over a batch. Every number of it adds up over the pieces of a batch, too."""

    value: Tensor
    """The sum to minimize, a scalar with a gradient."""
    normalizer: Tensor | None
    """What the sum is divided by, a scalar; None: nothing."""
    positions: Tensor
    """Positions in the sum, a scalar: the curve shows ``value / positions``, whatever the normalizer."""
    extras: Mapping[str, Tensor] = {}
    """Other sums for the curve, which shows each divided by ``positions`` under its name."""


def target_nll(
    model: Any, followed: tuple[Readout, Source], batch: Batch, counted_BT: Tensor, smoothing: float = 0.0
) -> Tensor:
    """Return the (smoothed) negative log-likelihood of the counted targets, N, in nats, times the weights of their pairs."""
    nll_N: Tensor = model.output.nll(*followed, batch.targets_BT, counted_BT, smoothing)
    return batch.weighted(nll_N, counted_BT)


@slot
class Objective(nn.Module, ABC):
    """What training minimizes: a sum over a batch, divided by a normalizer.

    An objective may run the model several times, draw samples, and own parameters. It is built from its choice and the
    model, whose sizes it may look at; it does not keep the model. It multiplies what it adds up by the weights of the
    pairs: ``target_nll`` does so, and so does ``Batch.weighted``.
    """

    kept: ClassVar[bool] = False
    """Whether its parameters are written beside the model, as ``objective.safetensors``."""

    class Config(Choice):
        """Names a kind of objective."""

    def __init__(self, cfg: Any, model: Any) -> None:
        super().__init__()
        self.cfg = cfg

    @abstractmethod
    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums over a batch.

        Args:
            model: a ``harness.trial.model.Seq2Seq`` in training mode.
            batch: sentence pairs; a piece of those of an update, where gradients are accumulated.
            streams: the tosses of teacher forcing for this batch, and random numbers.
            update: counted from 0.
        """

    def optimizer(self) -> torch.optim.Optimizer | None:
        """Return an optimizer for this objective's own parameters, at rates of its own; None: the model's takes them."""
        return None


class Lengths(NamedTuple):
    """Tokens of every training pair on both sides, EOS not counted; on the CPU."""

    source_N: Tensor
    target_N: Tensor
    rarities: Callable[[], tuple[Tensor, Tensor]] | None = None
    """Gives ``-sum log p(word)`` of every pair's source and target, ``p`` the word's share of the training tokens."""

    def rarity(self) -> tuple[Tensor, Tensor]:
        """Return the rarity of every source and of every target; an order asks where it needs it, not before."""
        if self.rarities is None:
            raise ValueError("only lengths are known here, not words")
        return self.rarities()


class Pass(NamedTuple):
    """A pass over the training data, as it begins."""

    number: int
    """Passes before it."""
    update: int
    """Updates before it."""


@slot
class Order(ABC):
    """Which training pairs a pass visits, in which order, and what each counts: a curriculum.

    ``training.pool`` then sorts by length and cuts into batches; a pool of 1 keeps the order as it is given.
    """

    class Config(Choice):
        """Names a kind of order."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def rows(self, begun: Pass, lengths: Lengths, generator: torch.Generator) -> Tensor:
        """Return the numbers of the pairs that a pass visits, at least one; a pair may come several times.

        Random numbers come from ``generator`` alone: it is the same for every variant with this seed, in this pass.
        """

    def weights(self, begun: Pass, lengths: Lengths) -> Tensor | None:
        """Return what every pair of the training data counts in this pass; None: each counts 1."""
        return None


@slot
class TeacherForcing(ABC):
    """Which words the decoder hears from the reference during training; the others are its own.

    Subclasses say how the ratio changes with the update; the coin says what one toss decides.
    """

    class Config(Choice):
        """Names a schedule of the ratio of reference words."""

        coin: Literal["token", "step", "sequence", "batch"] = "token"
        """What one toss decides: a token, a step of the whole batch, a sequence, or the batch."""
        replace: Literal["argmax", "sample"] = "argmax"
        """The model's own word: its most probable one, or one drawn from its distribution."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def ratio(self, update: int) -> float:
        """Return the probability of hearing the reference at an update, counted from 0."""

    def gold(self, update: int, batch: int, steps: int, generator: torch.Generator) -> Tensor | None:
        """Toss the coins: ``gold_BT``, true where the reference is heard; None when it is heard everywhere.

        The first word (BOS) is always heard. Tosses come from ``generator`` (on the CPU) alone.
        """
        ratio = self.ratio(update)
        if ratio >= 1.0:
            return None
        shape = {"token": (batch, steps), "step": (1, steps), "sequence": (batch, 1), "batch": (1, 1)}[self.cfg.coin]
        gold_BT = (torch.rand(shape, generator=generator) < ratio).expand(batch, steps).clone()
        gold_BT[:, 0] = True
        return None if bool(gold_BT.all()) else gold_BT


@slot
class Optimizer(ABC):
    """The rule that turns gradients into updates."""

    class Config(Choice):
        """Names a kind of optimizer."""

        lr: float = Field(gt=0)
        """Learning rate before the schedule's factor."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def over(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters."""


def eager(kind: type[_Kind]) -> type[_Kind]:
    """Return one of torch's optimizers without its wrappers for ``torch.compile``, which a study never calls.

    Its numbers are the same to the last bit, and ``torch._dynamo``, which the first of them loads, costs every process that
    trains one to two and a half seconds. It is neither for ``differentiable=True`` nor for pickling.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    bare = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    plain = type(kind.__name__, (kind,), bare | {"step": torch.no_grad()(inspect.unwrap(kind.step))})
    return cast("type[_Kind]", plain)


@slot
class Schedule(ABC):
    """How the learning rate changes: a factor for every update."""

    ends: ClassVar[bool] = False
    """Whether the factor depends on how many updates there will be."""

    class Config(Choice):
        """Names a kind of schedule."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def factor(self, update: int, updates: int) -> float:
        """Return the factor of the learning rate at an update (counted from 0) of so many."""


@slot
class Initializer(ABC):
    """The first values of a model's parameters, drawn from torch's global generator (seeded by the ``init`` stream)."""

    class Config(Choice):
        """Names a kind of initializer."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @abstractmethod
    def fill(self, model: nn.Module) -> None:
        """Set the parameters in place."""

    @staticmethod
    def reset_vector(module: nn.Module, vector: nn.Parameter) -> None:
        """Set a parameter of a module that is not drawn: a gain of a norm to one, a bias to zero."""
        gain = isinstance(module, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm) and vector is module.weight
        vector.fill_(1.0 if gain else 0.0)

    @staticmethod
    def clear_padding(model: nn.Module) -> None:
        """Set the vectors of padding to zero; after all draws, for the values of a table that an output shares are drawn twice."""
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()

    def lacks(self, model: nn.Module) -> str:
        """Return why this cannot fill a model, empty if it can; asked before any training, of a model without values."""
        return ""


@slot
class Pretraining(ABC):
    """Where parameters come from before training, if the initializer is not all.

    What it leaves in a model is a stage of its own, shared by trials with the same data, model, initializer and seed.
    """

    begins: ClassVar[bool] = True
    """Whether there is anything to do."""

    class Config(Choice):
        """Names a kind of pretraining."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    @property
    def dataset(self) -> Dataset.Config | None:
        """A dataset whose pairs ``start`` is given in place of the trial's, encoded with the trial's vocabularies."""
        return None

    @abstractmethod
    def start(self, model: Any, pairs: Mapping[str, Any], train: Callable[[Any, Mapping[str, Any]], None]) -> None:
        """Set the parameters of an initialized model in place.

        Args:
            model: a ``harness.trial.model.Seq2Seq``.
            pairs: encoded pairs by split, ``train`` and ``validation`` (``harness.trial.pairs.Pairs``): the trial's, or
                those of ``dataset``.
            train: trains the model by a ``TrainingChoice`` on pairs by split, and leaves the parameters that training
                selects in it; interrupted, it goes on where it was. To be called once at most.
        """

    def keeps(self, name: str) -> bool:
        """Say whether a parameter is kept; one that is not begins as the initializer leaves it."""
        return True
