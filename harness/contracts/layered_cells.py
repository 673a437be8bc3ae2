"""Two bases for recurrent cells: one walks step by step, with the settings that need that, one computes all steps at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts.model import Cell
from harness.contracts.tensors import State
from harness.core.spec import Incompatible


class Stacked(nn.Linear):
    """The matrices of several gates in one product, one below the other; initializers draw each by itself."""

    def __init__(self, entering: int, leaving: int, stacked: int, bias: bool = True) -> None:
        super().__init__(entering, stacked * leaving, bias)
        self.stacked = stacked


class LayeredCell(Cell):
    """A cell with one module of parameters for every layer and direction, and residual sums on request.

    A part names what it carries from step to step (``carried``) and makes the module of a layer (``make``).
    """

    class Config(Cell.Config):
        """Settings of a cell with layers of its own."""

        residual: bool = False
        """Add to the output of each layer its input, where both are equally wide (He et al. 2016; Wu et al. 2016,
        section 3.1)."""

    shown_is_carried: ClassVar[bool] = True
    """Whether the visible state is the first of what is carried; if not, it is computed anew from it at each step."""

    def __init__(self, cfg: Any, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.residual = cfg.residual
        self.apart = cfg.residual or not self.shown_is_carried
        """Whether the visible state stands before what is carried, as a tensor of its own."""
        self.reads_visible = not self.apart
        if cfg.residual and cfg.layers == 1 and entering != self.width:
            raise Incompatible(
                f"residual sums need an input as wide as the output, but the only layer maps {entering} numbers to "
                f"{self.width}; choose more layers, equal widths, or 'residual: false'"
            )
        widths = [entering, *[self.width] * (cfg.layers - 1)]
        self.maps: Any = nn.ModuleList(self.make(cfg, width) for width in widths for _ in range(directions))

    @abstractmethod
    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the parameters of one layer in one direction, whose input is so wide."""

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of what one layer and direction carries from step to step."""
        return ((self.hidden,),)

    @property
    def tensors(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the state of one layer and direction, the visible one first."""
        return ((self.hidden,), *self.carried) if self.apart else self.carried

    def layer(self, layer: int, direction: int) -> Any:
        """Return the parameters of one layer in one direction."""
        return self.maps[layer * self.directions + direction]

    def summed(self, direction: int, visible: Tensor, entering: Tensor) -> Tensor:
        """Return the visible state plus the input, or this direction's half of it, where that is asked and fits."""
        if not self.residual or entering.shape[-1] != self.width:
            return visible
        return visible + entering[..., direction * self.hidden : (direction + 1) * self.hidden]


