"""Laws of ensembles: several models that answer as one obey what one model obeys, and nothing else changes."""

from __future__ import annotations

from math import log
from typing import Any

import choices
import pytest
import test_model_laws as laws
import torch

from harness.contracts import EOS, Search
from harness.core.spec import Incompatible, read
from harness.trial import n_best
from harness.trial.ensemble import Ensemble, joined, mean_of_probabilities
from harness.trial.train import TrainingChoice, check_parts

ASKED = (
    laws.test_cutting_time_changes_nothing,
    laws.test_decoding_does_not_depend_on_company,
    laws.test_reordering_states_reorders_futures,
    laws.test_all_that_is_remembered_has_batch_first,
    laws.test_free_running_says_what_greedy_says,
    laws.test_a_search_copies_and_hears_what_it_copied,
    laws.test_a_beam_of_one_is_greedy,
    laws.test_search_reports_the_score_the_model_gives,
    laws.test_hypotheses_end_at_eos_or_at_the_limit,
    laws.test_a_sampler_that_may_only_say_the_best_is_greedy,
    laws.test_no_beam_beats_exact_search,
    laws.test_constrained_search_says_what_is_allowed,
    laws.test_evaluation_draws_nothing_at_random,
)
COPYING = next(plain for plain in choices.models() if plain["output"]["kind"] == "pointer_generator")


def pair(plain: Any) -> tuple[Any, Any]:
    """Two models of one choice with different parameters."""
    one, other = choices.build(plain), choices.build(plain)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(-0.8)
    return one, other


def searches(member: Any) -> list[Any]:
    """A search of every kind for an ensemble of such members, and beams that look at its attention."""
    by_kind = {plain["kind"]: plain for plain in reversed(choices.searches())}
    plain = [*by_kind.values(), *(each for each in choices.searches() if each.get("coverage_penalty"))]
    made = (laws.search(**each) for each in plain)
    return [search for search in made if laws.meets(search, member) and not search.asks_parts]


def test_the_mean_of_two_distributions_by_hand() -> None:
    one, other = torch.tensor([0.9, 0.1, 0.0]), torch.tensor([0.4, 0.2, 0.4])
    mean = mean_of_probabilities(torch.stack([one.log(), other.log()]))
    torch.testing.assert_close(mean, torch.tensor([0.65, 0.15, 0.2]).log())
    never = torch.full((3, 1), -torch.inf)
    assert mean_of_probabilities(never).tolist() == [-torch.inf]
    tiny = mean_of_probabilities(torch.tensor([[-2000.0], [-2000.0 + log(3)]], dtype=torch.double))
    assert tiny.tolist() == pytest.approx([-2000.0 + log(2)])


@pytest.mark.parametrize("plain", [*choices.params()[::7], pytest.param(COPYING, id="copying")])
def test_an_ensemble_is_searched_as_a_model_is(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = pair(plain)
    monkeypatch.setattr(laws, "searches", lambda model: searches(model.members[0]))
    ensemble = joined([one, other])
    for law in ASKED:
        law(ensemble)
    logp_BTV = ensemble.output.logp(*laws.along(ensemble, laws.SOURCE_BS, laws.INPUTS_BT))
    each = [model.output.logp(*laws.along(model, laws.SOURCE_BS, laws.INPUTS_BT)).exp() for model in (one, other)]
    laws.close(logp_BTV.exp(), sum(each) / 2)
    laws.close(logp_BTV.exp().sum(-1), torch.ones(logp_BTV.shape[:2], dtype=torch.double))


@pytest.mark.parametrize("plain", [*choices.params()[::7], pytest.param(COPYING, id="copying")])
def test_identical_members_are_the_single_model_bit_for_bit(plain: Any) -> None:
    one = choices.build(plain)
    three = Ensemble([one, one, one])
    for single, several in ((one, three), (one, joined([one]))):
        spoken = laws.along(several, laws.SOURCE_BS, laws.INPUTS_BT)
        alone = laws.along(single, laws.SOURCE_BS, laws.INPUTS_BT)
        assert torch.equal(several.output.logp(*spoken), single.output.logp(*alone))
        torch.testing.assert_close(spoken[0].weights_BTS, alone[0].weights_BTS)
    for search in searches(one):
        alone, found = (search.find(model, laws.SOURCE_BS, laws.LIMIT) for model in (one, three))
        assert laws.said(found) == laws.said(alone)
        if not getattr(
            search.cfg, "coverage_penalty", 0.0
        ):  # where it is, beams may cut ties of the last bit elsewhere
            assert torch.equal(found.score_B, alone.score_B)


def test_the_members_are_heard_in_the_order_of_their_parameters() -> None:
    """Attention is the mean, and each member's own weights are where its output copies from."""
    one, other = pair(COPYING)
    both = Ensemble([one, other])
    weights = [model(laws.SOURCE_BS, laws.INPUTS_BT).weights_BTS for model in (one, other)]
    assert not torch.allclose(*weights)
    laws.close(both(laws.SOURCE_BS, laws.INPUTS_BT).weights_BTS, (weights[0] + weights[1]) / 2)
    assert both.output.copies and list(both.state_dict()) == [
        f"members.{number}.{name}" for number in (0, 1) for name in one.state_dict()
    ]


def test_the_n_best_of_an_ensemble_have_its_scores() -> None:
    both = Ensemble(pair(COPYING))
    for each in n_best.n_best(both, laws.SOURCE_BS[:1], 3, laws.LIMIT):
        words_1T = torch.tensor([[*each.tokens, *([] if each.truncated else [EOS])]])
        heard_1T = torch.cat([torch.ones(1, 1, dtype=torch.long), words_1T[:, :-1]], 1)
        with torch.no_grad():
            nll = both.output.nll(*laws.along(both, laws.SOURCE_BS[:1], heard_1T), words_1T).sum()
        assert -float(nll) == pytest.approx(each.score)


@pytest.mark.parametrize("kind", Search.kinds)
def test_a_search_that_looks_into_one_model_is_refused(kind: str) -> None:
    import test_training as training

    config: Any = Search.kinds[kind].Config
    search = read(config, dict(config.example))
    several = read(TrainingChoice, training.BASE | {"members": 2})
    if not config.part.asks_parts:
        check_parts(training.MODEL, several, search, training.WORDS)
        return
    with pytest.raises(Incompatible, match="looks into the parts of one model; choose another search"):
        check_parts(training.MODEL, several, search, training.WORDS)
    check_parts(training.MODEL, read(TrainingChoice, training.BASE), search, training.WORDS)
