"""Factorized word vectors against a product of matrices."""

from __future__ import annotations

import pytest
import torch

from harness.contracts import Embeddings, Output, Readout, Source, Words

IDS_BS = torch.tensor([[4, 5, 0], [6, 0, 0]])


def made(**settings: float) -> torch.nn.Module:
    torch.manual_seed(0)
    config = Embeddings.kinds["factorized"].Config.model_validate({"width": 4, "rank": 2, **settings})
    return config.build(words=Words(8, 9))  # type: ignore[no-any-return]


@pytest.mark.parametrize("side", ("source", "target"))
def test_a_vector_is_a_row_of_the_product(side: str) -> None:
    part = made()
    table, project = getattr(part, f"{side}_table").weight, getattr(part, f"{side}_map").weight
    product = torch.einsum("vr,er->ve", table, project)
    torch.testing.assert_close(getattr(part, side)(IDS_BS), product[IDS_BS])
    assert not bool(product[0].any())
    assert sum(p.numel() for p in part.parameters()) == 2 * (8 + 9) + 2 * 2 * 4


def test_a_tied_output_shares_the_narrow_table() -> None:
    part = made()
    output = Output.kinds["tied"].Config().build(readout=2, embeddings=part)
    features = torch.randn(1, 3, 2)
    logp = output.logp(Readout(features, features[..., :0]), Source((), ()))  # type: ignore[arg-type]
    torch.testing.assert_close(logp, (features @ part.target_table.weight.T).log_softmax(-1))  # type: ignore[union-attr]


def test_dropout_drops_while_training_only() -> None:
    part = made(dropout=0.5)
    for look in (part.train().source, part.target):
        assert bool((look(IDS_BS.clamp_min(1)) == 0).any())
    assert not bool((part.eval().source(IDS_BS.clamp_min(1)) == 0).any())
