"""Beam search: several prefixes of every sentence side by side, free or within what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from harness.contracts import BOS, EOS, PAD, UNK, Found, Search, repeat, sayable, select
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
        width, batch, device = self.cfg.width, len(source_BS), source_BS.device
        state, source = (repeat(part, width) for part in model.read(source_BS))
        tokens_BKT = source_BS.new_full((batch, width, 1), BOS)
        score_BK = torch.zeros(batch, width, device=device)
        score_BK.view(batch, self.cfg.groups, -1)[:, :, 1:] = -torch.inf  # all prefixes of a group are one at first
        first_B1 = torch.arange(0, batch * width, width, device=device).unsqueeze(1)
        covered = _Covered.none(source_BS, width) if self.cfg.coverage_penalty else None
        best = _Best(tokens_BKT[:, 0, 1:], score_BK[:, 0], torch.full_like(score_BK[:, 0], -torch.inf))
        for length in range(1, limit + 1):
            readout, state = model.advance(tokens_BKT[:, :, -1].reshape(-1, 1), state, source)
            logp_BKV = sayable(model.next_logp(readout, source)).view(batch, width, -1)
            logp_BKV = self.permitted(logp_BKV, tokens_BKT[:, :, 1:])
            score_BK, parent_BK, word_BK = self._chosen(score_BK.unsqueeze(-1) + logp_BKV)
            state = select(state, (first_B1 + parent_BK).flatten())
            tokens_BKT = _extended(tokens_BKT, parent_BK, word_BK)
            rank_BK = self.rank(score_BK, length)
            if covered is not None:
                covered = covered.after(readout.weights_BTS[:, -1], parent_BK)
                rank_BK = rank_BK + self.cfg.coverage_penalty * covered.penalty()
            best = best.or_ended(tokens_BKT[:, :, 1:], score_BK, rank_BK)
            # Log-probabilities and coverage never exceed 0, so this is the best that a prefix can still become.
            hope_BK = self.rank(score_BK.masked_fill(word_BK == EOS, -torch.inf), limit)
            score_BK = score_BK.masked_fill(hope_BK <= best.rank_B.unsqueeze(1), -torch.inf)
            if bool(score_BK.isneginf().all()):
                break
        return best.or_cut(tokens_BKT[:, 0, 1:], score_BK[:, 0])

    def permitted(self, logp_BKV: Tensor, said_BKT: Tensor) -> Tensor:
        """Return log-probabilities with words that may not follow at minus infinity; EOS may where nothing else may."""
        early = said_BKT.shape[-1] < self.cfg.min_length
        if not early and not self.cfg.no_repeat:
            return logp_BKV
        allowed_BKV = logp_BKV.clone()
        if self.cfg.no_repeat:
            allowed_BKV[_repeating(said_BKT, self.cfg.no_repeat, logp_BKV.shape[-1])] = -torch.inf
        if early:
            allowed_BKV[..., EOS] = -torch.inf
            stuck_BK = allowed_BKV.isneginf().all(-1)
            allowed_BKV[..., EOS] = logp_BKV[..., EOS].masked_fill(~stuck_BK, -torch.inf)
        return allowed_BKV

    def _chosen(self, total_BKV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score, parent and last word of the prefixes that are kept, B x K each, group by group."""
        size, said_BV = total_BKV.shape[1] // self.cfg.groups, torch.zeros_like(total_BKV[:, 0])
        chosen = []
        for start in range(0, total_BKV.shape[1], size):
            score, parent, word = self._of_group(total_BKV[:, start : start + size], said_BV)
            chosen.append((score, parent + start, word))
            said_BV = said_BV.scatter_add(1, word, (score > -torch.inf).to(said_BV))
        score_BK, parent_BK, word_BK = (torch.cat(parts, 1) for parts in zip(*chosen, strict=True))
        return score_BK, parent_BK, word_BK

    def _of_group(self, total_BKV: Tensor, said_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same of one group, which pays for words by how often earlier groups have just said them."""
        judged_BKV = total_BKV - self.cfg.diversity * said_BV.unsqueeze(1) if self.cfg.groups > 1 else total_BKV
        choice_BK = judged_BKV.flatten(1).topk(total_BKV.shape[1], 1).indices
        score_BK = total_BKV.flatten(1).gather(1, choice_BK)
        return score_BK, choice_BK // total_BKV.shape[-1], choice_BK % total_BKV.shape[-1]


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

    def permitted(self, logp_BKV: Tensor, said_BKT: Tensor) -> Tensor:
        """Return log-probabilities with all that leads out of the trie at minus infinity."""
        closed_BKV = torch.ones_like(logp_BKV, dtype=torch.bool)
        for row, prefixes in enumerate(said_BKT.tolist()):
            for slot, prefix in enumerate(prefixes):
                # What has ended or has said the whole prefix is free.
                closed_BKV[row, slot, self.trie.get(tuple(prefix), slice(None))] = False
        inside_BKV = super().permitted(logp_BKV, said_BKT).masked_fill(closed_BKV, -torch.inf)
        stuck_BK1 = inside_BKV.isneginf().all(-1, keepdim=True)
        return torch.where(stuck_BK1, logp_BKV.masked_fill(closed_BKV, -torch.inf), inside_BKV)


def _repeating(said_BKT: Tensor, size: int, words: int) -> Tensor:
    """Return which words would complete a sequence of ``size`` tokens that was already said, B x K x V."""
    count_BKV = torch.zeros(*said_BKT.shape[:2], words, device=said_BKT.device)
    if said_BKT.shape[-1] >= size:
        spans = said_BKT.unfold(-1, size, 1)
        last = said_BKT[..., said_BKT.shape[-1] - size + 1 :].unsqueeze(2)
        again = (spans[..., :-1] == last).all(-1)
        count_BKV.scatter_add_(2, spans[..., -1], again.to(count_BKV))
    return count_BKV > 0


def _extended(tokens_BKT: Tensor, parent_BK: Tensor, word_BK: Tensor) -> Tensor:
    """Return the chosen prefixes, each with its new word."""
    kept_BKT = tokens_BKT.gather(1, parent_BK.unsqueeze(-1).expand_as(tokens_BKT))
    return torch.cat([kept_BKT, word_BK.unsqueeze(-1)], -1)


class _Covered(NamedTuple):
    """The attention that each source word has had from each prefix, and which source positions are words."""

    sum_BKS: Tensor
    real_BKS: Tensor

    @staticmethod
    def none(source_BS: Tensor, width: int) -> _Covered:
        """Return what empty prefixes have attended to."""
        real_BKS = (source_BS != PAD).unsqueeze(1).expand(-1, width, -1)
        return _Covered(torch.zeros(real_BKS.shape, device=source_BS.device), real_BKS)

    def after(self, weights: Tensor, parent_BK: Tensor) -> _Covered:
        """Return the sums after one more step, whose weights are given for each prefix before the choice."""
        sum_BKS = self.sum_BKS + weights.view(self.sum_BKS.shape)
        return self._replace(sum_BKS=sum_BKS.gather(1, parent_BK.unsqueeze(-1).expand_as(sum_BKS)))

    def penalty(self) -> Tensor:
        """Return the logarithms, at most 0, summed over source words, B x K."""
        log_BKS = self.sum_BKS.clamp(LEAST, 1.0).log()
        return log_BKS.masked_fill(~self.real_BKS, 0.0).sum(-1)


class _Best(NamedTuple):
    """The best ended hypothesis of every sentence so far; ``rank_B`` is minus infinity where none has ended."""

    tokens_BT: Tensor
    score_B: Tensor
    rank_B: Tensor

    def or_ended(self, tokens_BKT: Tensor, score_BK: Tensor, rank_BK: Tensor) -> _Best:
        """Return the best after one more step, whose hypotheses are all one token longer."""
        ended_BK = tokens_BKT[:, :, -1] == EOS
        rank_B, slot_B = rank_BK.masked_fill(~ended_BK, -torch.inf).max(1)
        better_B = rank_B > self.rank_B
        row_B = torch.arange(len(slot_B), device=slot_B.device)
        return _Best(
            torch.where(better_B.unsqueeze(1), tokens_BKT[row_B, slot_B], F.pad(self.tokens_BT, (0, 1), value=PAD)),
            torch.where(better_B, score_BK[row_B, slot_B], self.score_B),
            torch.where(better_B, rank_B, self.rank_B),
        )

    def or_cut(self, tokens_BT: Tensor, score_B: Tensor) -> Found:
        """Return the best, and where nothing ended the prefix given instead."""
        ended_B = self.rank_B > -torch.inf
        return Found(
            torch.where(ended_B.unsqueeze(1), self.tokens_BT, tokens_BT), torch.where(ended_B, self.score_B, score_B)
        )
