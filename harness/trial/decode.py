"""A search over a split, what the model says of the references, and where it looks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.contracts import EOS, PAD, Readout, Search, Source
from harness.core import fast_paths
from harness.trial.batches import collate, evaluation_width, in_order
from harness.trial.decoded import Hypothesis
from harness.trial.model import Seq2Seq
from harness.trial.overheard import Overheard
from harness.trial.pairs import Pairs
from harness.trial.precision import differences, sampled, searching
from harness.trial.vocabulary import Vocabulary
from harness.trial.walks import Walks, summed

if TYPE_CHECKING:  # how hypotheses are scored does not change them
    from harness.trial.decoding_choice import DecodingChoice

GRID = 12
"""Cells a side of the map on which attention is averaged, from the first to the last position of both sentences."""
EXAMPLES = 8
"""So many first test sentences have their attention kept whole."""


@torch.no_grad()
def hypotheses(
    model: Seq2Seq | Overheard,
    search: Search,
    pairs: Pairs,
    limit: int,
    batch_size: int,
    target: Vocabulary,
    like: Pairs | None = None,
    copied: Sequence[Sequence[str]] = (),
) -> list[Hypothesis]:
    """Return one hypothesis per pair, in the order of the pairs; batching changes nothing but the time.

    A model that hears padding is shown as much of it as if the pairs stood among those of ``like``. ``copied`` are the
    words of each source (see ``source_words``), for a model that copies.
    """
    model.eval()
    search.prepare(target.encode)
    width = evaluation_width(model.hears_padding, pairs, *([like] if like is not None else []))
    found: dict[int, Hypothesis] = {}
    for index in in_order(pairs, batch_size):
        tokens_BT, score_B, proven_B = search.find(model, collate(pairs, index, width).source_BS, limit)
        proofs = [None] * len(index) if proven_B is None else proven_B.tolist()
        for row, tokens, score, proven in zip(
            index.tolist(), tokens_BT.tolist(), score_B.tolist(), proofs, strict=True
        ):
            ended = EOS in tokens
            said = tokens[: tokens.index(EOS)] if ended else [token for token in tokens if token != PAD]
            text = target.decode(said, copied[row]) if copied else target.decode(said)
            found[row] = Hypothesis(text, said, score, not ended, proven)
    return [found[row] for row in range(pairs.size)]


def source_words(model: Seq2Seq, source: Vocabulary, texts: Sequence[str]) -> list[list[str]]:
    """Return the words of each source as its text spells them, unknown ones too; nothing for a model that does not copy."""
    return [[word for word, _ in words] for words in source.words(texts)] if model.output.copies else []


class Examined(NamedTuple):
    """What a model says of the references, beside what it says on its own; N sentences."""

    nll_N2: Tensor
    """Summed NLL of each reference in nats, and its number of tokens, EOS counted."""
    free_nll_N2: Tensor
    """The same while the model hears its own most probable words."""
    oracle: list[list[int]]
    """The most probable words when the length of the reference is given."""
    attention: dict[str, Tensor]
    """``mean`` on a grid of relative positions, and ``example_0``, ..., T x S; nothing for a model without attention."""


@torch.no_grad()
def examine(
    model: Seq2Seq, pairs: Pairs, found: Sequence[Hypothesis], batch_size: int, overheard: Overheard | None = None
) -> Examined:
    """Ask a model about the references and about what it said.

    Where the search that found the hypotheses was ``overheard``, no source is read a second time, and a walk in which the
    model hears its own words is not made if the search made it and said as much as the reference has.
    """
    model.eval()
    width = evaluation_width(model.hears_padding, pairs)
    own = Pairs.of([[]] * pairs.size, [hypothesis.tokens for hypothesis in found]).to(pairs.target.device)
    steps = torch.tensor([len(hypothesis.tokens) + (not hypothesis.truncated) for hypothesis in found])
    walks = Walks(found, steps, pairs)
    known = overheard.nll() if overheard and overheard.says_best else None
    nll_N2, maps = torch.zeros_like(walks.nll_N2), list[dict[str, Tensor]]()
    for number, index in enumerate(in_order(pairs, batch_size)):
        batch = collate(pairs, index, width)
        begun = (overheard and overheard.begun(number, batch.source_BS)) or model.read(batch.source_BS)
        forced, _ = model.advance(batch.inputs_BT, *begun)
        nll_N2[index] = summed(_forced_nll(model, forced, begun[1], batch.targets_BT), batch.targets_BT)
        if known is None:
            walks.make(model, begun, batch, index)
        else:
            walks.take(next(known), batch, index)
        if forced.weights_BTS.shape[-1]:
            own_BTS = model.advance(collate(own, index).inputs_BT, *begun)[0].weights_BTS
            maps.append(_maps(own_BTS, index, steps[index], pairs.source_lengths.cpu()[index] + 1))
    for index in walks.missing(batch_size):
        batch = collate(pairs, index, width)
        walks.make(model, model.read(batch.source_BS), batch, index)
    words = [walks.words[row] for row in range(pairs.size)]
    return Examined(nll_N2, walks.nll_N2, words, _averaged(maps, pairs.size))


@torch.no_grad()
def reference_nll(model: Seq2Seq, pairs: Pairs, batch_size: int, like: Pairs | None = None) -> Tensor:
    """Return the summed NLL of each target in nats, and its number of tokens, EOS counted, N x 2.

    A model that hears padding is shown as much of it as if the pairs stood among those of ``like``.
    """
    model.eval()
    width = evaluation_width(model.hears_padding, pairs, *([like] if like is not None else []))
    nll_N2 = torch.zeros(pairs.size, 2, dtype=torch.float64)
    for index in in_order(pairs, batch_size):
        batch = collate(pairs, index, width)
        state, source = model.read(batch.source_BS)
        readout = model.follow(state, source, batch.inputs_BT)
        nll_N2[index] = summed(_forced_nll(model, readout, source, batch.targets_BT), batch.targets_BT)
    return nll_N2


def _forced_nll(model: Seq2Seq, readout: Readout, source: Source, targets_BT: Tensor) -> Tensor:
    real_BT = targets_BT != PAD
    nll_BT = readout.features_BTR.new_zeros(real_BT.shape)
    nll_BT[real_BT] = model.output.nll(readout, source, targets_BT, real_BT)
    return nll_BT


def _maps(weights_BTS: Tensor, index_B: Tensor, steps_B: Tensor, sources_B: Tensor) -> dict[str, Tensor]:
    """Return the examples among these sentences, and the sum over them on the grid of relative positions.

    A row of the grid is the mean over the target steps within it; a word's weight is spread evenly over the columns that
    it covers. Rows sum to one, but for weight that fell on padding.
    """
    weights_BTS = weights_BTS.double().cpu()
    rows_BGT, columns_BGS = _cover(steps_B, weights_BTS.shape[1]), _cover(sources_B, weights_BTS.shape[2])
    columns_BGS = columns_BGS * (sources_B / GRID).view(-1, 1, 1)
    made = {"mean": (rows_BGT @ weights_BTS @ columns_BGS.transpose(1, 2)).sum(0)}
    for place, row in enumerate(index_B.tolist()):
        if row < EXAMPLES:
            made[f"example_{row}"] = weights_BTS[place, : steps_B[place], : sources_B[place]].float().contiguous()
    return made


def _cover(lengths_B: Tensor, steps: int) -> Tensor:
    """Return which share of each cell of the grid each of so many steps covers, B x G x steps; cells sum to one."""
    lengths_B11 = lengths_B.double().view(-1, 1, 1)
    cell_G1, step_1S = torch.arange(GRID).double().view(-1, 1) / GRID, torch.arange(steps).double().view(1, -1)
    first, last = step_1S / lengths_B11, (step_1S + 1) / lengths_B11
    inside = last.minimum(cell_G1 + 1 / GRID) - first.maximum(cell_G1)
    return inside.clamp_min(0.0) * GRID


def _averaged(maps: list[dict[str, Tensor]], sentences: int) -> dict[str, Tensor]:
    if not maps:
        return {}
    whole = {name: weights for part in maps for name, weights in part.items()}
    return whole | {"mean": torch.stack([part["mean"] for part in maps]).sum(0) / sentences}


def decode(
    model: Seq2Seq,
    choice: DecodingChoice,
    pairs: Pairs,
    source: Vocabulary,
    target: Vocabulary,
    folder: Path,
    device: torch.device,
    texts: Sequence[str],
) -> dict[str, Any]:
    """Write what is found for one split (see ``harness.trial.decoded``) and return facts about the cost.

    Only the search is timed. ``texts`` are the sources of the pairs, whose words a model may copy.
    """
    model, pairs = model.to(device), pairs.to(device)
    overheard = _listening(model, choice, pairs)
    began = time.monotonic()
    copied = source_words(model, source, texts)
    with searching(choice.precision, device):
        asked, search = overheard or model, choice.search.build()
        found = hypotheses(asked, search, pairs, choice.limit, choice.batch_size, target, copied=copied)
    seconds = time.monotonic() - began
    rounded = {} if choice.precision == "fp32" else _against_fp32(model, choice, pairs, target, folder, copied, found)
    examined = examine(model, pairs, found, choice.batch_size, overheard)
    _write_lines(folder / "hypotheses.jsonl", (hypothesis.plain() for hypothesis in found))
    _write_lines(
        folder / "oracle.jsonl",
        (
            {"text": target.decode(words, copied[row] if copied else ()), "tokens": words}
            for row, words in enumerate(examined.oracle)
        ),
    )
    save_file({"nll": examined.nll_N2, "free_nll": examined.free_nll_N2}, folder / "references.safetensors")
    if examined.attention:
        save_file(examined.attention, folder / "attention.safetensors")
        _write_lines(folder / "attention.jsonl", _labels(pairs, found, source, target, copied))
    return {
        "decode_seconds": seconds,
        "decode_sentences_per_second": len(found) / seconds,
        "truncated": sum(hypothesis.truncated for hypothesis in found),
    } | rounded


def _listening(model: Seq2Seq, choice: DecodingChoice, pairs: Pairs) -> Overheard | None:
    """Return the model as a search in the precision of ``examine`` asks it, to know afterwards what was learned in passing."""
    if choice.precision != "fp32" or not fast_paths.used():
        return None
    return Overheard(model, pairs, choice.batch_size, choice.search.part.says_best)


def _against_fp32(
    model: Seq2Seq,
    choice: DecodingChoice,
    pairs: Pairs,
    target: Vocabulary,
    folder: Path,
    copied: Sequence[Sequence[str]],
    found: Sequence[Hypothesis],
) -> dict[str, Any]:
    """Search a sample in fp32, write what is found, and return facts about how a rounded search differs from it."""
    began, rows = time.monotonic(), sampled(pairs.size)
    part, words = pairs.of_rows(rows).to(pairs.source.device), [copied[row] for row in rows] if copied else ()
    exact = hypotheses(model, choice.search.build(), part, choice.limit, choice.batch_size, target, pairs, words)
    by_row = dict(zip(rows, exact, strict=True))
    _write_lines(folder / "fp32.jsonl", ({"row": row} | hypothesis.plain() for row, hypothesis in by_row.items()))
    return {"fp32": differences(found, by_row) | {"seconds": time.monotonic() - began}}


def _labels(
    pairs: Pairs,
    found: Sequence[Hypothesis],
    source: Vocabulary,
    target: Vocabulary,
    copied: Sequence[Sequence[str]],
) -> Iterator[dict[str, list[str]]]:
    """Yield the tokens of each example, columns and rows of its map."""
    ids, starts = pairs.source.tolist(), pairs.source_starts.tolist()
    for row, hypothesis in enumerate(found[:EXAMPLES]):
        words = copied[row] if copied else [source.token(number) for number in ids[starts[row] : starts[row + 1]]]
        said = [*hypothesis.tokens, *([] if hypothesis.truncated else [EOS])]
        yield {"source": [*words, source.token(EOS)], "said": [target.token(number, words) for number in said]}


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
