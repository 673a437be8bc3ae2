"""Positions of words for self-attention: absolute or relative, added to vectors, scores or values, or by rotation."""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Positions
from harness.core.registry import register
from harness.core.spec import Incompatible


def _angles(place_UT: Tensor, pairs: int, width: int, like: Tensor) -> Tensor:
    """Return ``place / 10000^(2i / width)`` for pair ``i`` of numbers, on a new last axis.

    In single precision at least: bf16 has no 257, and an angle near 200 would be wrong by half a radian.
    """
    wide = torch.promote_types(like.dtype, torch.float32)
    power = torch.arange(pairs, dtype=wide, device=like.device) * (-2 / width)
    return place_UT.to(wide).unsqueeze(-1) * 10000.0**power


@register("none")
class NoPositions(Positions):
    """Nothing: an encoder then reads a bag of words; a causal decoder still knows which words came before."""

    class Config(Positions.Config):
        """No positions have no settings."""

    hears_order = False


@register("sinusoidal")
class Sinusoidal(Positions):
    """``x + PE``, ``PE(t, 2i) = sin(t / 10000^(2i/D))``, ``PE(t, 2i+1) = cos(...)`` (Vaswani et al. 2017, section 3.5)."""

    class Config(Positions.Config):
        """Sines have no settings."""

    def enter(self, x_BTD: Tensor, place_UT: Tensor) -> Tensor:
        """Return word vectors plus the sines and cosines of their places."""
        width = x_BTD.shape[-1]
        angle_UTX = _angles(place_UT, math.ceil(width / 2), width, x_BTD)
        wave_UTD = torch.stack([angle_UTX.sin(), angle_UTX.cos()], -1).flatten(-2)[..., :width]
        return x_BTD + wave_UTD.to(x_BTD.dtype)


