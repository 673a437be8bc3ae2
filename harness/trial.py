"""One trial through the corridor: prepare, train, decode, score; each stage cached by the digest of all it depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file, save_file

from harness import decode, prepare, score, train
from harness.contracts import Dataset
from harness.decode import DecodingChoice
from harness.fingerprint import fingerprint
from harness.model import ModelChoice, Seq2Seq
from harness.prepare import DataChoice
from harness.provenance import peak_memory_mb, provenance
from harness.registry import Choice
from harness.spec import digest, encode
from harness.store import Record, Stage, Store
from harness.train import Emit, TrainingChoice

SPLIT = "test"
STAGES = ("prepare", "train", "decode", "score")


class TrialChoice(Choice):
    """A variant written out in full, the seed aside: every slot of every branch is named."""

    data: DataChoice
    """Which pairs, and how text becomes tokens."""
    model: ModelChoice
    """Which parts make the model."""
    training: TrainingChoice
    """How it is trained."""
    decoding: DecodingChoice
    """How it is decoded and scored."""


@dataclass(frozen=True)
class Trial:
    """A variant and a seed on a dataset as it is now: what is trained, decoded and scored."""

    choice: TrialChoice
    seed: int
    revision: str
    """What the data depend on beyond the choice: a hash of files, a commit of the hub."""

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The four stages of this trial, upstream first; trials that share a beginning share its stages."""
        c, parts = self.choice, modules
        meant = encode(c, meaning=True)
        data = {"data": meant["data"], "revision": self.revision}
        made = {"prepare": _stage("prepare", data, parts(c.data), {})}
        training = {"model": meant["model"], "training": meant["training"], "seed": self.seed}
        made["train"] = _stage("train", training, [*parts(c.model), *parts(c.training)], made)
        search = {name: value for name, value in meant["decoding"].items() if name != "scoring"} | {"split": SPLIT}
        made["decode"] = _stage("decode", search, [*parts(c.model), *parts(c.decoding)], made)
        made["score"] = _stage("score", {"scoring": meant["decoding"]["scoring"]}, parts(c.data), made)
        return made

    @property
    def digest(self) -> str:
        """The name of this trial: the key of its last stage."""
        return self.stages["score"].key


def modules(choice: Any) -> list[str]:
    """Return the modules of all parts that a choice names, however deep."""
    if not isinstance(choice, Choice):
        return []
    own = [type(choice).part.__module__] if choice.kind else []
    return own + [name for field in type(choice).model_fields for name in modules(getattr(choice, field))]


class Corridor:
    """Runs trials on one device, out of and into one store; what several trials share is loaded once."""

    def __init__(self, store: Store, folders: tuple[Path, ...], device: str, *, keep_stale: bool = False) -> None:
        self.store, self.folders, self.device, self.keep_stale = store, folders, torch.device(device), keep_stale
        self._prepared: tuple[str, prepare.Prepared] | None = None

    def run(self, trial: Trial, emit: Emit) -> Iterator[tuple[str, Record, bool]]:
        """Run the stages of a trial in turn; yield each stage's name, its record, and whether it was there before.

        Raises:
            SpecError: the data cannot be used.
            Incompatible: parts of the model cannot meet.
            Diverged: the training did.
        """
        work: dict[str, Callable[[Path], dict[str, Any]]] = {
            "prepare": lambda folder: prepare.prepare(trial.choice.data, self.folders, folder),
            "train": lambda folder: self._train(trial, folder, emit),
            "decode": lambda folder: self._decode(trial, folder),
            "score": lambda folder: self._score(trial, folder),
        }
        for name, stage in trial.stages.items():
            emit({"stage": name})
            facts = provenance(self.device.type)
            yield name, *self.store.make(stage, work[name], facts, keep_stale=self.keep_stale)

    def model(self, trial: Trial) -> Seq2Seq:
        """Return the trained model of a trial."""
        model = Seq2Seq(trial.choice.model, self.prepared(trial).words)
        train.load_model(model, self.store.folder("train", trial.stages["train"].key) / "model.safetensors")
        return model.to(self.device).eval()

    def prepared(self, trial: Trial) -> prepare.Prepared:
        """Return the prepared data of a trial; the last ones are kept."""
        stage = trial.stages["prepare"]
        if self._prepared is None or self._prepared[0] != stage.key:
            self._prepared = stage.key, prepare.load(self.store.folder("prepare", stage.key))
        return self._prepared[1]

    def _train(self, trial: Trial, folder: Path, emit: Emit) -> dict[str, Any]:
        prepared, c = self.prepared(trial), trial.choice
        model = train.build(c.model, c.training.initializer, prepared.words, trial.seed)
        training = train.Training(model, c.training, trial.seed, prepared.pairs, folder, self.device)
        return training.run(emit) | {"peak_memory_mb": peak_memory_mb(self.device.type)}

    def _decode(self, trial: Trial, folder: Path) -> dict[str, Any]:
        prepared = self.prepared(trial)
        pairs = prepared.pairs[SPLIT]
        return decode.decode(self.model(trial), trial.choice.decoding, pairs, prepared.target, folder, self.device)

    def _score(self, trial: Trial, folder: Path) -> dict[str, Any]:
        found, nll = decode.load(self.store.folder("decode", trial.stages["decode"].key))
        references = [row["references"] for row in self.prepared(trial).texts[SPLIT]]
        part: Dataset = trial.choice.data.dataset.build(folders=self.folders)
        scoring = trial.choice.decoding.scoring
        statistics = score.sentence_statistics(
            [hypothesis.text for hypothesis in found],
            references,
            tokenize=scoring.tokenize,
            lowercase=scoring.lowercase,
            value=part.value if part.numeric else None,
            nll=nll["nll"].numpy(),
            free_nll=nll["free_nll"].numpy(),
            truncated=[hypothesis.truncated for hypothesis in found],
            metrics=scoring.wanted,
        )
        save_file(statistics, folder / "sentences.safetensors")
        scores = score.corpus_scores(statistics)
        signed = score.signatures(references, tokenize=scoring.tokenize, lowercase=scoring.lowercase)
        said = {name: {"value": value, "signature": signed[name]} for name, value in scores.items()}
        (folder / "scores.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
        return {"metrics": scores}


def sentence_arrays(folder: Path) -> dict[str, Any]:
    """Read the per-sentence statistics that a score stage wrote, by name, N x k."""
    return dict(load_file(folder / "sentences.safetensors"))


def _stage(name: str, choice: dict[str, Any], parts: list[str], before: dict[str, Stage]) -> Stage:
    """Return a stage that depends on its own choices and on the last stage before it."""
    upstream = list(before.values())[-1:]
    key = digest({"stage": name, "choice": choice, "upstream": [stage.key for stage in upstream]})
    inputs = {stage.name: stage.key for stage in before.values()}
    return Stage(name, key, choice, fingerprint([f"harness.{name}", *parts]), inputs)
