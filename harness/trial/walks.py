"""What a model says when it hears its own most probable words, for as long as the reference is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Batch, Source, State, best_words, repeat, sayable, select
from harness.core import fast_paths
from harness.trial.decoded import Hypothesis
from harness.trial.model import Seq2Seq
from harness.trial.pairs import Pairs


def summed(nll_BT: Tensor, targets_BT: Tensor) -> Tensor:
    """Return the summed NLL of each row in double precision, padding left out, and its number of targets, B x 2; on the CPU."""
    real_BT = targets_BT != PAD
    return torch.stack([nll_BT.double().masked_fill(~real_BT, 0.0).sum(1), real_BT.sum(1)], 1).cpu()


class Walks:
    """The NLL of the references while a model hears its own words, and the words it says when the length is given."""

    def __init__(self, found: Sequence[Hypothesis], steps_N: Tensor, pairs: Pairs) -> None:
        self.found, self.lengths_N = found, pairs.target_lengths.cpu()
        self.enough_N = steps_N > self.lengths_N
        """Whether the hypothesis, with EOS, is as long as the reference."""
        self.nll_N2 = torch.zeros(pairs.size, 2, dtype=torch.float64)
        self.words: dict[int, list[int]] = {}

    def make(self, model: Seq2Seq, begun: tuple[State, Source], batch: Batch, index_B: Tensor) -> None:
        """Let the model walk."""
        nll_BT, words_BT = on_its_own(model, begun, batch.targets_BT)
        self.nll_N2[index_B] = summed(nll_BT, batch.targets_BT)
        for row, words, length in zip(
            index_B.tolist(), words_BT.tolist(), self.lengths_N[index_B].tolist(), strict=True
        ):
            self.words[row] = words[:length]

    def take(self, nll_BT: Tensor, batch: Batch, index_B: Tensor) -> None:
        """Take what was noted while the search walked, where it said enough."""
        enough_B = self.enough_N[index_B]
        heard = index_B[enough_B]
        self.nll_N2[heard] = summed(nll_BT, batch.targets_BT)[enough_B]
        for row, length in zip(heard.tolist(), self.lengths_N[heard].tolist(), strict=True):
            self.words[row] = self.found[row].tokens[:length]

    def missing(self, batch_size: int) -> Iterator[Tensor]:
        """Yield the sentences whose walks are not known, in batches of similar length of the reference, longest first."""
        order_N = self.lengths_N.argsort(descending=True, stable=True)
        rows = [row for row in order_N.tolist() if row not in self.words]
        yield from torch.tensor(rows).split(batch_size) if rows else ()


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
        heard_B = logp_BV.max(-1).indices
        words.append(heard_B)
    return torch.stack(nll, 1), torch.stack(words, 1)


def _best(logp_NV: Tensor) -> Tensor:
    """Return the most probable word of every row."""
    return best_words(logp_NV, 1)[1].squeeze(1)


def _unending(word_N: Tensor, logp_NV: Tensor) -> Tensor:
    """Return most probable words with the next one in place of EOS."""
    ended = (word_N == EOS).nonzero().squeeze(1)
    if not len(ended):
        return word_N
    others = logp_NV[ended]
    others[:, EOS] = -torch.inf
    return word_N.index_put((ended,), _best(others))


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
        said_N = _best(logp_NV)
        other_N = _unending(said_N, logp_NV)
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
