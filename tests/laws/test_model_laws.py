"""Laws that hold for every model that the registry admits. Each takes a model in evaluation mode, in double precision."""

from __future__ import annotations

import functools
from typing import Any

import choices
import pytest
import torch
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, UNK, Memory, Output, Readout, Search, Source, rows, sayable, select
from harness.core import fast_paths
from harness.core.spec import Incompatible, read

SOURCE_BS = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 3, 0, 0], [5, 0, 0, 0, 0]])
LENGTHS = (5, 3, 1)
MANY_BS = torch.cat([SOURCE_BS, torch.tensor([[4, 4, 8, 0, 0], [7, 6, 0, 0, 0], [3, 9, 5, 4, 0]])])
INPUTS_BT = torch.tensor([[1, 3, 4, 5, 6, 7], [1, 8, 9, 3, 10, 10], [1, 4, 10, 9, 5, 3]])
LIMIT = 6


def close(got: Any, want: Any) -> None:
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def along(model: Any, source_BS: Tensor, inputs_BT: Tensor, *rest: Any) -> tuple[Readout, Source]:
    """The readouts along a target, and the source that the output may look at."""
    state, source = model.read(source_BS)
    return model.follow(state, source, inputs_BT, *rest), source


def tensors(tree: Any) -> list[Tensor]:
    """All that is remembered, one tensor after the other."""
    found: list[Tensor] = []
    rows(tree, lambda part: (found.append(part), part)[1])
    return found


def own_words(model: Any, readout: Readout, source: Source) -> Tensor:
    return sayable(model.output.logp(readout, source)).argmax(-1)


def said(found: Any) -> list[list[int]]:
    """The hypotheses without their padding."""
    return [[word for word in row if word != PAD] for row in found.tokens_BT.tolist()]


def search(kind: str, **settings: Any) -> Any:
    made = read(Search.kinds[kind].Config, settings).build()
    made.prepare(choices.encode)
    return made


def searches(model: Any) -> list[Any]:
    """All searches that a model does not lack anything for."""
    return [made for plain in choices.searches() if meets(made := search(**plain), model)]


def meets(searching: Any, model: Any) -> bool:
    try:
        searching.check(model)
    except Incompatible:
        return False
    return True


# ------------------------------------------------------------------------------------------------- 1 cutting time


def test_cutting_time_changes_nothing(model: Any) -> None:
    whole, end = model.advance(INPUTS_BT, *model.read(SOURCE_BS))
    for cuts in ([1] * 6, [2, 4], [5, 1], [1, 3, 2]):
        state, source = model.read(SOURCE_BS)
        pieces = []
        for piece_BT in INPUTS_BT.split(cuts, 1):
            readout, state = model.advance(piece_BT, state, source)
            pieces.append(readout)
        close(Readout(*(torch.cat(parts, 1) for parts in zip(*pieces, strict=True))), whole)
        close(state, end)


# ------------------------------------------------------------------------------------------ 2 padding and company


def test_padding_and_company_change_nothing(model: Any) -> None:
    together = model(SOURCE_BS, INPUTS_BT)
    for row, length in enumerate(LENGTHS):
        kept = SOURCE_BS.shape[1] if model.hears_padding else length
        alone = model(SOURCE_BS[row : row + 1, :kept], INPUTS_BT[row : row + 1])
        close(alone.features_BTR, together.features_BTR[row : row + 1])
        close(alone.weights_BTS, together.weights_BTS[row : row + 1, :, : alone.weights_BTS.shape[2]])


def test_decoding_does_not_depend_on_company(model: Any) -> None:
    for searching in searches(model):
        together = searching.find(model, SOURCE_BS, LIMIT)
        for row, length in enumerate(LENGTHS):
            kept = SOURCE_BS.shape[1] if model.hears_padding else length
            alone = searching.find(model, SOURCE_BS[row : row + 1, :kept], LIMIT)
            assert said(alone) == said(together)[row : row + 1]
            close(alone.score_B, together.score_B[row : row + 1])


def test_an_encoder_hears_padding_just_when_it_says_so(model: Any) -> None:
    together = model.encoder(model.embeddings.source(SOURCE_BS), SOURCE_BS != PAD)
    row, length = 1, LENGTHS[1]
    words_BS = SOURCE_BS[row : row + 1, :length]
    alone = model.encoder(model.embeddings.source(words_BS), words_BS != PAD)
    in_company = (together.values_BSM[row : row + 1, :length], select(together.final, torch.tensor([row])))
    same = all(
        torch.allclose(a, b)
        for a, b in zip((alone.values_BSM, *alone.final), (in_company[0], *in_company[1]), strict=True)
    )
    assert same != model.encoder.hears_padding