@register("learned")
class Learned(Positions):
    """``x + p_t``, a learned vector for each place (Gehring et al. 2017, section 3.1)."""

    class Config(Positions.Config):
        """Settings of learned places."""

        longest: int = Field(512, ge=1)
        """Places that have a vector; a longer text is an error."""

    def __init__(self, cfg: Config, width: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__(cfg, width, heads, layers, causal)
        self.table = nn.Embedding(cfg.longest, width)

    def enter(self, x_BTD: Tensor, place_UT: Tensor) -> Tensor:
        """Return word vectors plus the vectors of their places.

        Raises:
            ValueError: a word stands where no vector was learned.
        """
        longest = self.table.num_embeddings
        if (needed := int(place_UT.max()) + 1) > longest:
            raise ValueError(
                f"a text of {needed} tokens is longer than the {longest} learned positions; raise positions.longest, or "
                "choose positions without a limit (sinusoidal, rotary, alibi, relative)"
            )
        place_UTD: Tensor = self.table(place_UT)
        return x_BTD + place_UTD


@register("rotary")
class Rotary(Positions):
    """Queries and keys turned by their place: pair ``i`` by the angle ``t / 10000^(2i/A)`` (Su et al. 2021, equation 15).

    The score of a query and a key then depends on the distance between them alone.

    Raises:
        Incompatible: a head has an odd number of units, so that they form no pairs.
    """

    class Config(Positions.Config):
        """Settings of rotations."""

        across: bool = Field(False, json_schema_extra={"neutral": False})
        """Of a decoder: turn its queries to the source and the keys of the source too, so that attention sees how far
        a word of the source stands from the place in the target; the paper turns self-attention alone."""

    def __init__(self, cfg: Config, width: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__(cfg, width, heads, layers, causal)
        self.across = cfg.across
        if width // heads % 2:
            raise Incompatible(f"rotary positions turn pairs of units, but a head has {width // heads}; make it even")

    def turn(self, x_BPTA: Tensor, place_UT: Tensor) -> Tensor:
        """Return the queries or keys, each pair of units turned."""
        width = x_BPTA.shape[-1]
        angle_U1TX = _angles(place_UT, width // 2, width, x_BPTA).unsqueeze(1)
        sine_U1TX, cosine_U1TX = angle_U1TX.sin(), angle_U1TX.cos()
        real_BPTX, imaginary_BPTX = x_BPTA[..., 0::2], x_BPTA[..., 1::2]
        turned = (
            real_BPTX * cosine_U1TX - imaginary_BPTX * sine_U1TX,
            real_BPTX * sine_U1TX + imaginary_BPTX * cosine_U1TX,
        )
        return torch.stack(turned, -1).flatten(-2).to(x_BPTA.dtype)


@register("alibi")
class Alibi(Positions):
    """A penalty on distance, ``score(t, s) - m_p |t - s|``, ``m_p = 2^(-8p/P)`` for head p of P (Press et al. 2022, section 3).

    The paper has causal layers alone. Where words also look ahead, head p does so with the slope ``m_(P+1-p)``: with the
    same slope on both sides nothing would tell a source from its mirror image.

    Raises:
        Incompatible: words look ahead, and one head alone would have the same slope on both sides.
    """

    class Config(Positions.Config):
        """The slopes have no settings."""

    def __init__(self, cfg: Config, width: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__(cfg, width, heads, layers, causal)
        if heads == 1 and not causal:
            raise Incompatible("alibi positions need two heads or more where words look ahead, to tell left from right")
        self.slopes = [2 ** (-8 * head / heads) for head in range(1, heads + 1)]

    def bias(self, layer: int, query_BPTA: Tensor, place_UT: Tensor, place_US: Tensor) -> Tensor:
        """Return the penalties of all heads, U x P x T x S."""
        slope_P11 = query_BPTA.new_tensor(self.slopes).view(-1, 1, 1)
        ahead_U1TS = (place_US.unsqueeze(1) - place_UT.unsqueeze(2)).unsqueeze(1).to(query_BPTA.dtype)
        return torch.where(ahead_U1TS > 0, -slope_P11.flip(0) * ahead_U1TS, slope_P11 * ahead_U1TS)


@register("relative")
class Relative(Positions):
    """Learned vectors of distances in scores and values (Shaw et al. 2018, equations 3 and 4; shared by the heads of a layer).

    ``e_ts = q_t . (k_s + a_d) / sqrt(A)`` and ``z_t = sum_s alpha_ts (v_s + b_d)``, with the distance
    ``d = s - t`` cut to ``[-k, k]``, and to ``[-k, 0]`` in causal layers.
    """

    class Config(Positions.Config):
        """Settings of distances."""

        farthest: int = Field(16, ge=1)
        """The distance k beyond which all distances count as one."""

    def __init__(self, cfg: Config, width: int, heads: int, layers: int, causal: bool) -> None:
        super().__init__(cfg, width, heads, layers, causal)
        self.back, self.ahead = cfg.farthest, 0 if causal else cfg.farthest
        shape: Any = (self.back + 1 + self.ahead, width // heads)
        self.key_vectors = nn.ModuleList(nn.Embedding(*shape) for _ in range(layers))
        self.value_vectors = nn.ModuleList(nn.Embedding(*shape) for _ in range(layers))
        for table in (*self.key_vectors, *self.value_vectors):
            nn.init.xavier_uniform_(table.weight)

    def _distance(self, place_UT: Tensor, place_US: Tensor) -> Tensor:
        """Return the number of the vector of each distance, U x T x S."""
        return (place_US.unsqueeze(1) - place_UT.unsqueeze(2)).clamp(-self.back, self.ahead) + self.back

    def bias(self, layer: int, query_BPTA: Tensor, place_UT: Tensor, place_US: Tensor) -> Tensor:
        """Return ``q_t . a_d / sqrt(A)``, B x P x T x S."""
        vector_UTSA: Tensor = self.key_vectors[layer](self._distance(place_UT, place_US))
        scaled_BPTA = query_BPTA / math.sqrt(query_BPTA.shape[-1])
        return (scaled_BPTA.transpose(1, 2) @ vector_UTSA.transpose(2, 3)).transpose(1, 2)

    def values(self, layer: int, weights_BPTS: Tensor, place_UT: Tensor, place_US: Tensor) -> Tensor:
        """Return ``sum_s alpha_ts b_d``, B x P x T x A."""
        vector_UTSA: Tensor = self.value_vectors[layer](self._distance(place_UT, place_US))
        return (weights_BPTS.transpose(1, 2) @ vector_UTSA).transpose(1, 2)
