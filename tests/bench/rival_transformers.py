"""Transformers of the peers, all of one size: three layers on both sides, eight heads, as wide as the word vectors.

The kit has recurrent peers. These are the same adapters around the Transformers that JoeyNMT and OpenNMT-py build, and
CTranslate2, which translates with a model that OpenNMT-py trained. Imported in the environment of the peers alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from peers import DROPOUT, JoeyNMT, OpenNMT

LAYERS, HEADS = 3, 8
SPECIAL = ["<unk>", "<blank>", "<s>", "</s>"]


def joeynmt(config: Any) -> Any:
    """Return JoeyNMT's Transformer."""
    from joeynmt.model import build_model
    from joeynmt.vocabulary import Vocabulary

    marks = {"unk": "<unk>", "pad": "<pad>", "bos": "<s>", "eos": "</s>", "sep": None}
    special = SimpleNamespace(**{f"{name}_token": mark for name, mark in marks.items()}, lang_tags=[])
    vars(special).update({"unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3, "sep_id": None})
    words = [Vocabulary([f"w{i}" for i in range(config.vocab - 4)], special) for _ in range(2)]
    layers = {
        "type": "transformer",
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "hidden_size": config.emb,
        "ff_size": 4 * config.emb,
    }
    side = layers | {"dropout": DROPOUT, "embeddings": {"embedding_dim": config.emb, "dropout": DROPOUT}}
    peer = JoeyNMT.__new__(JoeyNMT)
    peer.model = build_model({"encoder": side, "decoder": side}, *words)
    peer.model.loss_function = ("crossentropy", 0.0)
    peer.optimizer = torch.optim.Adam(peer.model.parameters(), lr=1e-3)
    return peer


class OpenNMTTransformer(OpenNMT):  # type: ignore[misc]
    """OpenNMT-py's Transformer, everything else at its defaults."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, "lstm")  # loads the package; its model makes way
        import pyonmttok
        from onmt import model_builder, opts
        from onmt.utils.loss import LossCompute
        from onmt.utils.parse import ArgumentParser

        told = {"data": "-", "src_vocab": "-", "tgt_vocab": "-", "save_model": "-", "layers": LAYERS, "heads": HEADS}
        told |= {"encoder_type": "transformer", "decoder_type": "transformer", "transformer_ff": 4 * config.emb}
        told |= {"word_vec_size": config.emb, "hidden_size": config.emb, "dropout": DROPOUT}
        parser = ArgumentParser()
        opts.train_opts(parser)
        words = [str(word) for name, value in told.items() for word in (f"-{name}", value)]
        self.options, _ = parser.parse_known_args([*words, "-position_encoding"])
        self.options.update_vocab = False
        ArgumentParser.update_model_opts(self.options)
        self.words = [*SPECIAL, *(f"w{i}" for i in range(config.vocab - len(SPECIAL)))]
        built = [pyonmttok.build_vocab_from_tokens(self.words, special_tokens=SPECIAL) for _ in range(2)]
        self.vocabs = {"src": built[0], "tgt": built[1], "data_task": "seq2seq", "decoder_start_token": "<s>"}
        self.model = model_builder.build_base_model(self.options, self.vocabs)
        for parameter in self.model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.xavier_uniform_(parameter)
        self.loss = LossCompute.from_opts(self.options, self.model, built[1])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)


class CTranslate2(OpenNMTTransformer):
    """A runtime in C++ that only translates, with OpenNMT-py's Transformer in float32."""

    _translator: Any = None

    def __init__(self, config: Any) -> None:
        import ctranslate2  # noqa: F401  before the kit puts an empty module in its place

        super().__init__(config)

    def decode(self, batch: Any, beam: int, limit: int) -> float:
        """Translate a batch, of which pads are left out, by ``limit`` words a sentence, and return how many were said."""
        self._translator = self._translator or self._converted()
        rows = [row[:count] for row, count in zip(batch.source.tolist(), batch.source_length.tolist(), strict=True)]
        tokens = [[self.words[number] for number in row] for row in rows]
        said = self._translator.translate_batch(
            tokens, beam_size=beam, max_decoding_length=limit, min_decoding_length=limit
        )
        return sum(len(found.hypotheses[0]) for found in said) / len(rows)

    def _converted(self) -> Any:
        import ctranslate2
        from ctranslate2.converters import OpenNMTPyConverter

        self.options.self_attn_type = "scaled-dot"  # the converter knows no other name for the same attention
        state = self.model.state_dict()
        parts = {
            "model": {name: value for name, value in state.items() if not name.startswith("generator.")},
            "generator": {
                name.removeprefix("generator."): value for name, value in state.items() if name.startswith("generator.")
            },
            "vocab": {"src": self.words, "tgt": self.words},
            "opt": self.options,
        }
        with tempfile.TemporaryDirectory() as home:
            torch.save(parts, Path(home, "trained.pt"))
            made = OpenNMTPyConverter(str(Path(home, "trained.pt")), unsafe_deserialization=True)
            folder = made.convert(str(Path(home, "converted")))
            return ctranslate2.Translator(folder, inter_threads=1, intra_threads=1, compute_type="float32")


TRANSFORMERS = {
    "joeynmt transformer": joeynmt,
    "opennmt-py transformer": OpenNMTTransformer,
    "ctranslate2": CTranslate2,
}
"""Builders by name."""
