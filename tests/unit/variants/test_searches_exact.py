"""Exact search against all sequences there are, and its limit."""

from __future__ import annotations

import pytest
import torch

from harness.contracts import EOS, PAD, Search
from unit.variants.test_searches import PATIENCE, TRAP, A, everything, find, tiny, words

SOURCE_BS = torch.tensor([[4, 5, 6], [6, 4, 0], [7, 0, 0]])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", (1, 2, 4))
def test_exact_search_finds_the_best_of_all_sequences(seed: int, limit: int) -> None:
    model = tiny(seed)
    found = Search.kinds["exact"].Config().build().find(model, SOURCE_BS, limit)
    assert found.proven_B is not None and bool(found.proven_B.all())
    for row in range(3):
        want, score = everything(model, SOURCE_BS[row : row + 1], limit, 0.0)
        assert [word for word in found.tokens_BT[row].tolist() if word != PAD] == want
        assert found.score_B[row].item() == pytest.approx(score)


def test_a_search_that_gives_up_says_so() -> None:
    # The first prefix finds EOS alone, 0.1; A, 0.5, and B, 0.4, are then open. A gives A$ 0.2, and B gives B$ 0.36.
    for expansions, said, proven in ((1, "$", False), (2, "A$", False), (3, "B$", True)):
        found = find("exact", TRAP, expansions=expansions)
        assert words(found) == [said] and found.proven_B is not None and found.proven_B.tolist() == [proven]


def test_a_branch_that_cannot_win_is_cut() -> None:
    # EOS has 0.9 at once: nothing else can exceed it, and one prefix is all that is asked about.
    found = find("exact", {"": {EOS: 0.9, A: 0.1}}, expansions=1)
    assert words(found) == ["$"] and found.proven_B is not None and found.proven_B.tolist() == [True]


def test_sentences_are_searched_each_for_itself() -> None:
    for expansions in (1, 2, 3, 50):
        together = find("exact", TRAP, PATIENCE, expansions=expansions)
        alone = [find("exact", tree, expansions=expansions) for tree in (TRAP, PATIENCE)]
        assert words(together) == [words(found)[0] for found in alone]
