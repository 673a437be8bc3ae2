"""The laws tested: known mistakes are put into the code, one at a time, and a law must notice.

To add one, write a line into ``BUGS``: what it is, the function, the text to replace, what to put there, and the law.
"""
# ruff: noqa: E501 (a bug is one line of a table)

from __future__ import annotations
import __future__

import functools
import inspect
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
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
    test_cell_formulas,
    test_cell_settings,
    test_cells,
    test_contexts,
    test_contexts_pooled,
    test_contexts_weighing,
    test_convolution,
    test_decoders,
    test_embeddings,
    test_embeddings_factorized,
    test_embeddings_features,
    test_embeddings_pretrained,
    test_encoders,
    test_encoders_bag,
    test_encoders_gnmt,
    test_outputs,
    test_outputs_copying,
    test_outputs_marginal,
    test_positions,
    test_searches,
    test_searches_beam,
    test_searches_exact,
    test_searches_sampling,
    test_transformer,
)

from harness import contracts
from harness.contracts import (
    Cell,
    Memory,
    Output,
    ParallelCell,
    ScannedCell,
    StepwiseCell,
    decoding,
    layered_cells,
    tensors,
    transformer_layers,
)
from harness.core.spec import flatten
from harness.trial.model import Seq2Seq
from variants import (
    attention,
    attention_positions,
    bridges,
    cells,
    cells_gated,
    cells_matrix,
    cells_normalized,
    cells_scan,
    contexts,
    contexts_alignment,
    contexts_coverage,
    contexts_local,
    contexts_monotonic,
    contexts_multihead,
    contexts_pooled,
    convolution,
    decoders,
    embeddings,
    embeddings_factorized,
    embeddings_features,
    embeddings_pretrained,
    encoders,
    encoders_bag,
    encoders_gnmt,
    initializers,
    outputs,
    outputs_adaptive,
    outputs_copying,
    outputs_marginal,
    outputs_mixture,
    positions,
    searches,
    searches_beam,
    searches_exact,
    searches_sampling,
    transformer,
)

Law = Callable[[], None]


def models(law: Callable[[Any], None]) -> Law:
    """A law about a model, asked of the whole sample."""

    def ask() -> None:
        for plain in choices.models():
            law(choices.build(plain))

    return ask


def of(kind: str, law: Callable[[Any], None]) -> Law:
    """A law about a model, asked of those models of the sample in which a part of this kind is."""

    def ask() -> None:
        asked = [plain for plain in choices.models() if kind in flatten(plain).values()]
        assert asked, f"no model of the sample has a part '{kind}'"
        for plain in asked:
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


def quoted(function: Any, old: str) -> str:
    """Return the text of a function, which holds a piece once."""
    target = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(target))
    source = source[source.index(f"def {target.__name__}(") :]
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {target.__qualname__}"
    return source


def inject(monkeypatch: pytest.MonkeyPatch, function: Any, old: str, new: str) -> None:
    """Replace a piece of a function's text, wherever the function is already known."""
    target = inspect.unwrap(function)
    source = quoted(target, old)
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
DROPPING = models(laws.test_dropping_what_has_ended_changes_nothing)
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
FILTERS = having(test_searches_sampling.test_filters_keep_the_words_that_their_definitions_name)
OFTEN = having(test_searches_sampling.test_samples_come_as_often_as_they_are_probable)
BLOCKED = having(test_searches_beam.test_a_sequence_is_blocked_just_when_it_would_come_again)
GROUPS = having(test_searches_beam.test_groups_pay_for_words_of_earlier_groups)
ALLOWED = models(laws.test_constrained_search_says_what_is_allowed)
PAID = functools.partial(having, test_searches_beam.test_length_is_paid_for_by_each_formula)
WIDE = functools.partial(having, test_searches_beam.test_a_wide_beam_finds_the_best_of_all_sequences)


def EXACT() -> None:
    for seed in range(8):
        test_searches_exact.test_exact_search_finds_the_best_of_all_sequences(seed, 4)


