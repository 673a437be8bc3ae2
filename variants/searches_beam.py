"""Beam search: several prefixes of every sentence side by side, free or within what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from harness.contracts import BOS, EOS, PAD, UNK, Found, Readout, Search, best_words, sayable, select, to_compute
from harness.core.pinned import File
from harness.core.registry import register
from harness.core.spec import Incompatible

LEAST = 1e-6
"""The least attention that a source word counts as having had, so that its logarithm is finite."""


@register("beam")
class Beam(Search):
    """Beam search: the ``width`` most probable prefixes of every sentence are kept and extended at each step.

    A prefix that ends leaves the beam, and the best ended one is kept aside, by a rank that pays for length and coverage.
    A sentence is finished when none of its prefixes could still win. Where none ended within the limit, the most probable
    prefix (of the first group) is returned.

    With several ``groups`` the beam is divided (Vijayakumar et al. 2018, Algorithm 1): at each step the groups choose one
    after the other, each by log-probability less ``diversity`` for each time that an earlier group has just chosen the
    word (Hamming diversity). Scores stay those of the model.
    """

    class Config(Search.Config):
        """Settings of beam search."""

        width: int = Field(5, ge=1)
        """How many prefixes are kept, K."""
        length_penalty: float = Field(0.0, ge=0.0)
        """The strength alpha: 0 ranks by log-probability, more favours longer hypotheses."""
        penalty: Literal["gnmt", "average", "reward"] = Field("gnmt", json_schema_extra={"neutral": "gnmt"})
        """How length n, EOS counted, enters the rank: ``gnmt`` divides by ``((5 + n) / 6)^alpha`` (Wu et al. 2016, section 7),
        ``average`` by ``n^alpha``, ``reward`` adds ``alpha n`` (He et al. 2016; Murray and Chiang 2018)."""
        coverage_penalty: float = Field(0.0, ge=0.0, json_schema_extra={"neutral": 0.0})
        """The strength beta of ``sum_s log min(sum_t a_ts, 1)``, which ranks down hypotheses that attended to some source
        word too little (Wu et al. 2016, section 7); only with attention."""
        no_repeat: int = Field(0, ge=0, json_schema_extra={"neutral": 0})
        """No sequence of so many tokens is said twice (Paulus et al. 2018); 0 forbids nothing."""
        min_length: int = Field(0, ge=0, json_schema_extra={"neutral": 0})
        """So many tokens come before EOS, at least."""
        groups: int = Field(1, ge=1, json_schema_extra={"neutral": 1})
        """Into how many groups of equal size the beam is divided."""
        diversity: float = Field(0.5, ge=0.0, json_schema_extra={"neutral": 0.5})
        """What each use of a word by an earlier group costs in nats; without effect in one group."""

        @model_validator(mode="after")
        def _equal_groups(self) -> Self:
            if self.width % self.groups:
                raise ValueError(f"a width of {self.width} cannot be divided into {self.groups} groups of equal size")
            return self

    def check(self, model: Any) -> None:
        """Raise ``Incompatible`` if coverage is asked of a model without attention weights."""
        if self.cfg.coverage_penalty and not model.decoder.weighs:
            raise Incompatible(
                "coverage_penalty needs attention weights; choose a context with attention, or set it to 0"
            )

    def rank(self, score: Tensor, length: int) -> Tensor:
        """Return what hypotheses of so many tokens are compared by, coverage aside."""
        alpha: float = self.cfg.length_penalty
        if self.cfg.penalty == "reward":
            return score + alpha * length
        base = length if self.cfg.penalty == "average" else (5 + length) / 6
        return score / float(base**alpha)

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        read, beams = model.read(source_BS), self._first(source_BS)
        places = to_compute(beams.live_X())  # of all prefixes of all sentences, side by side
        rows = places // self.cfg.width
        state, source = select(read, rows)
        for _ in range(limit):
            readout, state = model.advance(beams.last_words(places), state, source)
            parent_X, beams = self._next(beams, places, readout, model.next_logp(readout, source), limit)
            before, places = places, to_compute(beams.live_X())
            if not len(places):
                break
            # A prefix that cannot win may have a parent that was not computed; any state will do for it.
            taken = torch.searchsorted(before, parent_X[places]).clamp(max=len(before) - 1)
            state = select(state, taken)
            others, rows = rows, places // self.cfg.width
            if not torch.equal(rows, others):
                source = select(read[1], rows)
        return beams.found()

    def _first(self, source_BS: Tensor) -> _Beams:
        """Return the beams of empty prefixes."""
        tokens_NKT = source_BS.new_full((len(source_BS), self.cfg.width, 1), BOS)
        score_NK = torch.zeros(tokens_NKT.shape[:2], device=source_BS.device)
        # All prefixes of a group are one at first.
        score_NK.unflatten(1, (self.cfg.groups, -1))[:, :, 1:] = -torch.inf
        covered = _Covered.none(source_BS, self.cfg.width) if self.cfg.coverage_penalty else None
        best = _Best(tokens_NKT[:, 0, 1:], score_NK[:, 0], torch.full_like(score_NK[:, 0], -torch.inf))
        return _Beams(tokens_NKT, score_NK, covered, best)

    def _next(
        self, beams: _Beams, place_J: Tensor, readout: Readout, logp_JV: Tensor, limit: int
    ) -> tuple[Tensor, _Beams]:
        """Return which prefixes of all beams, side by side, go on, and the beams with one more word.

        Args:
            beams: all prefixes.
            place_J: the places of those that were computed.
            readout: of these.
            logp_JV: log-probabilities of what follows each of these.
            limit: tokens that a hypothesis has at most.
        """
        tokens_NKT, score_NK, covered, best = beams
        length, (rows, width) = tokens_NKT.shape[-1], score_NK.shape
        best_JW, word_JW = self._likely(logp_JV, tokens_NKT.flatten(0, 1)[place_J, 1:])
        more_NKW = _spread(best_JW, place_J, rows, width)
        word_NKW = _spread(word_JW, place_J, rows, width)
        total_NKW = (score_NK.unsqueeze(-1) + more_NKW).masked_fill(score_NK.isneginf().unsqueeze(-1), -torch.inf)
        score_NK, parent_NK, word_NK = self._chosen(total_NKW, word_NKW)
        rank_NK = self.rank(score_NK, length)
        if covered is not None:
            covered = covered.after(_spread(readout.weights_BTS[:, -1], place_J, rows, width), parent_NK)
            rank_NK = rank_NK + self.cfg.coverage_penalty * covered.penalty()
        longer = _extended(tokens_NKT, parent_NK, word_NK)
        best = best.or_ended(longer[:, :, 1:], score_NK, rank_NK)
        score_NK = self._hopeful(score_NK.masked_fill(word_NK == EOS, -torch.inf), best.rank_N, limit)
        row_N1 = torch.arange(rows, device=parent_NK.device).unsqueeze(1)
        return (row_N1 * width + parent_NK).flatten(), _Beams(longer, score_NK, covered, best)

    def permitted(self, logp_JV: Tensor, said_JT: Tensor) -> Tensor:
        """Return log-probabilities with words that may not follow at minus infinity; EOS may where nothing else may."""
        early = said_JT.shape[1] < self.cfg.min_length
        if not early and not self.cfg.no_repeat:
            return logp_JV
        allowed_JV = sayable(logp_JV)
        if self.cfg.no_repeat:
            allowed_JV[_repeating(said_JT, self.cfg.no_repeat, logp_JV.shape[1])] = -torch.inf
        if early:
            allowed_JV[:, EOS] = -torch.inf
            stuck_J = allowed_JV.isneginf().all(1)
            allowed_JV[:, EOS] = logp_JV[:, EOS].masked_fill(~stuck_J, -torch.inf)
        return allowed_JV

    def _likely(self, logp_JV: Tensor, said_JT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the most probable words after each prefix, J x W each: no other can come into the beam.

        W = K at most. That is enough for groups too: a group of G takes G of them, and earlier groups have said no more than
        K - G.
        """
        return best_words(self.permitted(logp_JV, said_JT), self.cfg.width)

    def _chosen(self, total_NKW: Tensor, word_NKW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score, parent and last word of the prefixes that are kept, N x K each, group by group."""
        size, chosen, said = total_NKW.shape[1] // self.cfg.groups, [], word_NKW[:, :0, 0]
        for start in range(0, total_NKW.shape[1], size):
            group = slice(start, start + size)
            score, parent, word = self._of_group(total_NKW[:, group], word_NKW[:, group], said)
            word = word.masked_fill(score.isneginf(), PAD)
            chosen.append((score, parent + start, word))
            said = torch.cat([said, word], 1)
        score_NK, parent_NK, word_NK = (torch.cat(parts, 1) for parts in zip(*chosen, strict=True))
        return score_NK, parent_NK, word_NK

    def _of_group(self, total_NKW: Tensor, word_NKW: Tensor, said_NX: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same of one group, which pays for each time that earlier groups have just said a word."""
        uses_NKW = (word_NKW.unsqueeze(-1) == said_NX[:, None, None]).sum(-1)
        judged_NKW = total_NKW - self.cfg.diversity * uses_NKW
        choice_NK = judged_NKW.flatten(1).topk(total_NKW.shape[1], 1).indices
        score_NK, word_NK = (part.flatten(1).gather(1, choice_NK) for part in (total_NKW, word_NKW))
        return score_NK, choice_NK // total_NKW.shape[-1], word_NK

    def _hopeful(self, score_NK: Tensor, rank_N: Tensor, limit: int) -> Tensor:
        """Return the scores of prefixes with those that cannot rank above what has ended at minus infinity.

        Log-probabilities and coverage never exceed 0, so the rank at the limit is the best that a prefix can still become.
        """
        return score_NK.masked_fill(self.rank(score_NK, limit) <= rank_N.unsqueeze(1), -torch.inf)


@register("constrained")
class Constrained(Beam):
    """Beam search within what is allowed: a text that every hypothesis begins with, or a closed list of outputs.

    The outputs form a trie, and after each prefix only the words that go on in the trie may be said (De Cao et al. 2021).
    Scores stay those of the model, not renormalized over what is allowed. Where ``no_repeat`` or ``min_length`` leave
    nothing of it, they give way.
    """

    class Config(Beam.Config):
        """Settings of constrained beam search: those of the beam, and one of the three constraints."""

        example: ClassVar[Mapping[str, Any]] = {"prefix": "a"}

        prefix: str = ""
        """Target text that every hypothesis begins with."""
        outputs: tuple[str, ...] = ()
        """Target texts that are the only possible hypotheses, such as labels."""
        file: File | None = None
        """A file of such texts, one a line."""

        @model_validator(mode="after")
        def _one_constraint(self) -> Self:
            if bool(self.prefix) + bool(self.outputs) + (self.file is not None) != 1:
                raise ValueError("name one constraint: a prefix, outputs, or a file of outputs")
            return self

    def prepare(self, encode: Callable[[Sequence[str]], list[list[int]]]) -> None:
        """Put the prefix or the outputs into a trie: what may follow each sequence of tokens."""
        texts = [self.cfg.prefix] if self.cfg.prefix else self.cfg.outputs
        if self.cfg.file is not None:
            texts = [line for line in self.cfg.file.checked().read_text(encoding="utf-8").splitlines() if line]
            if not texts:
                raise Incompatible(f"{self.cfg.file.path} holds no outputs; write one a line")
        ends = [] if self.cfg.prefix else [EOS]
        self.trie: dict[tuple[int, ...], list[int]] = {}
        for text, ids in zip(texts, encode(texts), strict=True):
            if UNK in ids:
                raise Incompatible(
                    f"the target vocabulary has no words for all of '{text}'; leave it out of the constraint"
                )
            for place, word in enumerate([*ids, *ends]):
                self.trie.setdefault(tuple(ids[:place]), []).append(word)

    def permitted(self, logp_JV: Tensor, said_JT: Tensor) -> Tensor:
        """Return log-probabilities with all that leads out of the trie at minus infinity."""
        logp_JV = sayable(logp_JV)
        closed_JV = torch.ones_like(logp_JV, dtype=torch.bool)
        for row, prefix in enumerate(said_JT.tolist()):
            # What has ended or has said the whole prefix is free.
            closed_JV[row, self.trie.get(tuple(prefix), slice(None))] = False
        inside_JV = super().permitted(logp_JV, said_JT).masked_fill(closed_JV, -torch.inf)
        stuck_J1 = inside_JV.isneginf().all(1, keepdim=True)
        return torch.where(stuck_J1, logp_JV.masked_fill(closed_JV, -torch.inf), inside_JV)


def _repeating(said_JT: Tensor, size: int, words: int) -> Tensor:
    """Return which words would complete a sequence of ``size`` tokens that was already said, J x V."""
    count_JV = torch.zeros(len(said_JT), words, device=said_JT.device)
    if said_JT.shape[1] >= size:
        spans = said_JT.unfold(1, size, 1)
        last = said_JT[:, said_JT.shape[1] - size + 1 :].unsqueeze(1)
        again = (spans[..., :-1] == last).all(-1)
        count_JV.scatter_add_(1, spans[..., -1], again.to(count_JV))
    return count_JV > 0


def _spread(part: Tensor, place_J: Tensor, rows: int, width: int) -> Tensor:
    """Return what belongs to computed prefixes as N x K x ..., with zeros for the other prefixes."""
    whole = part
    if len(place_J) < rows * width:
        whole = part.new_zeros((rows * width, *part.shape[1:]))
        whole[place_J] = part
    return whole.view(rows, width, *part.shape[1:])


def _extended(tokens_NKT: Tensor, parent_NK: Tensor, word_NK: Tensor) -> Tensor:
    """Return the chosen prefixes, each with its new word."""
    kept_NKT = tokens_NKT.gather(1, parent_NK.unsqueeze(-1).expand_as(tokens_NKT))
    return torch.cat([kept_NKT, word_NK.unsqueeze(-1)], -1)


class _Covered(NamedTuple):
    """The attention that each source word has had from each prefix, and which source positions are words."""

    sum_NKS: Tensor
    real_NKS: Tensor

    @staticmethod
    def none(source_BS: Tensor, width: int) -> _Covered:
        """Return what empty prefixes have attended to."""
        real_NKS = (source_BS != PAD).unsqueeze(1).expand(-1, width, -1)
        return _Covered(torch.zeros(real_NKS.shape, device=source_BS.device), real_NKS)

    def after(self, weights_NKS: Tensor, parent_NK: Tensor) -> _Covered:
        """Return the sums after one more step, whose weights are given for each prefix before the choice."""
        sum_NKS = self.sum_NKS + weights_NKS
        return self._replace(sum_NKS=sum_NKS.gather(1, parent_NK.unsqueeze(-1).expand_as(sum_NKS)))

    def penalty(self) -> Tensor:
        """Return the logarithms, at most 0, summed over source words, N x K."""
        log_NKS = self.sum_NKS.clamp(LEAST, 1.0).log()
        return log_NKS.masked_fill(~self.real_NKS, 0.0).sum(-1)


class _Best(NamedTuple):
    """The best ended hypothesis of every sentence so far; ``rank_N`` is minus infinity where none has ended."""

    tokens_NT: Tensor
    score_N: Tensor
    rank_N: Tensor

    def or_ended(self, tokens_NKT: Tensor, score_NK: Tensor, rank_NK: Tensor) -> _Best:
        """Return the best after one more step, whose hypotheses are all one token longer."""
        ended_NK = tokens_NKT[:, :, -1] == EOS
        rank_N, slot_N = rank_NK.masked_fill(~ended_NK, -torch.inf).max(1)
        better_N = rank_N > self.rank_N
        row_N = torch.arange(len(slot_N), device=slot_N.device)
        return _Best(
            torch.where(better_N.unsqueeze(1), tokens_NKT[row_N, slot_N], F.pad(self.tokens_NT, (0, 1), value=PAD)),
            torch.where(better_N, score_NK[row_N, slot_N], self.score_N),
            torch.where(better_N, rank_N, self.rank_N),
        )

    def or_cut(self, tokens_NT: Tensor, score_N: Tensor) -> Found:
        """Return the best, and where nothing ended the prefix given instead."""
        ended_N = self.rank_N > -torch.inf
        return Found(
            torch.where(ended_N.unsqueeze(1), self.tokens_NT, tokens_NT), torch.where(ended_N, self.score_N, score_N)
        )


class _Beams(NamedTuple):
    """The prefixes of every sentence, BOS first, with their scores, what they attended to, and the best that has ended."""

    tokens_NKT: Tensor
    score_NK: Tensor
    covered: _Covered | None
    best: _Best

    def live_X(self) -> Tensor:
        """Return which prefixes, of all beams side by side, can still win."""
        return ~self.score_NK.flatten().isneginf()

    def last_words(self, place_J: Tensor) -> Tensor:
        """Return the last words of the prefixes at the given places, of all beams side by side, J x 1."""
        return self.tokens_NKT.flatten(0, 1)[place_J, -1:]

    def found(self) -> Found:
        """Return the best ended hypotheses, and where nothing has ended the first prefix."""
        return self.best.or_cut(self.tokens_NKT[:, 0, 1:], self.score_NK[:, 0])
