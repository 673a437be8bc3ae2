"""Words with features: which token looks into which row."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import PAD, SPECIALS, Embeddings, Words
from harness.core.spec import Incompatible, SpecError

SOURCE = [*SPECIALS, "house|NN|sg", "house|VB|sg", "houses|NN|pl", "a|b|NN|pl", "bare"]
WORDS = Words(len(SOURCE), 6, lists=lambda: (SOURCE, [*SPECIALS, "x", "y"]))
HOUSE, TO_HOUSE, HOUSES, PIPE, BARE = range(4, 9)


def made(fill: bool = True, **settings: Any) -> Any:
    torch.manual_seed(0)
    plain = {"width": 7, "features": 2, "feature_width": 2, "values": 5} | settings
    part = Embeddings.kinds["features"].Config.model_validate(plain).build(words=WORDS)
    if fill:
        part.fill(WORDS)
    return part


def test_a_vector_is_the_words_and_those_of_its_features() -> None:
    part, concat = made(), made().source(torch.arange(9).unsqueeze(0))[0]
    assert concat.shape == (9, 7)
    word, first, second = concat.split([3, 2, 2], -1)
    for same, other, there in (
        (HOUSE, TO_HOUSE, (word, second)),
        (HOUSE, HOUSES, (first,)),
        (HOUSES, PIPE, (first, second)),
    ):
        for tensor in (word, first, second):
            assert torch.equal(tensor[same], tensor[other]) == any(tensor is each for each in there)
    assert torch.equal(first[BARE], first[3]), "a word without features is like a special token in them"
    assert not bool(concat[PAD].any()) and bool(concat[1:].all())
    rows = [part.source_table.weight[HOUSE], *(table.weight[2] for table in part.source_features)]
    torch.testing.assert_close(concat[HOUSE], torch.cat(rows))


def test_features_may_be_added() -> None:
    part = made(merge="add")
    rows = part.source_table.weight[HOUSES], part.source_features[0].weight[2], part.source_features[1].weight[3]
    torch.testing.assert_close(part.source(torch.tensor([[HOUSES]]))[0, 0], sum(rows))
    assert not bool(part.source(torch.tensor([[PAD]])).any())


def test_rows_come_back_from_the_file_of_parameters() -> None:
    first, second = made(), made(fill=False)
    assert not torch.equal(first.source(torch.tensor([[TO_HOUSE]])), second.source(torch.tensor([[TO_HOUSE]])))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.source(torch.tensor([[TO_HOUSE]])), second.source(torch.tensor([[TO_HOUSE]])))


def test_targets_have_a_plain_table() -> None:
    part = made()
    assert torch.equal(part.target(torch.tensor([[5]]))[0, 0], part.target_weight_VE[5])
    assert part.target_weight_VE.shape == (6, 7)


def test_what_does_not_fit_is_refused_with_what_to_do() -> None:
    with pytest.raises(Incompatible, match=r"2 features of 4 numbers leave nothing of embeddings\.width 7"):
        made(feature_width=4)
    with pytest.raises(SpecError, match=r"feature 1 of the source words has 2 values; raise embeddings\.values"):
        made(values=1)


def test_dropout_drops_while_training_only() -> None:
    part, ids = made(dropout=0.5), torch.arange(1, 6).unsqueeze(0)
    for look in (part.train().source, part.target):
        assert bool((look(ids) == 0).any())
    assert not bool((part.eval().source(ids) == 0).any())
