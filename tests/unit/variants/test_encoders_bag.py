"""A bag of words against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from harness.contracts import Encoder

MASK_BS = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
WORDS = torch.tensor([[[1.0, 0], [0, 2], [3, 1]], [[1, 1], [9, 9], [9, 9]]])


def bag(pool: str) -> Any:
    made = Encoder.kinds["bag"].Config.model_validate({"hidden": 2, "pool": pool}).build(embedded=2)
    with torch.no_grad():
        made.project.weight.copy_(torch.tensor([[1.0, 1], [2, -1]]))
        made.project.bias.copy_(torch.tensor([0.0, 3]))
    return made


@pytest.mark.parametrize(("pool", "final"), (("mean", [[7 / 3, 14 / 3], [2, 4]]), ("sum", [[7.0, 14], [2, 4]])))
def test_a_bag_is_a_map_of_each_word_and_their_mean_or_sum(pool: str, final: list[list[float]]) -> None:
    made = bag(pool)
    memory = made(WORDS, MASK_BS)
    assert memory.values_BSM.tolist() == [[[1, 5], [2, 1], [4, 8]], [[2, 4], [0, 0], [0, 0]]]
    torch.testing.assert_close(memory.final[0][:, 0], torch.tensor(final))
    assert made.width == 2 and made.shape[:2] == (1, ((2,),)) and not made.hears_order


def test_the_order_of_words_changes_nothing_but_the_order_of_values() -> None:
    made, turned = bag("mean"), WORDS[:1].flip(1)
    first, second = made(WORDS[:1], MASK_BS[:1]), made(turned, MASK_BS[:1])
    torch.testing.assert_close(first.final, second.final)
    torch.testing.assert_close(first.values_BSM, second.values_BSM.flip(1))
