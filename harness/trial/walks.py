"""What a model says when it hears its own most probable words, for as long as the reference is."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Source, State, repeat, sayable, select
from harness.core import fast_paths
from harness.trial.model import Seq2Seq


def on_its_own(model: Seq2Seq, begun: tuple[State, Source], targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the NLL of the targets while the model hears its own words, and its words when it may not end, both B x T.

    What stands at padding has no meaning. On a CPU the two walks of a sentence are one until the model would end, and
    end with the sentence; a GPU would have to wait at every step to learn how many are left.
    """
    if targets_BT.device.type == "cpu" and fast_paths.used():
        return _parting(model, begun, targets_BT)
    twice = tuple(repeat(part, 2) for part in begun)
    nll, words = _side_by_side(model, twice, targets_BT.repeat_interleave(2, 0))
    return nll[0::2], words[1::2]


def _side_by_side(model: Seq2Seq, begun: tuple[Any, ...], targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Let a model hear its own most probable words for as many steps as there are targets; odd rows never say EOS.

    Returns the NLL of the targets and the words, both B x T.
    """
    state, source = begun
    endless_B = torch.arange(len(targets_BT), device=targets_BT.device) % 2 == 1
    heard_B = targets_BT.new_full((len(targets_BT),), BOS)
    nll, words = [], []
    for target_B in targets_BT.unbind(1):
        readout, state = model.advance(heard_B.unsqueeze(1), state, source)
        logp_BV = model.next_logp(readout, source)
        nll.append(-logp_BV.gather(1, target_B.unsqueeze(1)).squeeze(1))
        logp_BV = sayable(logp_BV)
        logp_BV[endless_B, EOS] = -torch.inf
        heard_B = logp_BV.argmax(-1)
        words.append(heard_B)
    return torch.stack(nll, 1), torch.stack(words, 1)


class _Rows(NamedTuple):
    """Where the walks stand, N rows; a row may be both walks of its sentence."""

    state: State
    source: Source
    sentence_N: Tensor
    heard_N: Tensor
    ends_N: Tensor
    """Whether the row is the walk that may end."""
    goes_on_N: Tensor
    """Whether the row is the walk that may not."""


def _parting(model: Seq2Seq, begun: tuple[State, Source], targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Walk with one row a sentence; where it says EOS, a second row goes on as if it had not."""
    every_B = torch.ones(len(targets_BT), dtype=torch.bool)
    rows = _Rows(*begun, torch.arange(len(targets_BT)), torch.full_like(targets_BT[:, 0], BOS), every_B, every_B)
    steps_B = (targets_BT != PAD).sum(1)
    nll, words = [], []
    for t, target_B in enumerate(targets_BT.unbind(1)):
        readout, state = model.advance(rows.heard_N.unsqueeze(1), rows.state, rows.source)
        logp_NV = model.next_logp(readout, rows.source)
        given_N = -logp_NV.gather(1, target_B[rows.sentence_N].unsqueeze(1)).squeeze(1)
        nll.append(_by_sentence(given_N, rows.sentence_N, rows.ends_N, len(targets_BT)))
        logp_NV = sayable(logp_NV)
        said_N = logp_NV.argmax(-1)
        logp_NV[:, EOS] = -torch.inf
        other_N = logp_NV.argmax(-1)
        words.append(_by_sentence(other_N, rows.sentence_N, rows.goes_on_N, len(targets_BT)))
        rows = _following(rows._replace(state=state), said_N, other_N, steps_B > t + 1)
    return torch.stack(nll, 1), torch.stack(words, 1)


def _by_sentence(of_N: Tensor, sentence_N: Tensor, counted_N: Tensor, sentences: int) -> Tensor:
    """Return the numbers of the rows that count, each at its sentence; zero where no row is left."""
    return of_N.new_zeros(sentences).index_put((sentence_N[counted_N],), of_N[counted_N])


def _following(rows: _Rows, said_N: Tensor, other_N: Tensor, left_B: Tensor) -> _Rows:
    """Return the rows of the next step: those of sentences with words left, and those of walks that part now."""
    left_N = left_B[rows.sentence_N]
    parts_N = left_N & rows.ends_N & rows.goes_on_N & (said_N == EOS)
    stays, parts = left_N.nonzero()[:, 0], parts_N.nonzero()[:, 0]
    heard_N = torch.where(rows.ends_N, said_N, other_N)
    walks = rows.state, rows.source, rows.sentence_N
    if len(parts) or len(stays) < len(left_N):
        walks = select(walks, torch.cat([stays, parts]))
    return _Rows(
        *walks,
        torch.cat([heard_N[stays], other_N[parts]]),
        torch.cat([rows.ends_N[stays], torch.zeros_like(parts_N[parts])]),
        torch.cat([(rows.goes_on_N & ~parts_N)[stays], torch.ones_like(parts_N[parts])]),
    )
