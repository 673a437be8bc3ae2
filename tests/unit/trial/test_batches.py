"""Padding, order and evaluation batches on hand-made pairs."""

from __future__ import annotations

import math

import pytest
import torch

from harness.trial.batches import collate, cut, evaluation_width, in_order, pass_generator
from harness.trial.pairs import Pairs

PAIRS = Pairs.of([[5, 6, 7], [8], []], [[4], [5, 6], []])


def test_a_batch_is_padded_at_the_end_and_framed() -> None:
    batch = collate(PAIRS, torch.tensor([1, 0, 2]))
    assert batch.source_BS.tolist() == [[8, 2, 0, 0], [5, 6, 7, 2], [2, 0, 0, 0]]
    assert batch.inputs_BT.tolist() == [[1, 5, 6], [1, 4, 2], [1, 2, 0]]
    assert batch.targets_BT.tolist() == [[5, 6, 2], [4, 2, 0], [2, 0, 0]]


def test_a_fixed_width_pads_further() -> None:
    assert collate(PAIRS, torch.tensor([1]), width=4).source_BS.tolist() == [[8, 2, 0, 0]]
    assert evaluation_width(True, PAIRS) == 4 and evaluation_width(False, PAIRS) is None
    assert evaluation_width(True, PAIRS, Pairs.of([[4] * 9], [[4]])) == 10
    with pytest.raises(ValueError, match="would cut"):
        collate(PAIRS, torch.tensor([0]), width=3)


def test_a_sentence_of_rare_words_is_rare() -> None:
    """By hand: of seven source tokens 4 comes four times, 5 twice, 6 once."""
    pairs = Pairs.of([[4, 4, 5], [], [4, 6], [4, 5]], [[7], [7], [7], [7]])
    four, five, six = (math.log(count / 7) for count in (4, 2, 1))
    source_N, target_N = pairs.lengths.rarity()
    assert source_N.tolist() == pytest.approx([-2 * four - five, 0.0, -four - six, -four - five])
    assert target_N.tolist() == [0.0] * 4


def test_pairs_without_any_token_are_pairs() -> None:
    empty = Pairs.of([[], []], [[], []])
    assert collate(empty, torch.tensor([0, 1])).targets_BT.tolist() == [[2], [2]]


def test_evaluation_visits_each_pair_once_longest_first() -> None:
    batches = list(in_order(PAIRS, 2))
    assert [batch.tolist() for batch in batches] == [[0, 1], [2]]


def test_pools_cut_padding() -> None:
    lengths = torch.randint(1, 30, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    pairs = Pairs.of([[4] * n for n in lengths], [[4] * n for n in lengths])

    def padding(pool: int) -> float:
        shuffled_N = torch.randperm(pairs.size, generator=(generator := pass_generator(1, 0)))
        batches = [collate(pairs, rows).targets_BT for rows in cut(shuffled_N, pairs.lengths, 16, pool, generator)]
        return sum(int((b == 0).sum()) for b in batches) / sum(b.numel() for b in batches)

    assert padding(25) < 0.05 < 0.35 < padding(1)