class StepwiseCell(LayeredCell):
    """A cell that looks at its last output, so that it must walk; what depends on the input alone is computed at once.

    A part computes ``enter`` for all steps, and ``next`` for one. It passes its candidate through ``drop_new``.
    """

    class Config(LayeredCell.Config):
        """Settings of a cell that walks step by step."""

        variational_dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each input and each recurrent input of a layer, the same ones at all steps of a sequence
        (Gal & Ghahramani 2016)."""
        recurrent_dropout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability of dropping each candidate, at every step anew, so that nothing carried is lost (Semeniuta et al.
        2016)."""
        zoneout: float = Field(0.0, ge=0.0, lt=1.0)
        """Probability that a unit keeps its last value at a step; outside training, the mean of both (Krueger et al.
        2017), with one rate for all that is carried."""

    zoned: ClassVar[int | None] = None
    """How many of the carried tensors zone out; all by default."""

    def __init__(self, cfg: Any, entering: int, directions: int = 1) -> None:
        super().__init__(cfg, entering, directions)
        self.variational, self.zoneout = cfg.variational_dropout, cfg.zoneout
        self.drop_new = nn.Dropout(cfg.recurrent_dropout)

    def enter(self, maps: Any, input_BTX: Tensor) -> Tensor:
        """Return what all steps need of their inputs, B x T x any width: by default ``W x + b`` of ``maps.enter``."""
        entering: Tensor = maps.enter(input_BTX)
        return entering

    @abstractmethod
    def next(self, maps: Any, entering_BX: Tensor, heard_BH: Tensor, carried: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what is carried after one step, after the visible state where that is not the first of it.

        ``heard_BH`` is the first that was carried as the gates hear it, after dropout.
        """

    def begin(self, state: tuple[Tensor, ...]) -> State:
        """Return the state with the masks of a new sequence, which are carried to its end; none outside training."""
        if not self.training or self.variational == 0.0:
            return state
        ones = state[0].new_ones(len(state[0]), self.layers, max(self.entering, self.width) + self.hidden)
        return (*state, F.dropout(ones, self.variational))

    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state of one layer in one direction."""
        return self.scan(layer, direction, input_BX.unsqueeze(1), state)[1]

    def scan(
        self, layer: int, direction: int, input_BSX: Tensor, state: tuple[Tensor, ...], mask_BS: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Walk all steps of one layer in one direction; without masks of the sequence, it draws its own."""
        maps, batch, count = self.layer(layer, direction), len(input_BSX), len(self.tensors)
        state, masks = state[:count], state[count:]
        drawn = masks
        if self.training and self.variational > 0.0 and not masks:
            drawn = (F.dropout(input_BSX.new_ones(batch, input_BSX.shape[-1] + self.hidden), self.variational),)
        heard_BSX = input_BSX * drawn[0][:, None, : input_BSX.shape[-1]] if drawn else input_BSX
        entering = self.enter(maps, heard_BSX).unbind(1)
        outputs: list[Tensor] = []
        for s in range(len(entering)) if direction == 0 else reversed(range(len(entering))):
            old = state[1:] if self.apart else state
            heard_BH = old[0] * drawn[0][:, -self.hidden :] if drawn else old[0]
            new = self.next(maps, entering[s], heard_BH, old)
            after = self._zoned(new if self.shown_is_carried else new[1:], old)
            if self.apart:
                visible_BH = after[0] if self.shown_is_carried else new[0]
                after = (self.summed(direction, visible_BH, input_BSX[:, s]), *after)
            if mask_BS is not None:
                real_B1 = mask_BS[:, s].unsqueeze(1)
                after = tuple(torch.where(real_B1, new, was) for new, was in zip(after, state, strict=True))
                outputs.append(after[0] * real_B1)
            else:
                outputs.append(after[0])
            state = after
        return torch.stack(outputs if direction == 0 else outputs[::-1], 1), (*state, *masks)

    def _zoned(self, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return what is carried with units that keep their last value, or the mean of both."""
        if self.zoneout == 0.0:
            return new
        count = len(new) if self.zoned is None else self.zoned
        changed = []
        for after, before in zip(new[:count], old, strict=False):
            if self.training:
                changed.append(torch.where(torch.rand_like(after) < self.zoneout, before, after))
            else:
                changed.append(self.zoneout * before + (1 - self.zoneout) * after)
        return (*changed, *new[count:])


class ParallelCell(LayeredCell):
    """A cell whose carried state is linear in itself, by factors from the input alone, so that no step has to wait.

    A part computes ``drive`` (what all steps do, from their inputs), ``one`` step from it, ``many`` steps at once, and
    what is shown (``say``). Padding is a step that does nothing: ``resting`` names the values of the first tensors of
    ``drive`` that leave the state as it was.
    """

    class Config(LayeredCell.Config):
        """Settings of a cell that computes all steps at once."""

    resting: ClassVar[tuple[float, ...]]
    chunk: ClassVar[int] = 64
    """How many steps are computed at once; longer inputs are walked in such pieces."""

    @abstractmethod
    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return what every step does, tensors B x T x ...."""

    @abstractmethod
    def one(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after one step, and what is carried; here the tensors of ``drive`` have no axis of time."""

    @abstractmethod
    def many(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after each of T steps, and what is carried after the last."""

    def say(self, maps: Any, read: Tensor, drive: tuple[Tensor, ...]) -> Tensor:
        """Return the visible state at every step, B x T x H; by default what is read."""
        return read

    def step(self, layer: int, direction: int, input_BX: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the next state of one layer in one direction."""
        maps, input_B1X = self.layer(layer, direction), input_BX.unsqueeze(1)
        drive = self.drive(maps, input_B1X)
        read, carried = self.one(tuple(part[:, 0] for part in drive), state[1:] if self.apart else state)
        visible_BH = self.summed(direction, self.say(maps, read.unsqueeze(1), drive)[:, 0], input_BX)
        return (visible_BH, *carried) if self.apart else carried

    def scan(
        self, layer: int, direction: int, input_BSX: Tensor, state: tuple[Tensor, ...], mask_BS: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute all steps of one layer in one direction, in pieces of ``chunk``."""
        maps = self.layer(layer, direction)
        if direction == 1:
            input_BSX, mask_BS = input_BSX.flip(1), None if mask_BS is None else mask_BS.flip(1)
        drive = self.drive(maps, input_BSX)
        carried, reads = state[1:] if self.apart else state, []
        muted = drive if mask_BS is None else self._rested(drive, mask_BS)
        for piece in zip(*(part.split(self.chunk, 1) for part in muted), strict=True):
            read, carried = self.many(piece, carried)
            reads.append(read)
        visible_BSH = self.summed(direction, self.say(maps, torch.cat(reads, 1), drive), input_BSX)
        if self.apart:
            carried = (_last(visible_BSH, state[0], mask_BS), *carried)
        if mask_BS is not None:
            visible_BSH = visible_BSH * mask_BS.unsqueeze(-1)
        return visible_BSH.flip(1) if direction == 1 else visible_BSH, carried

    def _rested(self, drive: tuple[Tensor, ...], mask_BS: Tensor) -> tuple[Tensor, ...]:
        """Return steps that do nothing at padding."""
        padding = [~mask_BS.view(*mask_BS.shape, *[1] * (part.ndim - 2)) for part in drive]
        rested = [part.masked_fill(pad, rest) for part, pad, rest in zip(drive, padding, self.resting, strict=False)]
        return (*rested, *drive[len(rested) :])


class ScannedCell(ParallelCell):
    """A cell that carries one tensor by ``s' = a * s + b``, element by element: ``drive`` begins with ``a`` and ``b``."""

    class Config(ParallelCell.Config):
        """Settings of a cell with an elementwise linear state."""

    resting = (1.0, 0.0)

    def one(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the state after one step, as what is read and as what is carried."""
        after = drive[0] * carried[0] + drive[1]
        return after, (after,)

    def many(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the states after every step, and the last."""
        states = linear_scan(drive[0], drive[1], carried[0])
        return states, (states[:, -1],)


def linear_scan(factor: Tensor, added: Tensor, first: Tensor) -> Tensor:
    """Return ``s_t = factor_t * s_{t-1} + added_t`` of all steps, B x T x ..., from ``s_0 = first``.

    A CPU is done sooner step by step, as it has to move less memory; other devices wait for each step, and take few.
    """
    if added.device.type != "cpu":
        return doubling_scan(factor, added, first)
    states = []
    for factor_t, added_t in zip(factor.unbind(1), added.unbind(1), strict=True):
        first = torch.addcmul(added_t, factor_t, first)
        states.append(first)
    return torch.stack(states, 1)


def doubling_scan(factor: Tensor, added: Tensor, first: Tensor) -> Tensor:
    """Return what ``linear_scan`` does by spans of 1, 2, 4, ... steps put together (Hillis & Steele 1986).

    Nothing is divided and no logarithm taken: with factors up to one no number grows beyond those of the loop, whatever
    the signs.
    """
    added = torch.cat([torch.addcmul(added[:, :1], factor[:, :1], first.unsqueeze(1)), added[:, 1:]], 1)
    span = 1
    while span < added.shape[1]:
        added = torch.cat([added[:, :span], torch.addcmul(added[:, span:], factor[:, span:], added[:, :-span])], 1)
        factor = torch.cat([factor[:, :span], factor[:, span:] * factor[:, :-span]], 1)
        span *= 2
    return added


def _last(values_BSH: Tensor, before_BH: Tensor, mask_BS: Tensor | None) -> Tensor:
    """Return the value at the last word of every row, or the value before where a row has no words."""
    if mask_BS is None:
        return values_BSH[:, -1]
    place_1S = torch.arange(mask_BS.shape[1], device=mask_BS.device).unsqueeze(0)
    last_B11 = (place_1S * mask_BS).amax(1).view(-1, 1, 1)
    last_BH = values_BSH.gather(1, last_B11.expand(-1, 1, values_BSH.shape[-1])).squeeze(1)
    return torch.where(mask_BS.any(1, keepdim=True), last_BH, before_BH)
