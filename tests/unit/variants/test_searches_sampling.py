"""Sampling against probabilities, its filters and utilities by hand, and the consensus of samples."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU
from scipy.stats import chisquare

from harness.contracts import BOS, EOS, UNK, Search, sayable
from harness.core.spec import read
from unit.variants.test_searches import tiny
from variants import searches_sampling

SOURCE_1S = torch.tensor([[4, 5, 6]])
DRAWS = 4000


def search(kind: str = "sampling", **settings: Any) -> Any:
    return read(Search.kinds[kind].Config, settings).build()


def kept(**settings: Any) -> list[float]:
    odds = search(**settings).odds(torch.tensor([[0.15, 0.5, 0.1, 0.25]]).log())[0]
    return [round(float(share / odds.sum()), 4) for share in odds]


def test_samples_come_as_often_as_they_are_probable() -> None:
    model, temperature = tiny(3), 1.7
    expected: dict[tuple[int, ...], float] = {}
    for way in itertools.product((EOS, UNK, 4), repeat=3):
        said = way[: way.index(EOS) + 1] if EOS in way else way
        state, source = model.read(SOURCE_1S)
        logp_TV = model.output.logp(model.follow(state, source, torch.tensor([[BOS, *said[:-1]]])), source)[0]
        shares_TV = (sayable(logp_TV) / temperature).softmax(-1)
        expected[said] = shares_TV[range(len(said)), list(said)].prod().item()
    assert sum(expected.values()) == pytest.approx(1.0)
    drawn = search(temperature=temperature).draw(model, SOURCE_1S, 3, DRAWS).tokens_BT.tolist()
    counts = [sum(tuple(word for word in row if word) == said for row in drawn) for said in expected]
    assert sum(counts) == DRAWS
    often = [place for place, share in enumerate(expected.values()) if share * DRAWS >= 5]
    seen, wanted = ([column[place] for place in often] for column in (counts, list(expected.values())))
    seen, wanted = [*seen, DRAWS - sum(seen)], [*wanted, 1 - sum(wanted)]
    assert len(often) > 4 and chisquare(seen, [share * DRAWS for share in wanted]).pvalue > 0.001


def test_filters_keep_the_words_that_their_definitions_name() -> None:
    assert kept() == [0.15, 0.5, 0.1, 0.25]
    assert kept(temperature=0.5) == [0.0652, 0.7246, 0.029, 0.1812], "squares: .0225, .25, .01, .0625 of .345"
    assert kept(top_k=2) == [0, 0.6667, 0, 0.3333]
    assert kept(nucleus=0.49) == [0, 1, 0, 0] and kept(nucleus=0.74) == kept(top_k=2)
    assert kept(nucleus=0.76) == [0.1667, 0.5556, 0, 0.2778]
    assert kept(min_p=0.45) == kept(top_k=2) and kept(min_p=0.29) == kept(top_k=3)
    assert kept(top_k=3, nucleus=0.49) == kept(top_k=1) == kept(min_p=1.0) == [0, 1, 0, 0]


def test_of_equals_as_many_are_kept_as_asked_for() -> None:
    assert search(top_k=2).odds(torch.zeros(1, 4)).tolist() == [[0.25, 0.25, 0, 0]]


def test_a_draw_belongs_to_seed_and_source_and_not_to_padding() -> None:
    model = tiny(3)
    sources_BS = torch.tensor([[4 + i % 4, 4 + i // 4 % 4, 4 + i // 16] for i in range(64)])
    first, same, other = (search(seed=seed).find(model, sources_BS, 4).tokens_BT for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    keys = {searches_sampling._key(1, ids, sample) for ids in sources_BS.tolist() for sample in range(3)}
    assert len(keys) == 3 * 64 and searches_sampling._key(1, [4, 0, 0], 0) == searches_sampling._key(1, [4], 0)


def test_uniform_numbers_are_uniform_and_below_one() -> None:
    keys = [searches_sampling._key(1, [4, word], 0) for word in range(1000)]
    numbers = [searches_sampling._uniform(key, step) for key in keys for step in range(4)]
    assert len(set(numbers)) == len(numbers) and min(numbers) >= 0 and max(numbers) < 1
    counts = torch.histc(torch.tensor(numbers), 20, 0, 1).tolist()
    assert chisquare(counts).pvalue > 0.001


def test_utilities_by_hand() -> None:
    f1, edit, bleu = (searches_sampling.UTILITIES[name] for name in ("f1", "edit", "bleu"))
    assert f1((3, 4, 4), (4, 4, 5, 6)) == pytest.approx(2 * 2 / 7)
    assert edit((3, 4, 5), (3, 5)) == pytest.approx(1 - 1 / 3) and edit((3, 4), (4, 3)) == 0
    assert edit((), (3,)) == 0 and edit((3,), ()) == 0
    assert all(utility((), ()) == 1 and utility((3, 4), (3, 4)) == 1 for utility in (f1, edit, bleu))
    assert f1((), (3,)) == bleu((), (3,)) == bleu((3,), ()) == 0


def test_sentence_bleu_is_sacrebleus_with_one_added() -> None:
    theirs = BLEU(smooth_method="add-k", smooth_value=1, tokenize="none")
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        said, other = (
            tuple(torch.randint(3, 6, (size,), generator=generator).tolist())
            for size in torch.randint(1, 9, (2,), generator=generator).tolist()
        )
        wanted = theirs.sentence_score(" ".join(map(str, said)), [" ".join(map(str, other))]).score
        assert 100 * searches_sampling.UTILITIES["bleu"](said, other) == pytest.approx(wanted)


def test_the_consensus_is_the_sample_most_like_all() -> None:
    f1 = searches_sampling.UTILITIES["f1"]
    samples = [(9,), (9,), (3, 4), (3, 5), (3, 6)]
    # (9,): 2. (3, 4): 1 + 1/2 + 1/2 = 2, as the other two: of equals the first.
    assert searches_sampling._consensus(samples, f1) == 0
    # (9,) still 2; (3, 4): 1 + 1/2 + 1/2 + 2/3 = 2.67; (3,): 1 + 3 * 2/3 = 3.
    assert searches_sampling._consensus([*samples, (3,)], f1) == 5


def test_minimum_bayes_risk_takes_one_of_its_samples() -> None:
    model = tiny(3)
    for utility, consensus in searches_sampling.UTILITIES.items():
        part = search("minimum_bayes_risk", samples=9, utility=utility)
        drawn, found = part.draw(model, SOURCE_1S, 4, 9), part.find(model, SOURCE_1S, 4)
        samples = [tuple(word for word in row if word not in (0, EOS)) for row in drawn.tokens_BT.tolist()]
        mean = [sum(consensus(one, other) for other in samples) for one in samples]
        best = max(range(9), key=lambda place: (round(mean[place], 9), -place))
        assert torch.equal(found.tokens_BT[0], drawn.tokens_BT[best]) and found.score_B[0] == drawn.score_B[best]