def with_files(law: Callable[..., None], *values: Any) -> None:
    """A test of vectors from files, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        law(test_embeddings_pretrained.maker(Path(folder)), *values)


def with_patches(law: Callable[..., None], *values: Any) -> Law:
    """A test that replaces something while it runs."""

    def ask() -> None:
        with pytest.MonkeyPatch.context() as patch:
            law(patch, *values)

    return ask


FEATURES = having(test_embeddings_features.test_a_vector_is_the_words_and_those_of_its_features)
FILLED = having(with_files, test_embeddings_pretrained.test_a_word_gets_the_vector_of_its_line_and_others_keep_theirs)
FROZEN = having(with_files, test_embeddings_pretrained.test_frozen_vectors_stay_and_all_others_learn, True)


def equations(place: str, feed: bool, readout: str = "tanh", merge: str = "concat") -> Law:
    return having(test_decoders.test_the_decoder_follows_its_equations, place, feed, readout, merge)


SCAN = having(test_cell_settings.test_a_scan_is_its_formula_whatever_the_signs, layered_cells.doubling_scan, 8)


def walking(kind: str) -> Law:
    return having(test_cell_laws.test_walking_is_stepping, kind, 3)


def reading(kind: str) -> Law:
    return having(test_cell_laws.test_reading_is_stepping, kind, 3, 2, test_cell_laws.MASK_BS)


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
    ("narrow source vectors mapped as target vectors", embeddings_factorized.Factorized.source, "self.source_map", "self.target_map", having(test_embeddings_factorized.test_a_vector_is_a_row_of_the_product, "source")),
    ("narrow target vectors from the source's table", embeddings_factorized.Factorized.target, "self.target_table(ids_BT)", "self.source_table(ids_BT % 8)", having(test_embeddings_factorized.test_a_vector_is_a_row_of_the_product, "target")),
    ("vectors of a file on the wrong rows", embeddings_pretrained._Table.fill, "self.weight[number] =", "self.weight[number - 1] =", FILLED),
    ("the last line of a word counts", embeddings_pretrained._vectors, " or wanted[0] in found", "", FILLED),
    ("padding gets a vector of a file", embeddings_pretrained._Table.fill, " if number != PAD", "", FILLED),
    ("frozen vectors are trained", embeddings_pretrained._Table.forward, "self.given_VE[ids]", "super().forward(ids)", FROZEN),
    ("frozen vectors fade with weight decay", embeddings_pretrained._Table.forward, "self.given_VE[ids]", "super().forward(ids).detach()", FROZEN),
    ("all vectors are frozen", embeddings_pretrained._Table.fill, "self.kept_V.fill_(False)[list(vectors)] = True", "self.kept_V.fill_(True)", FROZEN),
    ("special tokens count as words that a file covers", embeddings_pretrained._Table.fill, "number >= len(SPECIALS)", "number >= 0", having(with_files, test_embeddings_pretrained.test_the_share_of_each_vocabulary_is_noted)),
    ("each token has a word vector of its own", embeddings_features.Features.fill, "first.setdefault(word, number)", "number", FEATURES),
    ("features read from the left", embeddings_features.Features.fill, "token.rsplit(", "token.split(", FEATURES),
    ("features in one table of values", embeddings_features.Features.fill, "values[place].setdefault", "values[0].setdefault", FEATURES),
    ("padding has the features of a bare word", embeddings_features.Features.__init__, "rows[PAD] = 0", "pass", FEATURES),
    # cells
    ("LSTM: gates in another order", cells.Lstm.step, "in_BH, forget_BH, new_BH, out_BH =", "in_BH, forget_BH, out_BH, new_BH =", walking("lstm")),
    ("LSTM: c shown for h", cells.Lstm.step, "torch.sigmoid(out_BH) * torch.tanh(carried_BH), carried_BH", "carried_BH, torch.sigmoid(out_BH) * torch.tanh(carried_BH)", walking("lstm")),
    ("LSTM: no tanh of c", cells.Lstm.step, "* torch.tanh(carried_BH)", "* carried_BH", having(test_cells.test_lstm)),
    ("GRU: gates in another order", cells.Gru.step, "reset_x_BH, update_x_BH, new_x_BH =", "update_x_BH, reset_x_BH, new_x_BH =", walking("gru")),
    ("GRU: update gate upside down", cells.Gru.step, "new_BH + update_BH * (hidden_BH - new_BH)", "hidden_BH + update_BH * (new_BH - hidden_BH)", having(test_cells.test_gru)),
    ("GRU: reset gate before the product", cells.Gru.step, "torch.sigmoid(reset_x_BH + reset_h_BH) * new_h_BH", "new_h_BH", having(test_cells.test_gru)),
    ("recurrent bias forgotten in a step", cells.Fused.products, "linear(state_BH, recurrent, recurrent_bias)", "linear(state_BH, recurrent, None)", walking("gru")),
    ("step of the wrong layer", cells.Fused.products, 'f"l{layer}"', 'f"l{layer and self.layers - 1}"', having(test_cell_laws.test_walking_is_stepping, "gru", 3)),
    ("step of the wrong direction", cells.Fused.products, "if direction == 1", "if direction == 0 and self.directions == 2", READING),
    ("packing dropped", cells.Fused.read, "if mask_BS is None", "if True", READING),
    ("directions swapped in the final state", cells.Fused._batch_first, ".permute(2, 0, 1, 3)", ".flip(1).permute(2, 0, 1, 3)", READING),
    ("layers and directions confused", cells.Fused._batch_first, "(self.layers, self.directions)).permute(2, 0, 1, 3)", "(self.directions, self.layers)).permute(2, 1, 0, 3)", READING),
    ("c is taken for the visible state", Cell.top, "state[0]", "state[-1]", VISIBLE),
    ("the bottom layer is taken for the top", Cell.top, "[:, -1]", "[:, 0]", VISIBLE),
    ("dropout after the last layer too", Cell.forward, "if layer + 1 < self.layers", "if True", having(test_cells.test_dropout_is_between_layers_only, "gru")),
    # cells that walk by themselves, or compute all steps at once
    ("residual sum remembered as h", StepwiseCell.scan, "state[1:] if self.apart", "(state[0], *state[2:]) if self.apart", having(test_cell_settings.test_a_residual_layer_adds_its_input, "stepwise_lstm")),
    ("residual sum with the other direction's half", layered_cells.LayeredCell.summed, "direction * self.hidden : (direction + 1) * self.hidden", ": self.hidden", having(test_cell_settings.test_each_direction_adds_its_half, "mlstm")),
    ("no mask for the sequence", StepwiseCell.begin, "(*state, F.dropout(ones, self.variational))", "state", having(test_cell_settings.test_a_sequence_keeps_its_mask_however_time_is_cut, "stepwise_gru")),
    ("a decoder begins no sequence", decoders.RnnDecoder.start, "self.cell.begin(self.bridge(memory))", "self.bridge(memory)", having(test_cell_settings.test_a_decoder_that_feeds_itself_keeps_one_mask_a_sequence)),
    ("one mask for all sentences", StepwiseCell.begin, "F.dropout(ones, self.variational)", "F.dropout(ones[:1], self.variational).expand_as(ones)", having(test_cell_settings.test_one_mask_is_for_all_steps_and_each_row_has_its_own, "mgu")),
    ("mask of the input put on h", StepwiseCell.scan, "drawn[0][:, -self.hidden :]", "drawn[0][:, : self.hidden]", having(test_cell_settings.test_the_recurrent_input_is_dropped_and_what_is_carried_is_not, "stepwise_gru")),
    ("zoneout upside down", StepwiseCell._zoned, "< self.zoneout", "> self.zoneout", having(test_cell_settings.test_zoneout_keeps_units_in_training_and_takes_the_mean_elsewhere, "stepwise_lstm", 0.2)),
    ("zoneout without its mean", StepwiseCell._zoned, "self.zoneout * before + (1 - self.zoneout) * after", "after", having(test_cell_settings.test_zoneout_keeps_units_in_training_and_takes_the_mean_elsewhere, "sru", 0.2)),
    ("recurrent dropout of what is carried", cells_gated.StepwiseLstm.next, "forget_BH * old_BH + in_BH * self.drop_new(torch.tanh(new_BH))", "self.drop_new(forget_BH * old_BH + in_BH * torch.tanh(new_BH))", having(test_cell_settings.test_a_dropped_candidate_loses_nothing_that_is_carried, "stepwise_lstm")),
    ("forget bias left out", cells_gated.StepwiseLstm.next, "forget_BH + self.forget_bias", "forget_BH", having(test_cell_formulas.test_relatives_of_the_lstm, "own", False)),
    ("output gate peeps at the old c", cells_gated.StepwiseLstm.next, "maps.peep[1] * carried_BH", "maps.peep[1] * old_BH", having(test_cell_formulas.test_relatives_of_the_lstm, "own", True)),
    ("MGU: the candidate hears all of h", cells_gated.MinimalGatedUnit.next, "maps.new(forget_BH * heard_BH)", "maps.new(heard_BH)", having(test_cell_formulas.test_stepwise_gru_and_mgu)),
    ("SRU: the input passed on by the wrong gate", cells_gated.SimpleRecurrentUnit.next, "(1 - reset_BH) * skip_BH", "(1 - forget_BH) * skip_BH", having(test_cell_formulas.test_sru)),
    ("sLSTM: stabilizer forgotten", cells_gated.ScalarLstm.next, "torch.maximum(kept_BH, in_BH)", "torch.zeros_like(in_BH)", having(test_cell_formulas.test_exponential_gates_do_not_overflow, "slstm")),
    ("sLSTM: stabilizer never subtracted from the input gate", cells_gated.ScalarLstm.next, "torch.exp(in_BH - most_BH)", "torch.exp(in_BH)", having(test_cell_formulas.test_slstm_is_the_formula_without_a_stabilizer)),
    ("layer norm of c left out", cells_normalized.LayerNormLstm.next, "maps.cell_norm(carried_BH)", "carried_BH", having(test_cell_formulas.test_layer_norm_lstm)),
    ("one layer norm of the sum of both products", cells_normalized.LayerNormGru.next, "gates + maps.recur_norm(recurrent)", "maps.recur_norm(gates + recurrent)", having(test_cell_formulas.test_layer_norm_gru)),
    ("minGRU: gate upside down", cells_scan.MinGru.drive, "torch.sigmoid(-gate_BTH), torch.sigmoid(gate_BTH)", "torch.sigmoid(gate_BTH), torch.sigmoid(-gate_BTH)", having(test_cell_formulas.test_mingru_and_minlstm)),
    ("RG-LRU: input of another size than what fades", cells_scan.RgLru.drive, ".clamp_min(1e-12).sqrt()", "", having(test_cell_formulas.test_rglru)),
    ("S6: the input not passed on", cells_scan.SelectiveStateSpace.say, "(1 + maps.skip)", "maps.skip", having(test_cell_formulas.test_s6)),
    ("scan off by one", layered_cells.doubling_scan, "factor[:, span:] * factor[:, :-span]", "factor[:, :-span] * factor[:, :-span]", SCAN),
    ("scan forgets where it starts", layered_cells.doubling_scan, "torch.addcmul(added[:, :1], factor[:, :1], first.unsqueeze(1))", "added[:, :1]", SCAN),
    ("scan shows each state a step early", layered_cells.linear_scan, "first = torch.addcmul(added_t, factor_t, first)\n        states.append(first)", "states.append(first)\n        first = torch.addcmul(added_t, factor_t, first)", walking("minlstm")),
    ("state returned before its update", ScannedCell.one, "return after, (after,)", "return after, carried", walking("s6")),
    ("padding fades what is carried", ParallelCell._rested, "~mask_BS.view", "mask_BS.view", reading("mingru")),
    ("state at the last column, not at the last word", layered_cells._last, "if mask_BS is None", "if True", reading("gla")),
    ("backward direction read forwards", ParallelCell.scan, "if direction == 1:", "if False:", reading("mlstm")),
    ("pieces forget each other", ParallelCell.scan, "read, carried = self.many(piece, carried)", "read, last = self.many(piece, carried)", having(test_cell_formulas.test_longer_inputs_are_computed_in_pieces, "gla", 65)),
    ("mLSTM: stabilizer of a piece forgets the one before", cells_matrix.MatrixLstm.many, "torch.maximum(most, (into - faded).cummax(-1).values)", "(into - faded).cummax(-1).values", walking("mlstm")),
    ("mLSTM: key and value exchanged in a step", cells_matrix.MatrixLstm.one, "(new * key).unsqueeze(-1) * value.unsqueeze(-2)", "value.unsqueeze(-1) * (new * key).unsqueeze(-2)", walking("mlstm")),
    ("GLA: a write fades at once", cells_matrix.GatedLinearAttention.many, "faded.unsqueeze(3) - faded.unsqueeze(2)", "faded.unsqueeze(3) - faded.unsqueeze(2) + fade.unsqueeze(2)", walking("gla")),
    ("DeltaNet: a write replaces nothing", cells_matrix.DeltaNet.one, "(value - old)", "value", walking("deltanet")),
    ("DeltaNet: later writes are read", cells_matrix.DeltaNet.many, ".tril() @ new", " @ new", walking("deltanet")),
    ("gates drawn as one matrix", initializers._Redrawn.fill, 'getattr(module, "stacked", 1)', "1", having(test_cell_settings.test_gates_side_by_side_are_initialized_each_by_itself)),
    # encoders
    ("reversal not undone", encoders.RnnEncoder.forward, "values_BSM = _take(values_BSM, index_BS)", "pass", REVERSED),
    ("no reversal", encoders.RnnEncoder.forward, "if self.reverse", "if False", REVERSED),
    ("padding reversed with the words", encoders._mirror, "torch.where(mask_BS, mask_BS.sum(1, keepdim=True) - 1 - place_1S, place_1S)", "(mask_BS.shape[1] - 1 - place_1S).expand_as(mask_BS)", PADDING),
    ("packing not to be switched off", encoders.RnnEncoder.forward, "mask_BS if self.pack else None", "mask_BS", models(laws.test_an_encoder_hears_padding_just_when_it_says_so)),
    ("an encoder hides that it hears padding", encoders.RnnEncoder.__init__, "self.hears_padding = not cfg.pack", "pass", PADDING),
    ("padding leaks into a convolution", convolution.ConvolutionalEncoder.forward, "x_BSH * real_BS1", "x_BSH", of("convolutional", laws.test_padding_and_company_change_nothing)),
    ("padding in the mean of a convolution's memory", convolution.ConvolutionalEncoder.forward, "+ word_BSE) * real_BS1", "+ word_BSE)", having(test_convolution.test_the_encoder_follows_its_equations_sentence_by_sentence, 3)),
    ("a convolution's window one word to the right", convolution.ConvolutionalEncoder.forward, "(0, 0, *self.around)", "(0, 0, *self.around[::-1])", having(test_convolution.test_the_encoder_follows_its_equations_sentence_by_sentence, 2)),
    ("a residual sum of convolutions not scaled", convolution.ConvolutionalEncoder.forward, "x_BSH = HALF * (x_BSH + layer", "x_BSH = (x_BSH + layer", having(test_convolution.test_a_gated_convolution_is_torchs_own)),
    ("value and gate of a convolution confused", convolution._Gated.forward, "F.glu(self.convolve(x_BNH.transpose(1, 2)), 1)", "F.glu(self.convolve(x_BNH.transpose(1, 2)).flip(1), 1)", having(test_convolution.test_a_gated_convolution_is_torchs_own)),
    ("places counted anew in every call", convolution._Places.forward, "before_B.unsqueeze(1)", "before_B.unsqueeze(1) * 0", of("convolutional", laws.test_cutting_time_changes_nothing)),
    ("bag sums padding", encoders_bag.BagEncoder.forward, " * mask_BS.unsqueeze(-1)", "", having(test_encoders_bag.test_a_bag_is_a_map_of_each_word_and_their_mean_or_sum, "sum", [[7.0, 14], [2, 4]])),
    ("bag: the mean for the sum", encoders_bag.BagEncoder.forward, 'self.pool == "mean"', "True", plains(test_setting_laws.test_every_switch_does_something)),
    ("GNMT without residual sums", encoders_gnmt.GnmtEncoder.forward, "output_BSM + values_BSX", "output_BSM", having(test_encoders_gnmt.test_a_stack_is_torchs_own_networks_with_residual_sums, "lstm", 2)),
    ("GNMT reads padding", encoders_gnmt.GnmtEncoder.forward, "self.both.read(embedded_BSE, mask_BS)", "self.both.read(embedded_BSE, None)", of("gnmt", laws.test_padding_and_company_change_nothing)),
    ("GNMT: no dropout between layers", encoders_gnmt.GnmtEncoder.forward, "read(self.drop(values_BSX), mask_BS)", "read(values_BSX, mask_BS)", having(test_encoders_gnmt.test_dropout_is_between_layers_only)),
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
    ("context added nowhere", contracts.Join.forward, "x_BTX + shown_BTX", "x_BTX", plains(test_setting_laws.test_every_switch_does_something)),
    # contexts that weigh words
    ("coverage not accumulated", contexts_coverage.Coverage.forward, "memory + weights_B1S[:, 0] * counts_BS", "weights_B1S[:, 0] * counts_BS", having(test_contexts_weighing.test_coverage, 0)),
    ("coverage of another sentence", contexts_coverage.Coverage.forward, "memory + weights", "memory.roll(1, 0) + weights", of("coverage", laws.test_padding_and_company_change_nothing)),
    ("fertility upside down", contexts_coverage.Coverage.keys, "1 / worth_BS", "1 * worth_BS", having(test_contexts_weighing.test_coverage, 2)),
    ("beam: coverage of the wrong prefix", searches_beam.Beam.find, "state = select(state, taken)", "state = (*select(state[:-1], taken), select(state[-1], torch.arange(len(taken)).clamp(max=len(before) - 1)))", of("coverage", laws.test_search_reports_the_score_the_model_gives)),
    ("beam: weights before of the wrong prefix", searches_beam.Beam.find, "state = select(state, taken)", "state = (*select(state[:-1], taken), select(state[-1], torch.arange(len(taken)).clamp(max=len(before) - 1)))", of("location_aware", laws.test_search_reports_the_score_the_model_gives)),
    ("weights of the step before forgotten", contexts_coverage.LocationAware.forward, "weights_B1S, weights_B1S[:, 0]", "weights_B1S, memory", of("location_aware", laws.test_every_parameter_learns)),
    ("filters see the words one to the left", contexts_coverage.LocationAware.forward, "self.filters(memory.unsqueeze(1))", "self.filters(memory.roll(1, 1).unsqueeze(1))", having(test_contexts_weighing.test_location_aware, 1)),
    ("window centered off by one", contexts_local._Local.near, "place_S - center_BT", "place_S - 1 - center_BT", having(test_contexts_weighing.test_local_monotonic)),
    ("window one word short", contexts_local._Local.near, "<= self.window", "< self.window", having(test_contexts_weighing.test_local_monotonic)),
    ("window over padding", contexts_local._Local.near, "& source.memory.mask_BS.unsqueeze(1)", "", of("local_predictive", laws.test_padding_and_company_change_nothing)),
    ("window beyond the last word", contexts_local.LocalMonotonic.forward, "torch.minimum(memory, last_B)", "memory", of("local_monotonic", laws.test_padding_and_company_change_nothing)),
    ("window that stands still", contexts_local.LocalMonotonic.forward, "memory + 1", "memory", having(test_contexts_weighing.test_local_monotonic)),
    ("predicted position counts padding", contexts_local.LocalPredictive.forward, "source.memory.mask_BS.sum(1, keepdim=True)", "source.memory.mask_BS.shape[1]", of("local_predictive", laws.test_padding_and_company_change_nothing)),
    ("window as wide as sigma", contexts_local.LocalPredictive.forward, "-2 * (", "-0.5 * (", having(test_contexts_weighing.test_local_predictive)),
    ("local weights that are no probabilities", contexts_local.LocalPredictive.forward, " / weights_BTS.sum(-1, keepdim=True)", "", of("local_predictive", laws.test_attention_weights_are_probabilities)),
    ("a monotonic head moves back", contexts_monotonic._moved, "value=1.0) * ahead", "value=1.0)", having(test_contexts_weighing.test_monotonic, True, 1)),
    ("a monotonic head stands where it started", contexts_monotonic.Monotonic.forward, "_moved(memory, stops_BS)", "_moved(self.start(source), stops_BS)", having(test_contexts_weighing.test_monotonic, False, 1)),
    ("a monotonic head that is soft at evaluation", contexts_monotonic.Monotonic.stops, "if self.training", "if True", of("monotonic", laws.test_evaluation_draws_nothing_at_random)),
    ("a monotonic head runs off the end", contexts_monotonic.Monotonic.stops, ".masked_fill(last_BS, 1.0)", "", of("monotonic", laws.test_attention_weights_are_probabilities)),
    ("a chunk after the stop", contexts_monotonic.Monotonic.spread, "F.pad(shares[:, before - i :, i], (0, before - i))", "F.pad(shares[:, : shares.shape[1] - i, i], (i, 0))", having(test_contexts_weighing.test_monotonic, False, 2)),
    ("heads scaled by the whole width", contexts_multihead.Multihead.forward, "sqrt(keys.shape[-1])", "sqrt(self.width)", having(test_contexts_weighing.test_multihead_is_torchs_own)),
    ("heads mixed with words", contexts_multihead.Multihead.forward, ".transpose(1, 2).flatten(2)", ".reshape(*query_BTH.shape[:2], -1)", having(test_contexts_weighing.test_multihead_is_torchs_own)),
    ("weights of heads summed", contexts_multihead.Multihead.forward, "weights.mean(1)", "weights.sum(1)", of("multihead", laws.test_attention_weights_are_probabilities)),
    ("dot product not scaled", attention_positions.ScaledDot.forward, " * self.scale", "", having(test_attention.test_scaled_dot)),
    ("location beyond the last position", attention_positions.Location.forward, "value=lowest", "value=0.0", having(test_attention.test_location, 2)),
    # summaries and the gate
    ("maximum over padding", contexts_pooled.Max.summary, ".masked_fill(~memory.mask_BS.unsqueeze(-1), lowest)", "", having(test_contexts_pooled.test_max_leaves_padding_out)),
    ("padding projected", contexts_pooled.Projection.summary, " * memory.mask_BS.unsqueeze(-1)", "", having(test_contexts_pooled.test_projection_is_a_map_of_the_first_words, 4, [[4 + 20 - 500], [-3]])),
    ("padding pooled", contexts_pooled.SelfAttentive.summary, "memory.mask_BS.unsqueeze(1)", "torch.ones_like(memory.mask_BS).unsqueeze(1)", of("self_attentive", laws.test_padding_and_company_change_nothing)),
    ("gate upside down", contracts.Join.forward, "(1 - gate_BTX) * x_BTX + gate_BTX *", "gate_BTX * x_BTX + (1 - gate_BTX) *", having(test_contexts.test_a_gate_weighs_a_context_against_what_it_meets, 2)),
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
    ("convolution hears the next word", convolution.ConvolutionalDecoder.advance, "torch.cat([cache, self.drop(x_BTH)], 1)", "torch.cat([cache, self.drop(x_BTH)], 1).roll(-1, 1)", of("convolutional", laws.test_the_future_changes_nothing)),
    ("cache of a convolution one step short", convolution.ConvolutionalDecoder.advance, "window_BNH[:, steps:]", "F.pad(window_BNH[:, steps + 1 :], (0, 0, 1, 0))", of("convolutional", laws.test_cutting_time_changes_nothing)),
    ("cache of a convolution one step late", convolution.ConvolutionalDecoder.advance, "window_BNH[:, steps:]", "window_BNH[:, steps - 1 : -1]", of("convolutional", laws.test_cutting_time_changes_nothing)),
    ("words of a convolution counted once a call", convolution.ConvolutionalDecoder.advance, "heard_B + steps", "heard_B + 1", of("convolutional", laws.test_cutting_time_changes_nothing)),
    ("a convolution's attention scaled by padding too", convolution._Attending.forward, "memory.mask_BS.sum(1)", "torch.ones_like(memory.mask_BS).sum(1)", of("convolutional", laws.test_padding_and_company_change_nothing)),
    ("a convolution's query does not see the word", convolution._Attending.forward, "self.ask(seen_BTH) + word_BTE", "self.ask(seen_BTH)", having(test_convolution.test_the_decoder_follows_its_equations, 3)),
    ("all layers ask the first layer's keys", convolution.ConvolutionalDecoder.advance, "layer(window_BNH, word_BTE, keys,", "layer(window_BNH, word_BTE, source.keys[0],", of("convolutional", laws.test_every_parameter_learns)),
    # Transformers
    ("causal mask off by one", transformer_layers.onward, "<= place_1T.unsqueeze(2)", "<= place_1T.unsqueeze(2) + 1", of("transformer", laws.test_the_future_changes_nothing)),
    ("places restart at each piece", transformer_layers.onward, "Sight(positions, place_1T, place_1S,", "Sight(positions, place_1T - heard, place_1S - heard,", of("transformer", laws.test_cutting_time_changes_nothing)),
    ("self-attention sees padding", transformer_layers.inward, "else mask_BS.unsqueeze(1)", "else torch.ones_like(mask_BS).unsqueeze(1)", models(laws.test_an_encoder_hears_padding_just_when_it_says_so)),
    ("cross-attention sees padding", transformer.TransformerDecoder.advance, "closed_to(source.memory.mask_BS.unsqueeze(1)", "closed_to(torch.ones_like(source.memory.mask_BS).unsqueeze(1)", of("transformer", laws.test_padding_and_company_change_nothing)),
    ("the cache of another sentence", transformer.TransformerDecoder.advance, "(state[depth],)", "(tuple(part.roll(1, 0) for part in state[depth]),)", of("transformer", laws.test_reordering_states_reorders_futures)),
    ("the cache of another layer", transformer.TransformerDecoder.advance, "tuple(caches)", "tuple(caches[::-1])", of("transformer", laws.test_cutting_time_changes_nothing)),
    ("cached values turned with the keys once more", transformer_layers.Layer.recall, "sight.turn(key_BPTA), value_BPTA", "sight.turn(key_BPTA), sight.turn(value_BPTA)", having(test_transformer.test_rotated_attention_by_its_equation)),
    ("queries not turned", transformer_layers.Layer.look, "sight.turn(self.own.split(self.own.query(entering_BTD)))", "self.own.split(self.own.query(entering_BTD))", having(test_transformer.test_rotated_attention_by_its_equation)),
    ("units dealt to heads in another order", transformer_layers.Heads.split, "(self.heads, -1))", "(-1, self.heads)).transpose(2, 3)", having(test_transformer.test_the_encoder_is_torchs_own, "pre", "relu")),
    ("heads mixed with steps", transformer_layers.Heads.merged, "mixed_BPTA.transpose(1, 2).flatten(2)", "mixed_BPTA.flatten(1).unflatten(1, (mixed_BPTA.shape[2], -1))", of("transformer", laws.test_the_future_changes_nothing)),
    ("scores not scaled", transformer_layers._weights, "/ math.sqrt(query_BPTA.shape[-1])", "", having(test_transformer.test_the_decoder_is_torchs_own, "pre", "relu")),
    ("weights of heads summed, not averaged", transformer_layers.Layer.consult, "weights_BPTS.mean(1)", "weights_BPTS.sum(1)", of("transformer", laws.test_attention_weights_are_probabilities)),
    ("a source without words gives NaN", transformer_layers.closed_to, "torch.finfo(like.dtype).min", "-torch.inf", of("transformer", laws.test_a_source_without_words_is_no_catastrophe)),
    ("norm before and after confused", transformer_layers.Around.after, "sum_BTD if self.pre", "sum_BTD if not self.pre", having(test_transformer.test_the_encoder_is_torchs_own, "post", "relu")),
    ("shared layers have parameters of their own", transformer_layers.Stack.__init__, "1 if cfg.shared else cfg.layers", "cfg.layers", plains(test_setting_laws.test_every_switch_does_something)),
    ("the target counts on after padding", transformer.TransformerPrefixDecoder._sight, "mask_BS.sum(1, keepdim=True)", "torch.full_like(mask_BS.sum(1, keepdim=True), mask_BS.shape[1])", of("transformer_prefix", laws.test_padding_and_company_change_nothing)),
    ("the target sees padding of its prompt", transformer.TransformerPrefixDecoder._sight, "closed_to(mask_BS.unsqueeze(1), x_BTE)", "closed_to(torch.ones_like(mask_BS).unsqueeze(1), x_BTE)", of("transformer_prefix", laws.test_padding_and_company_change_nothing)),
    ("no vectors of distance in the values", positions.Relative.values, "(weights_BPTS.transpose", "0 * (weights_BPTS.transpose", of("transformer", laws.test_every_parameter_learns)),
    ("rotary pairs from both halves", positions.Rotary.turn, "x_BPTA[..., 0::2], x_BPTA[..., 1::2]", "x_BPTA.chunk(2, -1)", having(test_positions.test_rotation_is_multiplication_of_complex_numbers)),
    ("distance upside down", positions.Relative._distance, "place_US.unsqueeze(1) - place_UT.unsqueeze(2)", "place_UT.unsqueeze(2) - place_US.unsqueeze(1)", having(test_positions.test_relative_positions_by_loops, False)),
    ("alibi rewards what is far", positions.Alibi.bias, "slope_P11 * ahead_U1TS)", "-slope_P11 * ahead_U1TS)", having(test_positions.test_alibi_by_loops, 2, True)),
    # outputs
    ("smoothing with the wrong sign", Output.nll, "- smoothing * logp_NV", "+ smoothing * logp_NV", TWO_FACES),
    ("smoothing forgotten", outputs._Softmax.nll, "label_smoothing=smoothing", "label_smoothing=0.0", TWO_FACES),
    ("log-probabilities not normalized", outputs._Softmax.logp, ".log_softmax(-1)", "", TWO_FACES),
    ("tied weight not shared", outputs.Tied.__init__, "self.weight = embeddings.target_weight_VE", "self.weight = nn.Parameter(embeddings.target_weight_VE.detach().clone())", having(test_outputs.test_a_tied_output_is_the_table_itself)),
    ("tied bias forgotten", outputs.Tied.logits, "self.weight, self.bias", "self.weight", LEARNS),
    ("pointer to the word before", outputs_copying.PointerGenerator.logp, "source.copies_BS.unsqueeze(1)", "source.copies_BS.roll(1, 1).unsqueeze(1)", of("pointer_generator", laws.test_a_copying_model_knows_each_word_of_its_own_sentence)),
    ("the place forgotten in the mixture", outputs_marginal.Marginal.mixed, "unsqueeze(-2) + places)", "unsqueeze(-2) + 0 * places)", having(test_outputs_marginal.test_marginal_by_its_formula)),
    ("the state forgotten in the mixture", outputs_marginal.Marginal.mixed, "torch.tanh(self.state(features).unsqueeze(-2) + places)", "torch.tanh(places + 0 * self.state(features).unsqueeze(-2))", having(test_outputs_marginal.test_marginal_by_its_formula)),
    ("flatter distributions are mixed", outputs_marginal.Marginal.mixed, ".softmax(-1, dtype=wide)", ".log_softmax(-1, dtype=wide).exp().sqrt()", having(test_outputs_marginal.test_marginal_by_its_formula)),
    ("places of another sentence counted", outputs_marginal.Marginal.counted, "[counted_BT.nonzero()[:, 0]]", "[counted_BT.nonzero()[:, 0] * 0]", of("marginal", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    ("the best alignment instead of all", outputs_marginal.Marginal.mixed, "(weights.to(wide).unsqueeze(-2) @ each).squeeze(-2)", "(weights.to(wide).unsqueeze(-1) * each).amax(-2)", having(test_outputs_marginal.test_a_target_is_as_probable_as_all_its_alignments_together)),
    ("the map of the memory bent", outputs_marginal.Marginal.logp, "self.place(source.memory.values_BSM)", "self.place(source.memory.values_BSM).tanh()", having(test_outputs_marginal.test_marginal_by_its_formula)),
    ("padding is aligned", contexts_alignment.Alignment.forward, "source.memory.mask_BS.unsqueeze(1)", "(source.memory.mask_BS | True).unsqueeze(1)", of("alignment", laws.test_padding_and_company_change_nothing)),
    ("alignment of another sentence", contexts_alignment.Alignment.forward, "self.score(query_BTH, source.keys)", "self.score(query_BTH, source.keys).roll(1, 0)", of("alignment", laws.test_padding_and_company_change_nothing)),
    ("pointer ids shifted", outputs_copying.PointerGenerator.mixed, "scatter_add(-1, copies,", "scatter_add(-1, (copies + 1) % said.shape[-1],", having(test_outputs_copying.test_a_pointer_generator_mixes_two_distributions)),
    ("pointer gate on both sides", outputs_copying.PointerGenerator.mixed, "(1 - gate) * weights", "gate * weights", of("pointer_generator", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    ("pointer of another sentence in training", outputs_copying.PointerGenerator.counted, "counted_BT.nonzero()[:, 0]", "counted_BT.nonzero()[:, 0] * 0", of("pointer_generator", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    ("mixture weights not normalized", outputs_mixture.MixtureOfSoftmaxes.mixed, "self.prior(features).log_softmax(-1)", "self.prior(features)", of("mixture_of_softmaxes", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    ("all words in the first cluster", outputs_adaptive.AdaptiveSoftmax.whole, "self.first + i, None", "self.first, None", of("adaptive_softmax", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    ("cluster begins one word late", outputs_adaptive.AdaptiveSoftmax.nll, "target_N[rows, None] - start", "(target_N[rows, None] - start - 1) % (end - start)", of("adaptive_softmax", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    ("cluster left out of the score", outputs_adaptive.AdaptiveSoftmax.nll, ".squeeze(1) + inside", ".squeeze(1)", of("adaptive_softmax", laws.test_nll_is_minus_logp_and_probabilities_sum_to_one)),
    # free running
    ("own word heard although reference", Seq2Seq.follow, "inputs_BT[:, t], own_B)", "own_B, own_B)", HEARING),
    ("reference heard although own word", Seq2Seq.follow, "inputs_BT[:, t], own_B)", "inputs_BT[:, t], inputs_BT[:, t])", HEARING),
    ("coin upside down", Seq2Seq.follow, "torch.where(gold_BT[:, t], inputs_BT[:, t], own_B)", "torch.where(gold_BT[:, t], own_B, inputs_BT[:, t])", models(laws.test_walked_gold_is_fused_gold)),
    ("free running starts from another word", Seq2Seq.follow, "own_B, steps = inputs_BT[:, 0],", "own_B, steps = inputs_BT[:, 1],", models(laws.test_free_running_says_what_greedy_says)),
    ("sampling is the argmax", Seq2Seq._own_word, "logp_NV + noise_NV.to(logp_NV.device)", "logp_NV", models(laws.test_sampled_words_follow_the_generator_and_not_always_the_best)),
    # searches
    ("padding and BOS may be said", contracts.best_words, "first = BOS + 1", "first = 0", SILENT),
    ("scores renormalized over what may be said", contracts.best_words, "logp_NV[:, first:]", "logp_NV[:, first:].log_softmax(-1)", SCORE),
    ("greedy speaks on after EOS", contracts.Said.plus, "word_N.masked_fill(self.done_N, PAD)", "word_N", DROPPING),
    ("greedy scores on after EOS", contracts.Said.plus, "logp_N.masked_fill(self.done_N, 0.0)", "logp_N", DROPPING),
    ("search stops when one sentence has ended", searches._BestWord.find, "if not len(kept):", "if not len(kept) or said.done_N.any():", ENDING),
    ("search begins with EOS", contracts.Said.nothing.__func__, "1), BOS)", "1), EOS)", SCORE),
    ("greedy goes on with other sources", searches._BestWord.find, "select((state, source, said), kept)", "(select(state, kept), select(source, torch.arange(len(kept))), select(said, kept))", DROPPING),
    ("greedy goes on with other states", searches._BestWord.find, "select((state, source, said), kept)", "(select(state, torch.arange(len(kept))), *select((source, said), kept))", DROPPING),
    ("what was found is given to the wrong sentences", contracts.Remaining.drops_to, "self.row_N[kept]", "self.row_N[: len(kept)]", DROPPING),
    ("sentences are dropped before they end", decoding.to_compute, "live = live_N.nonzero().squeeze(1)", "live = live_N.nonzero().squeeze(1)[: max(1, int(live_N.sum()) - 1)]", DROPPING),
    ("what has ended is always computed on", decoding.to_compute, "fast_paths.used() and", "False and", with_patches(test_searches.test_sentences_that_have_ended_are_no_longer_computed, "greedy", {}, [4, 3, 2, 2], 4)),
    ("the last words of a large vocabulary are forgotten", tensors._top_by_blocks, "torch.cat([inside, rest], 1)", "inside", having(test_searches.test_the_best_words_are_those_of_a_whole_sort, 2000, 5)),
    ("too few blocks of a large vocabulary", tensors._top_by_blocks, "_top(whole.amax(-1), count)", "_top(whole.amax(-1), 2)", having(test_searches.test_the_best_words_are_those_of_a_whole_sort, 2000, 5)),
    ("beam goes on with other sources", searches_beam.Beam.find, "source = select(read[1], rows)", "source = select(read[1], rows.flip(0))", DROPPING),
    ("beam goes on with the sources of before", searches_beam.Beam.find, "not torch.equal(rows, others)", "len(rows) != len(others)", DROPPING),
    ("beam computes with sources of whole beams", searches_beam.Beam.find, "others, rows = rows, places // self.cfg.width", "others, rows = rows, places % len(source_BS)", SCORE),
    ("beam goes on with other states", searches_beam.Beam.find, "torch.searchsorted(before, parent_X[places])", "torch.searchsorted(before, places)", DROPPING),
    ("beam: what is computed is given to other prefixes", searches_beam._spread, "whole[place_J] = part", "whole[: len(part)] = part", DROPPING),
    ("the sampler goes on with the numbers of other sentences", searches_sampling.Sampling.draw, "for row in remaining.row_N.tolist()", "for row in range(len(remaining.row_N))", DROPPING),
    ("recomputation drops the first word", searches.Recompute.hear, "(heard_NT, state", "(heard_NT[:, 1:] if heard_NT.shape[1] > 1 else heard_NT, state", ONE_IS_GREEDY),
    ("recomputation remembers", searches.Recompute.hear, "readout, _ = model.advance(heard_NT, state, source)", "readout, state = model.advance(heard_NT, state, source)", ONE_IS_GREEDY),
    ("beam: states not reordered", searches_beam.Beam.find, "parent_X[places]", "places", SCORE),
    ("beam: states of another sentence", searches_beam.Beam._next, "row_N1 * width + parent_NK", "0 * row_N1 + parent_NK", SCORE),
    ("beam: words not reordered", searches_beam._extended, "tokens_NKT.gather(1, parent_NK.unsqueeze(-1).expand_as(tokens_NKT))", "tokens_NKT", SCORE),
    ("beam: begins with EOS", searches_beam.Beam._first, "width, 1), BOS)", "width, 1), EOS)", SCORE),
    ("beam: all prefixes the same", searches_beam.Beam._first, "score_NK.unflatten(1, (self.cfg.groups, -1))[:, :, 1:] = -torch.inf", "pass", TRAP),
    ("beam: EOS ignored", searches_beam._Best.or_ended, "tokens_NKT[:, :, -1] == EOS", "tokens_NKT[:, :, -1] == -1", TRAP),
    ("beam: speaks on after EOS", searches_beam.Beam._next, "score_NK.masked_fill(word_NK == EOS, -torch.inf)", "score_NK", having(test_searches.test_nothing_is_said_after_eos)),
    ("beam: normalized score reported", searches_beam._Best.or_ended, "score_NK[row_N, slot_N], self.score_N", "rank_N, self.score_N", SCORE),
    ("beam: the last to end wins", searches_beam._Best.or_ended, "rank_N > self.rank_N", "rank_N > -torch.inf", exhaustive(0.7)),
    ("beam: no length penalty", searches_beam.Beam.rank, "(5 + length) / 6", "1", LENGTH),
    ("beam: another length penalty", searches_beam.Beam.rank, "(5 + length) / 6", "length", LENGTH),
    ("beam: stops at the first end", searches_beam.Beam._hopeful, "self.rank(score_NK, limit) <= rank_N.unsqueeze(1)", "rank_N.unsqueeze(1) > -torch.inf", LENGTH),
    ("beam: hope without the length still to come", searches_beam.Beam._next, "best.rank_N, limit)", "best.rank_N, length)", exhaustive(3.0)),
    ("beam: stops when one sentence has ended", searches_beam.Beam.find, "if not len(places):", "if len(places) < len(before):", COMPANY),
    ("beam: one word short of the limit", searches_beam.Beam.find, "range(limit)", "range(max(limit - 1, 1))", ENDING),
    ("beam: a cut prefix beats an ended one", searches_beam._Best.or_cut, "self.rank_N > -torch.inf", "self.rank_N > score_N", having(test_searches.test_an_ended_hypothesis_goes_before_a_cut_one)),
    # beams with more settings
    ("word reward paid once", searches_beam.Beam.rank, "alpha * length", "alpha", PAID("reward", 0.019, 0.022)),
    ("average over the limit and not the length", searches_beam.Beam._next, "rank_NK = self.rank(score_NK, length)", "rank_NK = self.rank(score_NK, limit)", PAID("average", 0.038, 0.042)),
    ("coverage before the choice of the parents", searches_beam._Covered.after, "sum_NKS.gather(1, parent_NK.unsqueeze(-1).expand_as(sum_NKS))", "sum_NKS", WIDE({"coverage_penalty": 4.0, "length_penalty": 1.0})),
    ("coverage not capped at one", searches_beam._Covered.penalty, "clamp(LEAST, 1.0)", "clamp(LEAST)", WIDE({"coverage_penalty": 0.5})),
    ("coverage rewards", searches_beam.Beam._next, "rank_NK + self", "rank_NK - self", WIDE({"coverage_penalty": 0.5})),
    ("blocked sequences are one word too long", searches_beam.Beam.permitted, "said_JT, self.cfg.no_repeat,", "said_JT, self.cfg.no_repeat + 1,", BLOCKED),
    ("the last sequence is not looked at", searches_beam._repeating, "said_JT.unfold(1, size, 1)", "said_JT.unfold(1, size, 1)[:, :-1]", BLOCKED),
    ("blocked after other words", searches_beam._repeating, "spans[..., :-1] == last", "spans[..., :-1] != last", WIDE({"no_repeat": 2, "length_penalty": 3.0})),
    ("minimum length counts EOS", searches_beam.Beam.permitted, "said_JT.shape[1] <", "said_JT.shape[1] + 1 <", WIDE({"min_length": 3})),
    ("a prefix that cannot go on is lost", searches_beam.Beam.permitted, "masked_fill(~stuck_J, -torch.inf)", "masked_fill(~stuck_J | stuck_J, -torch.inf)", having(test_searches_beam.test_where_nothing_else_may_follow_a_short_hypothesis_ends)),
    ("groups not penalized", searches_beam.Beam._of_group, "total_NKW - self.cfg.diversity * uses_NKW", "total_NKW", GROUPS),
    ("groups penalized in their scores", searches_beam.Beam._of_group, "for part in (total_NKW, word_NKW)", "for part in (judged_NKW, word_NKW)", SCORE),
    ("a group's parents from the first group", searches_beam.Beam._chosen, "parent + start", "parent", SCORE),
    ("one word that leads out of the trie", searches_beam.Constrained.permitted, "closed_JV[row, self.trie.get(tuple(prefix), slice(None))] = False", "closed_JV[row, self.trie.get(tuple(prefix[1:]), slice(None))] = False", ALLOWED),
    ("an output without its end", searches_beam.Constrained.prepare, "[EOS]", "[]", ALLOWED),
    # sampling and exact search
    ("the nucleus drops the first word", searches_sampling.Sampling.odds, "sorted_NV.cumsum(-1) - sorted_NV", "sorted_NV.cumsum(-1)", FILTERS),
    ("the nucleus keeps words that have too little together", searches_sampling.Sampling.odds, "before_NV < self.cfg.nucleus", "before_NV < self.cfg.nucleus - sorted_NV", FILTERS),
    ("filters in the order of ids", searches_sampling.Sampling.odds, "scatter(1, order_NV, sorted_NV * kept_NV)", "add(all_NV * kept_NV)", FILTERS),
    ("min-p of certainty, not of the best word", searches_sampling.Sampling.odds, "self.cfg.min_p * sorted_NV[:, :1]", "self.cfg.min_p", FILTERS),
    ("temperature upside down", searches_sampling.Sampling.odds, "/ self.cfg.temperature", "* self.cfg.temperature", OFTEN),
    ("the sampler's numbers depend on the company", searches_sampling.Sampling.draw, "for ids in source_BS.tolist()", "for ids in source_BS.flip(0).tolist()", COMPANY),
    ("a draw depends on padding", searches_sampling._key, "[word for word in ids if word != PAD]", "list(ids)", COMPANY),
    ("one number for all words of a sentence", searches_sampling.Sampling.draw, "_uniform(keys[row], step)", "_uniform(keys[row], 0)", OFTEN),
    ("the score of what was drawn from", searches_sampling.Sampling.draw, "word, logp_NV.gather", "word, (logp_NV / self.cfg.temperature).gather", SCORE),
    ("the consensus is what differs most", searches_sampling._consensus, "max(counts", "min(counts", having(test_searches_sampling.test_the_consensus_is_the_sample_most_like_all)),
    ("each sample counts once", searches_sampling._consensus, "often * utility", "utility", having(test_searches_sampling.test_the_consensus_is_the_sample_most_like_all)),
    ("a bound that is not admissible", searches_exact._Tree.next, "words[-1][0] <= self.score", "words[-1][0] * 3 <= self.score", having(test_searches_exact.test_a_search_that_gives_up_says_so)),
    ("the first hypothesis is taken for the best", searches_exact._Tree.next, "words[-1][0] <= self.score", "self.best", EXACT),
    ("exact search one word short of the limit", searches_exact._Tree.grow, "len(step.said) + 1 <= self.limit", "len(step.said) + 2 <= self.limit", models(laws.test_no_beam_beats_exact_search)),
    ("a proof that is none", searches_exact._Tree.proven.fget, "not any(score > self.score for branches in self.stack for score, _ in branches.words)", "True", having(test_searches_exact.test_a_search_that_gives_up_says_so)),
    ("the state of another sentence", searches_exact.Exact.find, "_row(state, place)", "_row(state, 0)", EXACT),
    ("select takes the wrong rows", contracts.select, "part.index_select(0, index_B)", "part.index_select(0, index_B.sort().values)", ROWS),
    ("repeat puts copies in the wrong order", contracts.repeat, "part.repeat_interleave(times, 0)", "part.repeat(times, *[1] * (part.ndim - 1))", COMPANY),
    ("a bridge of the wrong shape", bridges._zeros, "ours.layers", "1", having(test_bridge_laws.test_any_shape_becomes_any_shape, {"kind": "zero"})),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "old", "new", "law"),
    [
        pytest.param(*bug[1:], id=bug[0], marks=[pytest.mark.full] if place % 3 else [])
        for place, bug in enumerate(BUGS)
    ],
)
def test_a_bug_is_noticed(function: Any, old: str, new: str, law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    inject(monkeypatch, function, old, new)
    with pytest.raises(AssertionError):
        law()
