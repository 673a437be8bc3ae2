"""Lets the trained model of a finished trial answer source texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.contracts import EOS, FIELDS
from harness.core import fast_paths
from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.trial import copying
from harness.trial.batches import collate, evaluation_width
from harness.trial.decode import hypotheses, reference_nll, source_words
from harness.trial.decoded import Hypothesis
from harness.trial.encoded import Prepared
from harness.trial.model import Seq2Seq
from harness.trial.n_best import Candidate, n_best
from harness.trial.pairs import Pairs
from harness.trial.pipeline import Corridor, restore
from harness.trial.precision import searching

TAB = r"\t"
"""A tab as bash reads it in ``$'...'``."""


class Attended(NamedTuple):
    """The attention of a model over a source text while it decodes its hypothesis."""

    source: list[str]
    """Source tokens with EOS: the columns."""
    said: list[str]
    """Tokens of the hypothesis, with EOS if it ended: the rows."""
    weights: list[list[float]]


class TrainedModel:
    """The trained model of a finished trial, with its vocabularies and its search; sentences never change each other.

    Args:
        store: where the trial is.
        trial: its digest, or the beginning of it.

    A text has its fields with a tab between them, where the source has several (``"kuzu\\tN;LOC"``).

    Raises:
        SpecError: no finished trial, or more than one, has a digest with this beginning; later, a text has other fields.
    """

    def __init__(self, store: Store, trial: str) -> None:
        self.trial = restore(store, trial)
        corridor = Corridor(store, (), "cpu")
        self._prepared: Prepared = corridor.tested(self.trial)
        self._model: Seq2Seq = corridor.model(self.trial)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that a source text has, with a tab between them; none where it is one text."""
        return self._prepared.source.fields

    def translate(self, texts: Sequence[str]) -> list[Hypothesis]:
        """Return the hypothesis for each source text: text, tokens, log-probability in nats, whether it was cut."""
        c, pairs = self.trial.choice.decoding, self._pairs(texts)
        search, target, like = c.search.build(), self._prepared.target, self._like
        copied = source_words(self._model, self._prepared.source, texts)
        with fast_paths.products(self._model, fixed=True), searching(c.precision, torch.device("cpu")):
            return hypotheses(self._model, search, pairs, c.limit, c.batch_size, target, like, copied)

    def score(self, texts: Sequence[str], targets: Sequence[str]) -> list[float]:
        """Return the log-probability of each target text given its source text, in nats, with EOS."""
        pairs = self._pairs(texts, self._prepared.target.encode(targets))
        with fast_paths.products(self._model, fixed=True):
            nll_N2 = reference_nll(self._model, pairs, self.trial.choice.decoding.batch_size, self._like)
        return [-nll for nll in nll_N2[:, 0].tolist()]

    @torch.no_grad()
    def attention(self, text: str) -> Attended | None:
        """Return the attention weights over a source text while the model decodes it; None without attention."""
        [found] = self.translate([text])
        pairs = self._pairs([text], [found.tokens])
        batch = collate(pairs, torch.tensor([0]), self._width(pairs))
        weights_BTS = self._model(batch.source_BS, batch.inputs_BT).weights_BTS
        if not weights_BTS.shape[-1]:
            return None
        words = [word for word, _ in self._prepared.source.words([text])[0]]
        tokens = [*found.tokens, *([] if found.truncated else [EOS])]
        return Attended(
            [*words, self._prepared.source.token(EOS)],
            [self._prepared.target.token(number, words) for number in tokens],
            weights_BTS[0, : len(tokens), : len(words) + 1].tolist(),
        )

    def n_best(self, text: str, count: int) -> list[tuple[str, Candidate]]:
        """Return the most probable target texts that a beam of that width finds, best first."""
        pairs = self._pairs([text])
        source_BS = collate(pairs, torch.tensor([0]), self._width(pairs)).source_BS
        ranked = n_best(self._model, source_BS, count, self.trial.choice.decoding.limit)
        words = [word for word, _ in self._prepared.source.words([text])[0]]
        return [(self._prepared.target.decode(each.tokens, words), each) for each in ranked]

    def unknown(self, text: str) -> list[str]:
        """Return the words of a source text that the model does not know."""
        self._check([text])
        return self._prepared.source.unknown_words(text)

    def _check(self, texts: Sequence[str]) -> None:
        """Refuse texts with more or fewer fields than the model reads."""
        fields = self.fields
        for text in texts if fields else ():
            if (found := len(text.split(FIELDS))) != len(fields):
                has = "1 field" if found == 1 else f"{found} fields"
                raise SpecError(
                    f"the text {text!r:.60} has {has}, and the model reads {len(fields)}: {', '.join(fields)}; write "
                    f"them with a tab between, in bash as $'{TAB.join(fields)}'"
                )

    def _pairs(self, texts: Sequence[str], targets: Sequence[Sequence[int]] | None = None) -> Pairs:
        self._check(texts)
        source, target = self._prepared.source, self._prepared.target
        ids = copying.sources(source, target, texts) if self._model.output.copies else source.encode(texts)
        return Pairs.of(ids, targets if targets is not None else [[] for _ in texts])

    @property
    def _like(self) -> Pairs:
        """The pairs that the trial was decoded on, among which its sources were padded."""
        return self._prepared.test(None).pairs

    def _width(self, pairs: Pairs) -> int | None:
        return evaluation_width(self._model.hears_padding, pairs, self._like)


def try_model(
    store: Store, name: str, texts: Sequence[str], *, attention: bool = False, count: int = 1
) -> list[dict[str, Any]]:
    """Return for each source text a hypothesis, its log-probability, and the source words that the model does not know.

    Args:
        store: where the trial is.
        name: the digest of the trial, or its beginning.
        texts: source texts.
        attention: also return where the model looks: source tokens, target tokens and weights, or None if it has no
            attention.
        count: with more than one, also return so many of the best hypotheses that a beam of this width finds.

    Raises:
        SpecError: no finished trial, or more than one, has a digest with this beginning, or a text has other fields.
    """
    model = TrainedModel(store, name)
    answers = []
    for text, h in zip(texts, model.translate(texts), strict=True):
        answer: dict[str, Any] = {
            "source": text,
            "hypothesis": h.text,
            "score": h.score,
            "truncated": h.truncated,
            "unknown": model.unknown(text),
        }
        if attention:
            seen = model.attention(text)
            answer["attention"] = None if seen is None else seen._asdict()
        if count > 1:
            answer["n_best"] = [
                each._asdict() | {"hypothesis": hypothesis} for hypothesis, each in model.n_best(text, count)
            ]
        answers.append(answer)
    return answers


def draw_attention(answers: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw the attention map of each answer as SVG, PNG and PDF, and return the files."""
    from harness.report import figures
    from harness.report.section import Figure

    drawn = []
    for number, answer in enumerate(answers, 1):
        if (shown := answer["attention"]) is not None:
            parts = shown["source"], shown["said"], shown["weights"], answer["source"]
            drawn.append(Figure(f"attention_{number}", "", partial(figures.attention_example, *parts)))
    return [path for drawing in figures.draw(folder, drawn).values() for path in (*drawing.files, drawing.paper)]
