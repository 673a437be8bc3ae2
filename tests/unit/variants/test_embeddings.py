"""Embeddings: padding is nothing, and sharing is sharing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.contracts import PAD, Embeddings, Words
from harness.core.spec import Incompatible

IDS_BS = torch.tensor([[4, 5, PAD], [6, PAD, PAD]])


def made(kind: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    return Embeddings.kinds[kind].Config(width=3, **settings).build(words=Words(8, 8, joint=True))


@pytest.mark.parametrize("kind", ("separate", "shared"))
def test_padding_is_zero_and_learns_nothing(kind: str) -> None:
    embeddings = made(kind)
    both = embeddings.source(IDS_BS), embeddings.target(IDS_BS)
    (both[0].exp().sum() + both[1].exp().sum()).backward()
    for vectors_BSE, ids_BS in zip(both, (IDS_BS, IDS_BS), strict=True):
        assert not bool(vectors_BSE[ids_BS == PAD].any()) and bool(vectors_BSE[ids_BS != PAD].all())
    for table in embeddings.parameters():
        assert not bool(table.grad[PAD].any()) and bool(table.grad[4].all()) and not bool(table.grad[7].any())


def test_separate_tables_are_two_and_a_shared_table_is_one() -> None:
    separate, shared = made("separate"), made("shared")
    assert not torch.equal(separate.source(IDS_BS), separate.target(IDS_BS))
    assert torch.equal(shared.source(IDS_BS), shared.target(IDS_BS))
    assert len(list(separate.parameters())) == 2 and len(list(shared.parameters())) == 1


def test_each_language_has_a_table_of_its_size() -> None:
    tables = Embeddings.kinds["separate"].Config(width=3).build(words=Words(7, 9))
    assert tables.source_table.weight.shape == (7, 3) and tables.target_weight_VE.shape == (9, 3)


def test_a_vector_is_the_row_of_its_word() -> None:
    for embeddings in (made("separate"), made("shared")):
        assert torch.equal(embeddings.target(IDS_BS)[0, 1], embeddings.target_weight_VE[5])


def test_two_vocabularies_cannot_share() -> None:
    with pytest.raises(Incompatible, match="one vocabulary"):
        Embeddings.kinds["shared"].Config().build(words=Words(8, 8))


@pytest.mark.parametrize("kind", ("separate", "shared"))
def test_dropout_drops_while_training_only(kind: str) -> None:
    embeddings, words_BS = made(kind, dropout=0.5), IDS_BS.clamp_min(1)
    for look in (embeddings.source, embeddings.target):
        embeddings.train()
        assert bool((look(words_BS) == 0).any())
        embeddings.eval()
        assert not bool((look(words_BS) == 0).any())


PLUGIN = """
import sys, torch
import variants
from pathlib import Path
from harness.contracts import Embeddings, Words
from harness.core import plugins
from harness.core.pinned import pinned
from harness.core.spec import read
from harness.trial.model import ModelChoice
from harness.trial.train import TrainingChoice, build, count_parameters

plugins.load([sys.argv[1]])
lists = ["<pad>", "<bos>", "<eos>", "<unk>", "red", "blue"]
words = Words(6, 6, True, lambda: (lists, lists))
rnn = {"kind": "gru", "hidden": 2}
plain = {
    "embeddings": {"kind": "target_from_file", "width": 2, "vectors": "vectors.txt"},
    "encoder": {"kind": "rnn", "cell": rnn},
    "decoder": {"kind": "rnn", "cell": rnn, "bridge": "copy", "context": "none"},
    "output": "linear",
}
choice = pinned(read(ModelChoice, plain), [Path(sys.argv[2])])
count_parameters(choice, Words(6, 6))
training = {
    "loss": {"kind": "cross_entropy", "mask": True, "normalize": "token"},
    "teacher_forcing": {"kind": "constant", "ratio": 1.0},
    "optimizer": {"kind": "sgd", "lr": 0.1},
    "schedule": "constant",
    "initializer": "uniform",
} | dict(batch_size=1, pool=1, updates=1, evaluate_every=1)
model = build(choice, read(TrainingChoice, training), words, 1)
print(model.embeddings.target(torch.tensor([[4, 5]])).tolist())
"""


def test_vectors_from_a_file_survive_the_initializer(tmp_path: Path) -> None:
    """The part is a plugin, in a process of its own; sizes alone are enough to count parameters."""
    (tmp_path / "vectors.txt").write_text("blue 1.5 -2.0\ngreen 7.0 7.0\nred 0.25 4.0\n", encoding="utf-8")
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", PLUGIN, str(root / "tests/plugins/pretrained_embeddings.py"), str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(root)}
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "[[[0.25, 4.0], [1.5, -2.0]]]", ran.stderr
