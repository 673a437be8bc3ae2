"""Searches that draw words at random: sampling, and minimum Bayes risk decoding over samples.

A draw belongs to its sentence. The number behind the t-th word is a hash of the setting ``seed``, of the source's own ids,
of the number of the sample and of t, on any machine: neither other sentences nor padding change it, the same trial draws the
same words again, and equal sources get equal hypotheses. Variants with the same source tokens draw with the same
numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import EOS, PAD, Found, Remaining, Said, Search, repeat, sayable, select, to_compute
from harness.core.registry import register

STEPS = 2**52
"""A uniform number is one of so many steps below 1; its product with a sum of probabilities stays below the sum."""


@register("sampling")
class Sampling(Search):
    """Draw each word at random, from the probabilities ``p^(1 / temperature)``, normalized, or from the best of them.

    ``top_k``, ``nucleus`` and ``min_p`` each name a set of words; what is in all of them may be drawn, in proportion to its
    probability. The score of a hypothesis is the log-probability that the model gives, whatever it was drawn from.
    """

    class Config(Search.Config):
        """Settings of sampling; the defaults draw from the model's own distribution."""

        temperature: float = Field(1.0, gt=0.0)
        """What logits are divided by before the rest: below 1 sharper, above 1 flatter."""
        top_k: int = Field(0, ge=0)
        """So many of the most probable words (Fan et al. 2018); 0: all."""
        nucleus: float = Field(1.0, gt=0.0, le=1.0)
        """The fewest most probable words that have this probability together (Holtzman et al. 2020); 1: all."""
        min_p: float = Field(0.0, ge=0.0, le=1.0)
        """Words at least so probable in relation to the most probable one (Nguyen et al. 2024); 0: all."""
        seed: int = Field(1, ge=0)
        """Another seed draws other words."""

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        return self.draw(model, source_BS, limit, 1)

    def draw(self, model: Any, source_BS: Tensor, limit: int, times: int) -> Found:
        """Return ``times`` hypotheses per source, those of one source side by side."""
        keys = [_key(self.cfg.seed, ids, sample) for ids in source_BS.tolist() for sample in range(times)]
        state, source = (repeat(part, times) for part in model.read(source_BS))
        remaining, said = Remaining(len(keys), source_BS.device), Said.nothing(source_BS, times)
        for step in range(limit):
            readout, state = model.advance(said.heard_NT[:, -1:], state, source)
            logp_NV = sayable(model.next_logp(readout, source))
            word = self._words(logp_NV, [_uniform(keys[row], step) for row in remaining.row_N.tolist()])
            said = said.plus(word, logp_NV.gather(1, word.unsqueeze(1)).squeeze(1))
            kept = to_compute(~said.done_N)
            if not len(kept):
                break
            if remaining.drops_to(kept, said.found()):
                state, source, said = select((state, source, said), kept)
        return remaining.with_last(said.found())

    def odds(self, logp_NV: Tensor) -> Tensor:
        """Return what words are drawn in proportion to, 0 where they may not be drawn; on the CPU, in double precision."""
        all_NV = (logp_NV.double().cpu() / self.cfg.temperature).softmax(-1)
        sorted_NV, order_NV = all_NV.sort(dim=-1, descending=True, stable=True)
        rank_V = torch.arange(sorted_NV.shape[-1])
        kept_NV = rank_V < (self.cfg.top_k or len(rank_V))
        if self.cfg.nucleus < 1.0:
            before_NV = sorted_NV.cumsum(-1) - sorted_NV
            kept_NV = kept_NV & ((before_NV < self.cfg.nucleus) | (rank_V == 0))
        kept_NV = kept_NV & (sorted_NV >= self.cfg.min_p * sorted_NV[:, :1])
        return torch.zeros_like(all_NV).scatter(1, order_NV, sorted_NV * kept_NV)

    def _words(self, logp_NV: Tensor, uniforms: Sequence[float]) -> Tensor:
        """Return the words that uniform numbers stand for, by inverting the cumulative distribution over ids.

        A copying model's words beyond those of a sentence come last and have no probability, so that they change no draw.
        """
        below_NV = self.odds(logp_NV).cumsum(-1)
        drawn_N = torch.tensor(uniforms, dtype=torch.double) * below_NV[:, -1]
        return torch.searchsorted(below_NV, drawn_N.unsqueeze(1), right=True).squeeze(1).to(logp_NV.device)


