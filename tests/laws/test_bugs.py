"""The laws tested: known mistakes are put into the code, one at a time, and a law must notice.

To add one, write a line into ``BUGS``: what it is, the function, the text to replace, what to put there, and the law.
"""
# ruff: noqa: E501 (a bug is one line of a table)

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import choices
import pytest
import test_bridge_laws
import test_cell_laws
import test_model_laws as laws
import test_setting_laws
from unit.variants import (
    test_attention,
    test_bridges,
    test_cells,
    test_contexts,
    test_decoders,
    test_embeddings,
    test_encoders,
    test_outputs,
    test_positions,
    test_searches,
    test_transformer,
)

from harness import contracts
from harness.contracts import Cell, Memory, Output, transformer_layers
from harness.trial.model import Seq2Seq
from variants import (
    attention,
    bridges,
    cells,
    contexts,
    decoders,
    embeddings,
    encoders,
    outputs,
    positions,
    searches,
    transformer,
)

Law = Callable[[], None]


def models(law: Callable[[Any], None]) -> Law:
    """A law about a model, asked of the whole sample."""

    def ask() -> None:
        for plain in choices.models():
            law(choices.build(plain))

    return ask


def transformers(law: Callable[[Any], None], decoder: str = "transformer") -> Law:
    """A law about a model, asked of those that have a Transformer for a decoder."""

    def ask() -> None:
        for plain in choices.models():
            if plain["decoder"]["kind"] == decoder:
                law(choices.build(plain))

    return ask


def plains(law: Callable[[Any], None]) -> Law:
    """A law about the choice of a model, asked of the whole sample."""

    def ask() -> None:
        for plain in choices.models():
            law(plain)

    return ask


def having(law: Callable[..., None], *values: Any) -> Law:
    """A law or a test of one part, with the values of its parameters."""
    return lambda: law(*values)


def inject(monkeypatch: pytest.MonkeyPatch, function: Any, old: str, new: str) -> None:
    """Replace a piece of a function's text, wherever the function is already known."""
    target = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(target))
    source = source[source.index(f"def {target.__name__}(") :]
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {target.__qualname__}"
    # An enclosing scope that has a __class__, as a class body gives its functions for super().
    outer = f"def outer(__class__):\n{textwrap.indent(source.replace(old, new), '    ')}\n    return {target.__name__}"
    scope: dict[str, Any] = {}
    exec(compile(outer, "<bug>", "exec", __future__.annotations.compiler_flag), vars(inspect.getmodule(target)), scope)
    monkeypatch.setattr(target, "__code__", scope["outer"](None).__code__)


PADDING = models(laws.test_padding_and_company_change_nothing)
CUTTING = models(laws.test_cutting_time_changes_nothing)
SCORE = models(laws.test_search_reports_the_score_the_model_gives)
ENDING = models(laws.test_hypotheses_end_at_eos_or_at_the_limit)
ONE_IS_GREEDY = models(laws.test_a_beam_of_one_is_greedy)
COMPANY = models(laws.test_decoding_does_not_depend_on_company)
HEARING = models(laws.test_a_model_hears_the_reference_where_told_and_itself_elsewhere)
TWO_FACES = models(laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)
FUTURE = models(laws.test_the_future_changes_nothing)
ROWS = models(laws.test_reordering_states_reorders_futures)
LEARNS = models(laws.test_every_parameter_learns)
CALM = models(laws.test_evaluation_draws_nothing_at_random)
DROPS = plains(test_setting_laws.test_every_dropout_drops_in_training)
VISIBLE = having(test_cell_laws.test_the_visible_state_is_the_output_of_the_top, "lstm", 3)
READING = having(test_cell_laws.test_reading_is_stepping, "gru", 3, 2, test_cell_laws.MASK_BS)
REVERSED = having(test_encoders.test_reading_is_torchs_own_of_each_sentence, "gru", False, True)
LENGTH = having(test_searches.test_length_is_paid_for_by_the_formula)
TRAP = having(test_searches.test_greedy_falls_into_the_trap_and_a_beam_does_not)
PATIENCE = having(test_searches.test_a_hypothesis_that_ended_is_not_lost_to_rivals_that_end_up_worse)
SILENT = having(test_searches.test_what_nobody_says_is_never_said_but_keeps_its_probability)


def equations(place: str, feed: bool, readout: str = "tanh", merge: str = "concat") -> Law:
    return having(test_decoders.test_the_decoder_follows_its_equations, place, feed, readout, merge)