def test_a_decoder_hears_padding_just_when_it_says_so(model: Any) -> None:
    memory = model.encoder(model.embeddings.source(SOURCE_BS[1:2]), SOURCE_BS[1:2] != PAD)
    shorter = Memory(memory.values_BSM[:, :3], memory.mask_BS[:, :3], memory.final)
    heard_BTE = model.embeddings.target(INPUTS_BT[1:2])
    padded = model.decoder.advance(heard_BTE, *model.decoder.start(memory))[0].features_BTR
    unpadded = model.decoder.advance(heard_BTE, *model.decoder.start(shorter))[0].features_BTR
    assert torch.allclose(padded, unpadded) != model.decoder.hears_padding


def test_a_source_without_words_is_no_catastrophe(model: Any) -> None:
    empty_BS = torch.tensor([[PAD, PAD], [3, 4]])
    assert bool(model(empty_BS, INPUTS_BT[:2]).features_BTR.isfinite().all())


# --------------------------------------------------------------------------------------- 3 future, 4 order of rows


def test_the_future_changes_nothing(model: Any) -> None:
    other_BT = INPUTS_BT.clone()
    other_BT[:, 4:] = 9
    for whole, changed in zip(model(SOURCE_BS, INPUTS_BT), model(SOURCE_BS, other_BT), strict=True):
        close(changed[:, :4], whole[:, :4])


def test_the_past_changes_the_present(model: Any) -> None:
    other_BT = INPUTS_BT.clone()
    other_BT[:, 3] = 2
    (readout, state), (other, moved) = (
        model.advance(heard_BT, *model.read(SOURCE_BS)) for heard_BT in (INPUTS_BT, other_BT)
    )
    same_B = (readout.features_BTR == other.features_BTR)[:, 3:].all(-1).any(1)
    for row in same_B.nonzero()[:, 0]:  # a readout may be saturated; then the state must tell
        was, now = (tensors(select(remembered, row.view(1))) for remembered in (state, moved))
        assert not all(map(torch.equal, was, now))


def test_reordering_states_reorders_futures(model: Any) -> None:
    index_B = torch.tensor([2, 0, 0, 1])
    state, source = model.read(SOURCE_BS)
    _, state = model.advance(INPUTS_BT[:, :3], state, source)
    stayed, end = model.advance(INPUTS_BT[:, 3:5], state, source)
    moved, moved_end = model.advance(INPUTS_BT[index_B, 3:5], select(state, index_B), select(source, index_B))
    close(moved, select(stayed, index_B))
    close(moved_end, select(end, index_B))


def test_all_that_is_remembered_has_batch_first(model: Any) -> None:
    state, source = model.read(SOURCE_BS)
    state = model.advance(INPUTS_BT[:, :2], state, source)[1]
    assert {part.shape[0] for part in tensors((state, source))} == {len(SOURCE_BS)}


def test_readouts_lie_in_one_piece(model: Any) -> None:
    """An ensemble cuts them apart and lays them so: products add in one order, and scores agree bit for bit."""
    readout, _ = model.advance(INPUTS_BT, *model.read(SOURCE_BS))
    assert readout.features_BTR.is_contiguous()


# ------------------------------------------------------------------------------------------------- 5 and 9: walking


def test_walked_gold_is_fused_gold(model: Any) -> None:
    everywhere_BT = torch.ones_like(INPUTS_BT, dtype=torch.bool)
    close(model(SOURCE_BS, INPUTS_BT, everywhere_BT), model(SOURCE_BS, INPUTS_BT))


