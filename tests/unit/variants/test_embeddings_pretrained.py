"""Vectors from files that are written here: which word gets which, what is kept, and what a report says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.contracts import PAD, SPECIALS, Embeddings, Output, Words
from harness.core.spec import Incompatible, SpecError, read
from harness.trial.parameters import load_model, parameters

SOURCE, TARGET = [*SPECIALS, "red", "blue", "new york"], [*SPECIALS, "rot", "blau"]
WORDS = Words(7, 6, lists=lambda: (SOURCE, TARGET))
GLOVE = "blue 1.5 -2.0\nnew york 3 4\ngreen 7.0 7.0\n<pad> 9 9\n<unk> 5 5\nblue 0 0\n"
WORD2VEC = "2 2\nblau 0.25 4.0 \ngrau 1 1 \n"


def maker(folder: Path) -> Callable[..., Any]:
    """Write the files into a folder; return what builds embeddings from them."""
    (folder / "glove.txt").write_text(GLOVE, encoding="utf-8")
    (folder / "word2vec.txt").write_text(WORD2VEC, encoding="utf-8")

    def build(**settings: Any) -> Any:
        named = {key: str(folder / name) if key.endswith("vectors") else name for key, name in settings.items()}
        torch.manual_seed(0)
        return read(Embeddings.kinds["pretrained"].Config, {"width": 2} | named).build(words=WORDS)

    return build


@pytest.fixture
def given(tmp_path: Path) -> Callable[..., Any]:
    return maker(tmp_path)


def test_a_word_gets_the_vector_of_its_line_and_others_keep_theirs(given: Any) -> None:
    made = given(source_vectors="glove.txt", target_vectors="word2vec.txt")
    before = made.source_table.weight.clone(), made.target_weight_VE.clone()
    made.fill(WORDS)
    source, target = made.source(torch.arange(7).unsqueeze(0))[0], made.target(torch.arange(6).unsqueeze(0))[0]
    assert source[[3, 5, 6]].tolist() == [[5, 5], [1.5, -2], [3, 4]], "the first line of a word counts"
    assert target[5].tolist() == [0.25, 4]
    assert torch.equal(source[[0, 1, 2, 4]], before[0][[0, 1, 2, 4]]) and not bool(source[PAD].any())
    assert torch.equal(target[:5], before[1][:5])
    assert made.target_weight_VE.shape == (6, 2) and made.width == 2


def test_a_token_that_begins_with_its_space_has_the_vector_of_its_word(given: Any) -> None:
    table = given(target_vectors="word2vec.txt").target_table
    (note,) = table.fill("target", lambda: [*SPECIALS, " blau", "blau", " rot"])
    assert table.weight[4].tolist() == table.weight[5].tolist() == [0.25, 4] and "cover 2 of 3 target words" in note


def test_a_header_is_no_word(given: Any) -> None:
    """``2 2`` says that two vectors of two numbers follow; the vocabulary has a word 2."""
    words = [*SPECIALS, "2", "blau"]
    (note,) = given(target_vectors="word2vec.txt").target_table.fill("target", lambda: words)
    assert "cover 1 of 2 target words" in note


def test_the_share_of_each_vocabulary_is_noted(given: Any) -> None:
    made = given(source_vectors="glove.txt", target_vectors="word2vec.txt")
    made.fill(WORDS)
    assert made.notes == [
        "the vectors of glove.txt cover 2 of 3 source words (66.7 % of the vocabulary); the others start at random",
        "the vectors of word2vec.txt cover 1 of 2 target words (50 % of the vocabulary); the others start at random",
    ]
    one = given(source_vectors="glove.txt")
    one.fill(WORDS)
    assert len(one.notes) == 1


@pytest.mark.parametrize("frozen", (False, True))
def test_frozen_vectors_stay_and_all_others_learn(given: Any, frozen: bool) -> None:
    made = given(source_vectors="glove.txt", target_vectors="word2vec.txt", frozen=frozen)
    made.fill(WORDS)
    ids = torch.tensor([[1, 4, 5, PAD]])
    before = made.source(ids).detach(), made.target(ids).detach()
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (made.source(ids).exp().sum() + made.target(ids).exp().sum()).backward()
        optimizer.step()
    for old, new in zip(before, (made.source(ids), made.target(ids)), strict=True):
        moved = (old != new).any(-1)[0].tolist()
        assert moved == [True, True, not frozen, False]


def test_frozen_vectors_come_back_from_the_file_of_parameters(given: Any, tmp_path: Path) -> None:
    first = given(source_vectors="glove.txt", frozen=True)
    first.fill(WORDS)
    save_file(parameters(first), tmp_path / "model.safetensors")
    second = given(source_vectors="glove.txt", frozen=True)
    load_model(second, tmp_path / "model.safetensors")
    ids = torch.arange(7).unsqueeze(0)
    assert torch.equal(first.source(ids), second.source(ids)) and not second.fixed


def test_no_output_is_tied_to_vectors_that_are_kept(given: Any) -> None:
    tied = Output.kinds["tied"].Config()
    tied.build(readout=2, embeddings=given(source_vectors="glove.txt", frozen=True))
    with pytest.raises(Incompatible, match=r"embeddings\.frozen"):
        tied.build(readout=2, embeddings=given(target_vectors="word2vec.txt", frozen=True))


def test_a_file_of_another_width_is_refused_when_the_study_is_planned(given: Any, tmp_path: Path) -> None:
    for name in ("glove.txt", "word2vec.txt"):
        with pytest.raises(Incompatible, match=f"{name} has vectors of 2 numbers, not 3; set embeddings.width to 2"):
            given(width=3, target_vectors=name)
    (tmp_path / "glove.txt").unlink()
    absent = given(width=3, target_vectors="glove.txt")
    with pytest.raises(SpecError, match="there is no file"):
        absent.fill(WORDS)


@pytest.mark.parametrize("line", ("blue 1", "blue 1 x"))
def test_a_line_that_is_no_vector_is_named(given: Any, tmp_path: Path, line: str) -> None:
    (tmp_path / "glove.txt").write_text(f"red 1 2\n{line}\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r"glove\.txt:2: is not a word and 2 numbers"):
        given(source_vectors="glove.txt").fill(WORDS)


def test_without_files_there_are_two_tables_that_learn(given: Any) -> None:
    made = given(frozen=True)
    before = parameters(made)
    made.fill(WORDS)
    assert not made.notes and not made.fixed
    assert all(torch.equal(before[name], after) for name, after in parameters(made).items()) and len(before) == 2


def test_dropout_drops_while_training_only(given: Any) -> None:
    made, ids = given(source_vectors="glove.txt", dropout=0.5), torch.arange(1, 6).unsqueeze(0)
    for look in (made.train().source, made.target):
        assert bool((look(ids) == 0).any())
    assert torch.equal(made.eval().source(ids), made.source_table(ids))