def exhaustive(alpha: float) -> Law:
    def ask() -> None:
        for seed in range(8):
            test_searches.test_a_wide_beam_is_exhaustive_search(seed, alpha)

    return ask


BUGS: list[tuple[str, Any, str, str, Law]] = [
    # embeddings
    ("padding vector learns", embeddings.Separate.__init__, "(words.source, cfg.width, padding_idx=PAD)", "(words.source, cfg.width)", having(test_embeddings.test_padding_is_zero_and_learns_nothing, "separate")),
    ("target read from the source's table", embeddings.Separate.target, "self.target_table(ids_BT)", "self.source_table(ids_BT)", having(test_embeddings.test_separate_tables_are_two_and_a_shared_table_is_one)),
    ("dropout at evaluation", embeddings.Separate.target, "self.drop(", "nn.functional.dropout(", CALM),
    ("no dropout of target words", embeddings.Shared.target, "self.drop(self.table(ids_BT))", "self.table(ids_BT)", having(test_embeddings.test_dropout_drops_while_training_only, "shared")),
    # cells
    ("LSTM: gates in another order", cells.Lstm.step, "in_BH, forget_BH, new_BH, out_BH =", "in_BH, forget_BH, out_BH, new_BH =", CUTTING),
    ("LSTM: c shown for h", cells.Lstm.step, "torch.sigmoid(out_BH) * torch.tanh(carried_BH), carried_BH", "carried_BH, torch.sigmoid(out_BH) * torch.tanh(carried_BH)", CUTTING),
    ("LSTM: no tanh of c", cells.Lstm.step, "* torch.tanh(carried_BH)", "* carried_BH", having(test_cells.test_lstm)),
    ("GRU: gates in another order", cells.Gru.step, "reset_x_BH, update_x_BH, new_x_BH =", "update_x_BH, reset_x_BH, new_x_BH =", CUTTING),
    ("GRU: update gate upside down", cells.Gru.step, "new_BH + update_BH * (hidden_BH - new_BH)", "hidden_BH + update_BH * (new_BH - hidden_BH)", having(test_cells.test_gru)),
    ("GRU: reset gate before the product", cells.Gru.step, "torch.sigmoid(reset_x_BH + reset_h_BH) * new_h_BH", "new_h_BH", having(test_cells.test_gru)),
    ("recurrent bias forgotten in a step", cells.Fused.products, "F.linear(state_BH, recurrent, recurrent_bias)", "F.linear(state_BH, recurrent)", CUTTING),
    ("step of the wrong layer", cells.Fused.products, 'f"l{layer}"', 'f"l{layer and self.layers - 1}"', having(test_cell_laws.test_walking_is_stepping, "gru", 3)),
    ("step of the wrong direction", cells.Fused.products, "if direction == 1", "if direction == 0 and self.directions == 2", READING),
    ("packing dropped", cells.Fused.read, "if mask_BS is None", "if True", PADDING),
    ("directions swapped in the final state", cells.Fused._batch_first, ".permute(2, 0, 1, 3)", ".flip(1).permute(2, 0, 1, 3)", READING),
    ("layers and directions confused", cells.Fused._batch_first, "(self.layers, self.directions)).permute(2, 0, 1, 3)", "(self.directions, self.layers)).permute(2, 1, 0, 3)", READING),
    ("c is taken for the visible state", Cell.top, "state[0]", "state[-1]", VISIBLE),
    ("the bottom layer is taken for the top", Cell.top, "[:, -1]", "[:, 0]", VISIBLE),
    ("dropout after the last layer too", Cell.forward, "if layer + 1 < self.layers", "if True", having(test_cells.test_dropout_is_between_layers_only, "gru")),
    # encoders
    ("reversal not undone", encoders.RnnEncoder.forward, "values_BSM = _take(values_BSM, index_BS)", "pass", REVERSED),
    ("no reversal", encoders.RnnEncoder.forward, "if self.reverse", "if False", REVERSED),
    ("padding reversed with the words", encoders._mirror, "torch.where(mask_BS, mask_BS.sum(1, keepdim=True) - 1 - place_1S, place_1S)", "(mask_BS.shape[1] - 1 - place_1S).expand_as(mask_BS)", PADDING),
    ("packing not to be switched off", encoders.RnnEncoder.forward, "mask_BS if self.pack else None", "mask_BS", models(laws.test_an_encoder_hears_padding_just_when_it_says_so)),
    ("an encoder hides that it hears padding", encoders.RnnEncoder.__init__, "self.hears_padding = not cfg.pack", "pass", PADDING),
    # bridges
    ("copy drops c", bridges.Copy.forward, "zip(memory.final,", "zip(memory.final[:1],", having(test_bridges.test_copy_is_a_copy)),
    ("copy takes the bottom layers", bridges.Copy.forward, "deeper, 0)", "0, deeper)", having(test_bridges.test_copy_takes_the_top_layers)),
    ("copy fills from the left", bridges.Copy.forward, "(0, wider,", "(wider, 0,", having(test_bridges.test_copy_cuts_and_fills_units)),
    ("map from the bottom layer", bridges.Linear.forward, "[:, -1]", "[:, 0]", having(test_bridges.test_maps_of_one_vector, "linear", [4.0, 5.0, 6.0], "tanh")),
    ("map from c", bridges.Linear.forward, "final[0]", "final[-1]", having(test_bridges.test_maps_of_one_vector, "linear", [4.0, 5.0, 6.0], "tanh")),
    ("map: tensors and layers confused", bridges._Projection.forward, "flat.split(self.ours.sizes(), -1)", "flat.unflatten(-1, (self.ours.layers, -1, *self.ours.tensors[0])).transpose(1, 2).flatten(2).unbind(1)", having(test_bridges.test_maps_of_one_vector, "mean", [1.5, 4.0], "none")),
    ("activation forgotten", bridges._Projection.forward, "self.activation(self.linear(x_BM))", "self.linear(x_BM)", plains(test_setting_laws.test_every_switch_does_something)),
    ("no gradient through the bridge", bridges.Linear.forward, "memory.final[0][:, -1]", "memory.final[0][:, -1].detach()", LEARNS),
    ("mean over padding", Memory.mean, "self.mask_BS.sum(1, keepdim=True)", "torch.full_like(self.mask_BS.sum(1, keepdim=True), self.mask_BS.shape[1])", PADDING),
    ("mean of what stands at padding", Memory.mean, "self.values_BSM * self.mask_BS.unsqueeze(-1)", "self.values_BSM", having(test_contexts.test_mean_leaves_padding_out)),
    # attention and contexts
    ("attention mask forgotten", contexts.Attend.forward, "if self.mask:", "if False:", PADDING),
    ("attention mask not to be switched off", contexts.Attend.forward, "if self.mask:", "if True:", having(test_contexts.test_without_a_mask_padding_takes_its_share)),
    ("attention mask upside down", contexts.Attend.forward, "~source", "source", having(test_contexts.test_attention_is_a_weighted_mean_of_words)),
    ("softmax over target steps", contexts.Attend.forward, "softmax(-1)", "softmax(1)", FUTURE),
    ("weights that are no probabilities", contexts.Attend.forward, "softmax(-1)", "sigmoid()", models(laws.test_attention_weights_are_probabilities)),
    ("final context from the bottom layer", contexts.Final.summary, "[:, -1]", "[:, 0]", having(test_contexts.test_final_is_the_visible_state_of_the_top_at_every_step)),
    ("final context from c", contexts.Final.summary, "final[0]", "final[-1]", having(test_contexts.test_final_is_the_visible_state_of_the_top_at_every_step)),
    ("additive score without tanh", attention.Additive.forward, "torch.tanh(", "(", having(test_attention.test_additive)),
    ("context left out where it should enter", contracts.Context.join, 'in (at, "both")', "== at", having(test_contexts.test_a_context_enters_where_it_is_told, "both", "concat")),
    ("context added nowhere", contracts.Join.forward, "x_BTX + self.project(context_BTC)", "x_BTX", plains(test_setting_laws.test_every_switch_does_something)),
    # decoders
    ("context asked once, not at each step", decoders.RnnDecoder.advance, "if not self.walks:", "if True:", CUTTING),
    ("state forgotten between steps", decoders.RnnDecoder.advance, "readout, state = self._piece", "readout, _ = self._piece", models(laws.test_the_past_changes_the_present)),
    ("readout never fed", decoders.RnnDecoder._piece, "fed_BF = features_BTR[:, -1] if self.feed else fed_BF", "pass", equations("readout", True)),
    ("readout of another sentence fed", decoders.RnnDecoder._piece, "features_BTR[:, -1] if", "features_BTR[:, -1].roll(1, 0) if", PADDING),
    ("readout fed one step late", decoders.RnnDecoder.advance, "state = self._piece(step_B1E, state, source)", "(cell, late, kept) = self._piece(step_B1E, state, source); state = (cell, state[1] if spoken else late, kept)", equations("readout", True)),
    ("old state asked at the readout", decoders.RnnDecoder._piece, "self.context(output_BTH, source, memory)", "self.context(self.cell.top(state[0]).unsqueeze(1).expand(-1, steps, -1), source, memory)", equations("readout", False)),
    ("bottom layer asked at the input", decoders.RnnDecoder._piece, "self.cell.top(cell)", "cell[0][:, 0]", having(test_decoders.test_at_the_input_the_query_is_the_old_state_of_the_top_layer, "input")),
    ("new state asked at the input", decoders.RnnDecoder._piece, "self.cell.top(cell).unsqueeze(1)", "self.cell.top(self.cell(torch.zeros_like(embedded_BTE[..., :1]).expand(-1, -1, self.cell.entering), cell)[1]).unsqueeze(1)", equations("input", False)),
    ("both enters at the input alone", decoders.RnnDecoder._features, 'if self.context.place != "input":', 'if self.context.place == "readout":', equations("both", False, "direct", "add")),
    ("the next word is heard", decoders.RnnDecoder._piece, "torch.cat([entering_BTX,", "torch.cat([entering_BTX.roll(-1, 1),", FUTURE),
    ("readout without dropout", decoders.RnnDecoder._features, "self.drop(self.readout(output_BTX))", "self.readout(output_BTX)", DROPS),
    ("a decoder hides that it hears padding", decoders.RnnDecoder.__init__, "self.hears_padding, self.weighs = self.context.hears_padding,", "_, self.weighs = 0,", PADDING),
    ("a deaf decoder claims to hear", decoders.RnnDecoder.__init__, "self.bridge.hears_source or self.context.width > 0", "True", models(laws.test_a_model_hears_the_source_just_when_it_says_so)),
    # Transformers
    ("causal mask off by one", transformer_layers.onward, "<= place_1T.unsqueeze(2)", "<= place_1T.unsqueeze(2) + 1", transformers(laws.test_the_future_changes_nothing)),
    ("places restart at each piece", transformer_layers.onward, "Sight(positions, place_1T, place_1S,", "Sight(positions, place_1T - heard, place_1S - heard,", transformers(laws.test_cutting_time_changes_nothing)),
    ("self-attention sees padding", transformer_layers.inward, "else mask_BS.unsqueeze(1)", "else torch.ones_like(mask_BS).unsqueeze(1)", models(laws.test_an_encoder_hears_padding_just_when_it_says_so)),
    ("cross-attention sees padding", transformer.TransformerDecoder.advance, "closed_to(source.memory.mask_BS.unsqueeze(1)", "closed_to(torch.ones_like(source.memory.mask_BS).unsqueeze(1)", transformers(laws.test_padding_and_company_change_nothing)),
    ("the cache of another sentence", transformer.TransformerDecoder.advance, "(state[depth],)", "(tuple(part.roll(1, 0) for part in state[depth]),)", transformers(laws.test_reordering_states_reorders_futures)),
    ("the cache of another layer", transformer.TransformerDecoder.advance, "tuple(caches)", "tuple(caches[::-1])", transformers(laws.test_cutting_time_changes_nothing)),
    ("cached values turned with the keys once more", transformer_layers.Layer.recall, "sight.turn(key_BPTA), value_BPTA", "sight.turn(key_BPTA), sight.turn(value_BPTA)", having(test_transformer.test_rotated_attention_by_its_equation)),
    ("queries not turned", transformer_layers.Layer.look, "sight.turn(self.own.split(self.own.query(entering_BTD)))", "self.own.split(self.own.query(entering_BTD))", having(test_transformer.test_rotated_attention_by_its_equation)),
    ("units dealt to heads in another order", transformer_layers.Heads.split, "(self.heads, -1))", "(-1, self.heads)).transpose(2, 3)", having(test_transformer.test_the_encoder_is_torchs_own, "pre", "relu")),
    ("heads mixed with steps", transformer_layers.Heads.merged, "mixed_BPTA.transpose(1, 2).flatten(2)", "mixed_BPTA.flatten(1).unflatten(1, (mixed_BPTA.shape[2], -1))", transformers(laws.test_the_future_changes_nothing)),
    ("scores not scaled", transformer_layers._weights, "/ math.sqrt(query_BPTA.shape[-1])", "", having(test_transformer.test_the_decoder_is_torchs_own, "pre", "relu")),
    ("weights of heads summed, not averaged", transformer_layers.Layer.consult, "weights_BPTS.mean(1)", "weights_BPTS.sum(1)", transformers(laws.test_attention_weights_are_probabilities)),
    ("a source without words gives NaN", transformer_layers.closed_to, "torch.finfo(like.dtype).min", "-torch.inf", transformers(laws.test_a_source_without_words_is_no_catastrophe)),
    ("norm before and after confused", transformer_layers.Around.after, "sum_BTD if self.pre", "sum_BTD if not self.pre", having(test_transformer.test_the_encoder_is_torchs_own, "post", "relu")),
    ("shared layers have parameters of their own", transformer_layers.Stack.__init__, "1 if cfg.shared else cfg.layers", "cfg.layers", plains(test_setting_laws.test_every_switch_does_something)),
    ("the target counts on after padding", transformer.TransformerPrefixDecoder._sight, "mask_BS.sum(1, keepdim=True)", "torch.full_like(mask_BS.sum(1, keepdim=True), mask_BS.shape[1])", transformers(laws.test_padding_and_company_change_nothing, "transformer_prefix")),
    ("the target sees padding of its prompt", transformer.TransformerPrefixDecoder._sight, "closed_to(mask_BS.unsqueeze(1), x_BTE)", "closed_to(torch.ones_like(mask_BS).unsqueeze(1), x_BTE)", transformers(laws.test_padding_and_company_change_nothing, "transformer_prefix")),
    ("no vectors of distance in the values", positions.Relative.values, "(weights_BPTS.transpose", "0 * (weights_BPTS.transpose", transformers(laws.test_every_parameter_learns)),
    ("rotary pairs from both halves", positions.Rotary.turn, "x_BPTA[..., 0::2], x_BPTA[..., 1::2]", "x_BPTA.chunk(2, -1)", having(test_positions.test_rotation_is_multiplication_of_complex_numbers)),
    ("distance upside down", positions.Relative._distance, "place_US.unsqueeze(1) - place_UT.unsqueeze(2)", "place_UT.unsqueeze(2) - place_US.unsqueeze(1)", having(test_positions.test_relative_positions_by_loops, False)),
    ("alibi rewards what is far", positions.Alibi.bias, "slope_P11 * ahead_U1TS)", "-slope_P11 * ahead_U1TS)", having(test_positions.test_alibi_by_loops, 2, True)),
    # outputs
    ("smoothing with the wrong sign", Output.nll, "- smoothing * logp_NV", "+ smoothing * logp_NV", TWO_FACES),
    ("smoothing forgotten", outputs._Softmax.nll, "label_smoothing=smoothing", "label_smoothing=0.0", TWO_FACES),
    ("log-probabilities not normalized", outputs._Softmax.logp, ".log_softmax(-1)", "", TWO_FACES),
    ("tied weight not shared", outputs.Tied.__init__, "self.weight = embeddings.target_weight_VE", "self.weight = nn.Parameter(embeddings.target_weight_VE.detach().clone())", having(test_outputs.test_a_tied_output_is_the_table_itself)),
    ("tied bias forgotten", outputs.Tied.logits, "self.weight, self.bias", "self.weight", LEARNS),
    # free running
    ("own word heard although reference", Seq2Seq.follow, "inputs_BT[:, t], own_B)", "own_B, own_B)", HEARING),
    ("reference heard although own word", Seq2Seq.follow, "inputs_BT[:, t], own_B)", "inputs_BT[:, t], inputs_BT[:, t])", HEARING),
    ("coin upside down", Seq2Seq.follow, "torch.where(gold_BT[:, t], inputs_BT[:, t], own_B)", "torch.where(gold_BT[:, t], own_B, inputs_BT[:, t])", models(laws.test_walked_gold_is_fused_gold)),
    ("free running starts from another word", Seq2Seq.follow, "own_B = inputs_BT[:, 0]", "own_B = inputs_BT[:, 1]", models(laws.test_free_running_says_what_greedy_says)),
    ("sampling is the argmax", Seq2Seq._own_word, "(logp_BV + noise_BV.to(logp_BV.device))", "logp_BV", models(laws.test_sampled_words_follow_the_generator_and_not_always_the_best)),
    # searches
    ("padding and BOS may be said", contracts.sayable, "logp[..., PAD] = logp[..., BOS] = -torch.inf", "pass", SILENT),
    ("scores renormalized over what may be said", contracts.sayable, "return logp", "return logp.log_softmax(-1)", SCORE),
    ("greedy speaks on after EOS", searches._BestWord.find, "word_B = word_B.masked_fill(done_B, PAD)", "pass", ENDING),
    ("greedy scores on after EOS", searches._BestWord.find, "best_B.masked_fill(done_B, 0.0)", "best_B", SCORE),
    ("greedy stops when one sentence has ended", searches._BestWord.find, "done_B.all()", "done_B.any()", ENDING),
    ("search begins with EOS", searches._BestWord.find, "(len(source_BS), 1), BOS)", "(len(source_BS), 1), EOS)", SCORE),
    ("recomputation drops the first word", searches.Recompute.hear, "(heard_BT, state", "(heard_BT[:, 1:] if heard_BT.shape[1] > 1 else heard_BT, state", ONE_IS_GREEDY),
    ("recomputation remembers", searches.Recompute.hear, "readout, _ = model.advance(heard_BT, state, source)", "readout, state = model.advance(heard_BT, state, source)", ONE_IS_GREEDY),
    ("beam: states not reordered", searches.Beam.find, "state = select(state, (first_B1 + parent_BK).flatten())", "pass", SCORE),
    ("beam: states of another sentence", searches.Beam.find, "(first_B1 + parent_BK)", "parent_BK", SCORE),
    ("beam: words not reordered", searches._extended, "tokens_BKT.gather(1, parent_BK.unsqueeze(-1).expand_as(tokens_BKT))", "tokens_BKT", SCORE),
    ("beam: begins with EOS", searches.Beam.find, "(batch, width, 1), BOS)", "(batch, width, 1), EOS)", SCORE),
    ("beam: all prefixes the same", searches.Beam.find, "score_BK[:, 1:] = -torch.inf", "pass", TRAP),
    ("beam: EOS ignored", searches._Best.or_ended, "tokens_BKT[:, :, -1] == EOS", "tokens_BKT[:, :, -1] == -1", TRAP),
    ("beam: speaks on after EOS", searches.Beam.find, "hope_BK = score_BK.masked_fill(word_BK == EOS, -torch.inf)", "hope_BK = score_BK", having(test_searches.test_nothing_is_said_after_eos)),
    ("beam: normalized score reported", searches._Best.or_ended, "score_BK[row_B, slot_B], self.score_B", "rank_B, self.score_B", SCORE),
    ("beam: the last to end wins", searches._Best.or_ended, "rank_B > self.rank_B", "rank_B > -torch.inf", exhaustive(0.7)),
    ("beam: no length penalty", searches.Beam.normalizer, "((5 + length) / 6)", "1", LENGTH),
    ("beam: another length penalty", searches.Beam.normalizer, "((5 + length) / 6)", "length", LENGTH),
    ("beam: stops at the first end", searches.Beam.find, "hope_BK <= best.rank_B.unsqueeze(1)", "best.rank_B.unsqueeze(1) > -torch.inf", LENGTH),
    ("beam: hope without the length still to come", searches.Beam.find, "/ self.normalizer(limit)", "/ self.normalizer(length)", exhaustive(3.0)),
    ("beam: stops when one sentence has ended", searches.Beam.find, "score_BK.isneginf().all()", "score_BK.isneginf().all(1).any()", COMPANY),
    ("beam: one word short of the limit", searches.Beam.find, "range(1, limit + 1)", "range(1, max(limit, 2))", ENDING),
    ("beam: a cut prefix beats an ended one", searches._Best.or_cut, "self.rank_B > -torch.inf", "self.rank_B > score_B", having(test_searches.test_an_ended_hypothesis_goes_before_a_cut_one)),
    ("select takes the wrong rows", contracts.select, "part.index_select(0, index_B)", "part.index_select(0, index_B.sort().values)", ROWS),
    ("repeat puts copies in the wrong order", contracts.repeat, "part.repeat_interleave(times, 0)", "part.repeat(times, *[1] * (part.ndim - 1))", COMPANY),
    ("a bridge of the wrong shape", bridges._zeros, "ours.layers", "1", having(test_bridge_laws.test_any_shape_becomes_any_shape, {"kind": "zero"})),
]  # fmt: skip


@pytest.mark.parametrize(("function", "old", "new", "law"), [bug[1:] for bug in BUGS], ids=[bug[0] for bug in BUGS])
def test_a_bug_is_noticed(function: Any, old: str, new: str, law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(monkeypatch, function, old, new)
    with pytest.raises(AssertionError):
        law()