@register("minimum_bayes_risk")
class MinimumBayesRisk(Sampling):
    """Of several samples, the one that is most like all of them (Kumar and Byrne 2004; Eikema and Aziz 2020).

    ``argmax_h mean_s u(h, s)`` over the samples h and s of a source, each as often as it was drawn; of equals the first
    drawn. Utilities compare tokens.
    """

    class Config(Sampling.Config):
        """Settings of the samples, and how they are compared."""

        samples: int = Field(16, ge=1)
        """How many hypotheses are drawn for each source."""
        utility: Literal["f1", "edit", "bleu"] = "f1"
        """``f1`` of tokens without their order; ``edit``: 1 less the edit distance over the greater length; sentence ``bleu``
        of up to four tokens, where one is added to matches and totals from two on (Lin and Och 2004)."""

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted."""
        times, utility = self.cfg.samples, UTILITIES[self.cfg.utility]
        drawn = self.draw(model, source_BS, limit, times)
        said = [tuple(word for word in row if word not in (PAD, EOS)) for row in drawn.tokens_BT.tolist()]
        chosen = [start + _consensus(said[start : start + times], utility) for start in range(0, len(said), times)]
        row_B = torch.tensor(chosen, device=source_BS.device)
        return Found(drawn.tokens_BT[row_B], drawn.score_B[row_B])


Utility = Callable[[tuple[int, ...], tuple[int, ...]], float]


def _consensus(samples: Sequence[tuple[int, ...]], utility: Utility) -> int:
    """Return the place of the first sample with the greatest expected utility."""
    counts = Counter(samples)
    expected = {one: sum(often * utility(one, other) for other, often in counts.items()) for one in counts}
    return samples.index(max(counts, key=expected.__getitem__))


def _f1(said: tuple[int, ...], other: tuple[int, ...]) -> float:
    common = (Counter(said) & Counter(other)).total()
    return 2 * common / (len(said) + len(other)) if said or other else 1.0


def _edit(said: tuple[int, ...], other: tuple[int, ...]) -> float:
    row = list(range(len(other) + 1))
    for place, word in enumerate(said, 1):
        diagonal, row[0] = row[0], place
        for column, wanted in enumerate(other, 1):
            cheapest = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != wanted))
            diagonal, row[column] = row[column], cheapest
    return 1 - row[-1] / max(len(said), len(other), 1)


def _bleu(said: tuple[int, ...], other: tuple[int, ...]) -> float:
    if not said or not other:
        return float(said == other)
    product = 1.0
    for size in range(1, 5):
        ours, theirs = (Counter(zip(*(text[start:] for start in range(size)), strict=False)) for text in (said, other))
        more = int(size > 1)
        product *= ((ours & theirs).total() + more) / (ours.total() + more)
    brevity = min(1.0, math.exp(1 - len(other) / len(said)))
    return float(brevity * product**0.25)


UTILITIES: dict[str, Utility] = {"f1": _f1, "edit": _edit, "bleu": _bleu}
"""What each utility computes from two hypotheses."""


def _key(seed: int, ids: Sequence[int], sample: int) -> bytes:
    """Return the key of all draws of one sample of a source, whatever padding it has."""
    return hashlib.sha256(json.dumps([seed, sample, [word for word in ids if word != PAD]]).encode()).digest()


def _uniform(key: bytes, step: int) -> float:
    """Return a number from 0 to just below 1 that depends on key and step alone."""
    bits = hashlib.blake2b(step.to_bytes(8, "big"), key=key, digest_size=8).digest()
    return (int.from_bytes(bits, "big") >> 12) / STEPS