def test_a_model_hears_the_reference_where_told_and_itself_elsewhere(model: Any) -> None:
    gold_BT = torch.tensor([[1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 1, 1], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    walked, source = along(model, SOURCE_BS, INPUTS_BT, gold_BT)
    own_BT = own_words(model, walked, source).roll(1, 1)
    close(walked, model(SOURCE_BS, torch.where(gold_BT, INPUTS_BT, own_BT)))


def test_free_running_says_what_greedy_says(model: Any) -> None:
    free_BT = torch.zeros_like(INPUTS_BT, dtype=torch.bool)
    own_BT = own_words(model, *along(model, SOURCE_BS, INPUTS_BT, free_BT)).tolist()
    for free, found in zip(own_BT, said(search("greedy").find(model, SOURCE_BS, LIMIT)), strict=True):
        assert free[: len(found)] == found


def test_sampled_words_follow_the_generator_and_not_always_the_best(model: Any) -> None:
    free_BT = torch.zeros_like(INPUTS_BT, dtype=torch.bool)
    runs = [
        model(SOURCE_BS, INPUTS_BT, free_BT, "sample", torch.Generator().manual_seed(seed)).features_BTR
        for seed in (0, 0, *range(1, 12))
    ]
    assert torch.equal(runs[0], runs[1])
    readout, source = along(model, SOURCE_BS, INPUTS_BT, free_BT)
    others = 1 - model.output.logp(readout, source).exp().amax(-1)[:, :-1]
    seldom = others.sum().item() < 1  # words other than the best that are expected, in a run
    assert seldom or any(not torch.equal(runs[0], other) for other in runs[2:])


# --------------------------------------------------------------------------------------------------- 6 two faces


def test_nll_is_minus_logp_and_probabilities_sum_to_one(model: Any) -> None:
    readout, source = along(model, SOURCE_BS, INPUTS_BT)
    targets_BT = INPUTS_BT.roll(-1, 1)
    logp_BTV = model.output.logp(readout, source)
    close(logp_BTV.exp().sum(-1), torch.ones(logp_BTV.shape[:2], dtype=torch.double))
    assert logp_BTV.shape[-1] == model.words.target + (SOURCE_BS.shape[1] if model.output.copies else 0)
    nll_BT = -logp_BTV.gather(-1, targets_BT.unsqueeze(-1)).squeeze(-1)
    counted_BT = targets_BT != 10
    close(model.output.nll(readout, source, targets_BT), nll_BT.flatten())
    close(model.output.nll(readout, source, targets_BT, counted_BT), nll_BT[counted_BT])
    for smoothing in (0.1, 0.5):
        smooth_BT = (1 - smoothing) * nll_BT - smoothing * logp_BTV[..., : model.words.target].mean(-1)
        for nll in (model.output.nll, functools.partial(Output.nll, model.output)):
            close(nll(readout, source, targets_BT, None, smoothing), smooth_BT.flatten())
            close(nll(readout, source, targets_BT, counted_BT, smoothing), smooth_BT[counted_BT])


def test_attention_weights_are_probabilities(model: Any) -> None:
    weights_BTS = model(SOURCE_BS, INPUTS_BT).weights_BTS
    assert weights_BTS.shape[2] == (SOURCE_BS.shape[1] if model.decoder.weighs else 0)
    if weights_BTS.shape[2]:
        close(weights_BTS.sum(-1), torch.ones(INPUTS_BT.shape, dtype=torch.double))
        assert bool((weights_BTS >= 0).all())


# ------------------------------------------------------------------------------------------------------- copying


def unknown(model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Sources, inputs and targets with words that can only be copied, numbered as ``harness.trial.copying`` does."""
    size, target = model.words.source, model.words.target
    new = size + target
    source_BS = torch.tensor([[4, new + 1, 6, new + 1, 2], [size + 8, new + 1, 5, 2, 0], [new, 2, 0, 0, 0]])
    targets_BT = torch.tensor([[target + 1, 5, 2], [target + 1, 8, 2], [target, target, 2]])
    return source_BS, torch.cat([torch.full((3, 1), BOS), targets_BT[:, :-1]], 1), targets_BT


def test_a_copying_model_knows_each_word_of_its_own_sentence(model: Any) -> None:
    """The mass of attention on a word is the least that its probability is, wherever it stands and in any company."""
    if not model.output.copies:
        return
    source_BS, inputs_BT, targets_BT = unknown(model)
    readout, source = along(model, source_BS, inputs_BT)
    logp_BTV = model.output.logp(readout, source)
    close(logp_BTV.exp().sum(-1), torch.ones(targets_BT.shape, dtype=torch.double))
    new = model.words.target
    for row, place, number in ((0, 1, new + 1), (0, 3, new + 1), (1, 0, 8), (1, 1, new + 1), (2, 0, new)):
        assert source.copies_BS[row, place] == number
    ours, theirs = model.words.source_words(), model.words.target_words()
    for row, place in ((0, 0), (0, 2), (1, 2)):
        word = ours[source_BS[row, place]]
        assert source.copies_BS[row, place] == (theirs.index(word) if word in theirs else new + place)
    close(model.output.nll(readout, source, targets_BT), -logp_BTV.gather(-1, targets_BT.unsqueeze(-1)).flatten())
    said, looked_T = logp_BTV.exp(), readout.weights_BTS[0, :, [1, 3]].sum(-1) > 1e-6
    calm = readout._replace(features_BTR=readout.features_BTR / readout.features_BTR.abs().max().clamp_min(1.0))
    open_gate = model.output.logp(calm, source).exp()  # features of size one close no gate
    assert bool((open_gate[0, looked_T, model.words.target + 1] > 1e-12).all())
    assert bool((said[2, :, model.words.target + 1 :] < 1e-12).all()), "a word of another sentence"
    for row, length in enumerate((5, 4, 2)):
        kept = 5 if model.hears_padding else length
        alone = along(model, source_BS[row : row + 1, :kept], inputs_BT[row : row + 1])
        width = model.words.target + length
        close(model.output.logp(*alone)[..., :width], logp_BTV[row : row + 1, :, :width])


def test_words_that_are_not_known_are_heard_alike(model: Any) -> None:
    if not model.output.copies:
        return
    source_BS, inputs_BT, _ = unknown(model)
    plain_BS, plain_BT = (
        ids.where(ids < size, UNK) for ids, size in ((source_BS, model.words.source), (inputs_BT, model.words.target))
    )
    close(model(source_BS, inputs_BT), model(plain_BS, plain_BT))


def test_a_search_copies_and_hears_what_it_copied(model: Any) -> None:
    if not model.output.copies:
        return
    source_BS = unknown(model)[0]
    for searching in searches(model):
        tokens_BT, score_B, _ = searching.find(model, source_BS, LIMIT)
        heard_BT = torch.cat([torch.full((3, 1), BOS), tokens_BT[:, :-1]], 1)
        nll_N = model.output.nll(*along(model, source_BS, heard_BT), tokens_BT)
        close(-(nll_N.view_as(tokens_BT) * (tokens_BT != PAD)).sum(1), score_B)


# ------------------------------------------------------------------------------------------------- 7 and 8: search


def test_a_beam_of_one_is_greedy(model: Any) -> None:
    greedy = search("greedy").find(model, SOURCE_BS, LIMIT)
    others = [search("beam", width=1, length_penalty=alpha) for alpha in (0.0, 1.0)]
    for other in (*others, search("recompute")):
        found = other.find(model, SOURCE_BS, LIMIT)
        assert said(found) == said(greedy)
        close(found.score_B, greedy.score_B)


def test_search_reports_the_score_the_model_gives(model: Any) -> None:
    for searching in searches(model):
        for limit in (1, 2, LIMIT):
            tokens_BT, score_B, _ = searching.find(model, SOURCE_BS, limit)
            heard_BT = torch.cat([torch.full((3, 1), BOS), tokens_BT[:, :-1]], 1)
            nll_N = model.output.nll(*along(model, SOURCE_BS, heard_BT), tokens_BT)
            close(-(nll_N.view_as(tokens_BT) * (tokens_BT != PAD)).sum(1), score_B)


def test_hypotheses_end_at_eos_or_at_the_limit(model: Any) -> None:
    for searching in searches(model):
        for limit in (1, 2, LIMIT):
            found = searching.find(model, SOURCE_BS, limit)
            for padded, words in zip(found.tokens_BT.tolist(), said(found), strict=True):
                assert padded == words + [PAD] * (len(padded) - len(words)), "padding within a hypothesis"
                assert BOS not in words and EOS not in words[:-1]
                assert words[-1] == EOS or len(words) == limit


class Ending:
    """A model that says EOS often, so that sentences end one after the other."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def next_logp(self, readout: Readout, source: Source) -> Tensor:
        logp_NV = self.model.next_logp(readout, source)
        return (logp_NV + 2.0 * (torch.arange(logp_NV.shape[1]) == EOS)).log_softmax(-1)


def test_dropping_what_has_ended_changes_nothing(model: Any) -> None:
    ending = Ending(model)
    for searching in searches(model):
        dropping = searching.find(ending, MANY_BS, LIMIT)
        with fast_paths.off():
            whole = searching.find(ending, MANY_BS, LIMIT)
        assert torch.equal(dropping.tokens_BT, whole.tokens_BT)
        close(dropping.score_B, whole.score_B)


def test_a_sampler_that_may_only_say_the_best_is_greedy(model: Any) -> None:
    greedy = search("greedy").find(model, SOURCE_BS, LIMIT)
    narrow: list[dict[str, Any]] = [{"temperature": 1e-9}, {"top_k": 1}, {"nucleus": 1e-9}, {"min_p": 1.0}]
    for settings in narrow:
        for kind, more in (("sampling", {}), ("minimum_bayes_risk", {"samples": 2})):
            found = search(kind, **settings, **more).find(model, SOURCE_BS, LIMIT)
            assert said(found) == said(greedy)
            close(found.score_B, greedy.score_B)


def test_filters_that_leave_all_words_leave_the_draws(model: Any) -> None:
    plain = search("sampling").find(model, SOURCE_BS, LIMIT)
    for settings in ({"top_k": 10**6}, {"nucleus": 1 - 1e-15}, {"min_p": 1e-300}):
        assert said(search("sampling", **settings).find(model, SOURCE_BS, LIMIT)) == said(plain)
    assert said(search("minimum_bayes_risk", samples=1).find(model, SOURCE_BS, LIMIT)) == said(plain)


def test_no_beam_beats_exact_search(model: Any) -> None:
    for limit in (1, 2):
        exact = search("exact").find(model, SOURCE_BS, limit)
        assert bool(exact.proven_B.all())
        for width in (1, 5):
            found = search("beam", width=width).find(model, SOURCE_BS, limit)
            ended = [EOS in row for row in found.tokens_BT.tolist()]
            assert bool((exact.score_B >= found.score_B - 1e-9)[torch.tensor(ended)].all())


def test_constrained_search_says_what_is_allowed(model: Any) -> None:
    outputs = ("d x", "b y", "b", "d x z p q r s")
    ways = [[*ids, EOS][:LIMIT] for ids in choices.encode(outputs)]
    for width in (1, 4):
        closed = search("constrained", outputs=outputs, width=width).find(model, SOURCE_BS, LIMIT)
        assert all(words in ways for words in said(closed))
        begun = search("constrained", prefix="d x", width=width).find(model, SOURCE_BS, LIMIT)
        assert all(words[:2] == choices.encode(["d x"])[0] for words in said(begun))


# ------------------------------------------------------------------------------------------------------ 10 learning


def without_gradient(model: Any) -> set[str]:
    """The parameters that a target teaches nothing."""
    model.zero_grad()
    model.output.nll(*along(model, SOURCE_BS, INPUTS_BT), INPUTS_BT.roll(-1, 1)).sum().backward()
    dead = {name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)}
    model.zero_grad()
    return dead


def test_every_parameter_learns(model: Any) -> None:
    if dead := without_gradient(model):
        # What chooses hard at evaluation passes a gradient in training, where it computes an expectation.
        dead &= without_gradient(model.train())
        model.eval()
    reading = {name for name, _ in model.named_parameters() if name.startswith(("encoder.", "embeddings.source"))}
    bridging = {name for name, _ in model.named_parameters() if name.startswith("decoder.bridge.")}
    unread = bridging if hasattr(model.decoder, "cell") and not model.decoder.cell.reads_visible else set()
    assert dead <= unread | (set() if model.hears_source else reading)
    assert not bridging or not bridging <= dead


def test_a_model_hears_the_source_just_when_it_says_so(model: Any) -> None:
    other_BS = SOURCE_BS.clone()
    other_BS[:, 0] = 10
    same = torch.equal(model(SOURCE_BS, INPUTS_BT).features_BTR, model(other_BS, INPUTS_BT).features_BTR)
    assert same != model.hears_source


# ---------------------------------------------------------------------------------------------------- 14 randomness


def test_evaluation_draws_nothing_at_random(model: Any) -> None:
    before = torch.get_rng_state()
    runs = [model(SOURCE_BS, INPUTS_BT) for _ in range(2)]
    found = [searching.find(model, SOURCE_BS, LIMIT) for _ in range(2) for searching in searches(model)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert all(torch.equal(a.tokens_BT, b.tokens_BT) for a, b in zip(found, found[len(found) // 2 :], strict=False))
    assert torch.equal(before, torch.get_rng_state())


# -------------------------------------------------------------------------------------------------------- all at once

LAWS = [law for name, law in sorted(globals().items()) if name.startswith("test_")]


@pytest.mark.full
@pytest.mark.slow
def test_the_laws_hold_where_any_three_settings_meet() -> None:
    for plain in choices.models(3):
        model = choices.build(plain)
        for law in LAWS:
            try:
                law(model)
            except AssertionError as error:
                raise AssertionError(f"{law.__name__} fails for {plain}") from error
