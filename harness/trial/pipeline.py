"""One trial through the corridor: prepare, train, decode, score; each stage cached by the digest of all it depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from harness.contracts import Dataset
from harness.core.fingerprint import fingerprint
from harness.core.provenance import forget_peak_memory, peak_memory_mb, place, provenance
from harness.core.registry import Choice
from harness.core.spec import SpecError, digest, encode, read
from harness.storage.checkpoint import Postponed
from harness.storage.store import Record, Stage, Store
from harness.trial import decode, flops, prepare, score, train
from harness.trial.decode import DecodingChoice
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.prepare import DataChoice
from harness.trial.train import Emit, TrainingChoice

SPLIT = "test"
ROOMS = {
    "prepare": ["harness.trial.prepare"],
    "train": ["harness.trial.train", "harness.trial.flops"],
    "decode": ["harness.trial.decode"],
    "score": ["harness.trial.score"],
}
"""The modules that do each stage, upstream first."""
STAGES = tuple(ROOMS)


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
        c = self.choice
        said, meant = self._by_stage(encode(c)), self._by_stage(encode(c, meaning=True))
        parts: dict[str, list[Choice]] = {
            "prepare": [c.data],
            "train": [c.model, c.training],
            "decode": [c.model, c.decoding],
            "score": [c.data],
        }
        made: dict[str, Stage] = {}
        for name in STAGES:
            upstream = [stage.key for stage in made.values()][-1:]
            key = digest({"stage": name, "choice": meant[name], "upstream": upstream})
            rooms = [*ROOMS[name], *(module for part in parts[name] for module in modules(part))]
            code = fingerprint(rooms, alone=[__name__])  # what stands here puts every stage to work
            made[name] = Stage(name, key, said[name], code, {stage.name: stage.key for stage in made.values()})
        return made

    def _by_stage(self, plain: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return what each stage depends on beyond the stages before it."""
        decoding = {name: value for name, value in plain["decoding"].items() if name != "scoring"}
        return {
            "prepare": {"data": plain["data"], "revision": self.revision},
            "train": {"model": plain["model"], "training": plain["training"], "seed": self.seed},
            "decode": decoding | {"split": SPLIT},
            "score": {"scoring": plain["decoding"]["scoring"]},
        }

    @property
    def digest(self) -> str:
        """The name of this trial: the key of its last stage."""
        return self.stages["score"].key


def restore(store: Store, beginning: str) -> Trial:
    """Return the finished trial whose digest begins so, from what its last stage says it is.

    Raises:
        SpecError: there is none, or several, or what it says of itself is damaged.
    """
    found = sorted(path.name for path in (store.root / "stages" / "score").glob("*") if path.name.startswith(beginning))
    if len(found) != 1 or not beginning:
        many = "no finished trial" if not found else f"{len(found)} finished trials"
        raise SpecError(f"the digest of {many} begins with '{beginning}'; trials.csv of a report lists the digests")
    said = json.loads((store.verified("score", found[0]) / "trial.json").read_text(encoding="utf-8"))
    return Trial(read(TrialChoice, said["choice"]), said["seed"], said["revision"])


def modules(choice: Any) -> list[str]:
    """Return the modules of all parts that a choice names, however deep."""
    if not isinstance(choice, Choice):
        return []
    own = [type(choice).part.__module__] if choice.kind else []
    return own + [name for field in type(choice).model_fields for name in modules(getattr(choice, field))]


class Corridor:
    """Runs trials on one device, out of and into one store; what several trials share is loaded once."""

    def __init__(
        self,
        store: Store,
        folders: tuple[Path, ...],
        device: str,
        *,
        keep_stale: bool = False,
        checkpoint_every: float = train.CHECKPOINT_EVERY,
        wait: bool = True,
    ) -> None:
        self.store, self.folders, self.device, self.keep_stale = store, folders, torch.device(device), keep_stale
        self.checkpoint_every, self.wait = checkpoint_every, wait
        self._prepared: tuple[str, prepare.Prepared] | None = None

    def run(self, trial: Trial, emit: Emit, last: str = STAGES[-1]) -> Iterator[tuple[str, Record, bool]]:
        """Run the stages of a trial in turn, up to ``last``; yield each one's name, its record, and whether it was there.

        Raises:
            SpecError: the data cannot be used.
            Incompatible: parts of the model cannot meet.
            Diverged: the training did.
            Busy: another process is at a stage, and is not to be waited for or gives no sign of life.
        """
        stages = list(trial.stages.values())[: STAGES.index(last) + 1]
        self._distrust(stages)
        work: dict[str, Callable[[Path], dict[str, Any]]] = {
            "prepare": lambda folder: prepare.prepare(trial.choice.data, trial.revision, self.folders, folder),
            "train": lambda folder: self._train(trial, folder, emit, stop),
            "decode": lambda folder: self._decode(trial, folder),
            "score": lambda folder: self._score(trial, folder),
        }
        for stage in stages:
            produce, facts = partial(self._begin, stage, work[stage.name], emit), provenance(self.device)
            # A training that has ended is sealed before a signal is heard: there is no checkpoint of its end.
            held: Postponed | nullcontext[None] = Postponed() if stage.name == "train" else nullcontext()
            with held as stop:
                made = self.store.make(stage, produce, facts, keep_stale=self.keep_stale, wait=self.wait)
            yield stage.name, *made

    @staticmethod
    def _begin(stage: Stage, produce: Callable[[Path], dict[str, Any]], emit: Emit, folder: Path) -> dict[str, Any]:
        emit({"stage": stage.name})
        return produce(folder)

    def _distrust(self, stages: Sequence[Stage]) -> None:
        """Set aside what is damaged of the stages that those to be done will read, so that it is done anew."""
        usable = ("done", "stale") if self.keep_stale else ("done",)
        missing = [place for place, stage in enumerate(stages) if self.store.state(stage)[0] not in usable]
        for stage in stages[: missing[-1]] if missing else ():
            record = self.store.record(stage.name, stage.key)
            if record is not None and not self.store.sound(record):
                self.store.set_aside(stage.name, stage.key, wait=self.wait)

    def model(self, trial: Trial) -> Seq2Seq:
        """Return the trained model of a trial.

        Raises:
            Damaged: it is not what was written.
        """
        model = Seq2Seq(trial.choice.model, self.prepared(trial).words)
        train.load_model(model, self.store.verified("train", trial.stages["train"].key) / "model.safetensors")
        return model.to(self.device).eval()

    def prepared(self, trial: Trial) -> prepare.Prepared:
        """Return the prepared data of a trial; the last ones are kept.

        Raises:
            Damaged: they are not what was written.
        """
        stage = trial.stages["prepare"]
        if self._prepared is None or self._prepared[0] != stage.key:
            self._prepared = stage.key, prepare.load(self.store.verified("prepare", stage.key))
        return self._prepared[1]

    def _train(self, trial: Trial, folder: Path, emit: Emit, stop: Postponed | None) -> dict[str, Any]:
        forget_peak_memory(self.device)
        prepared, c = self.prepared(trial), trial.choice
        model = train.build(c.model, c.training.initializer, prepared.words, trial.seed)
        here = place(self.device)
        training = train.Training(model, c.training, trial.seed, prepared.pairs, folder, self.device, here)
        facts = training.run(emit, self.checkpoint_every, stop) | {"peak_memory_mb": peak_memory_mb(self.device)}
        updater = training.updater
        per_token = flops.training_flops(
            model, updater.objective, updater.forcing, prepared.pairs["train"], facts["updates"] // 2
        )
        return facts | {"train_flops_per_token": per_token, "train_flops": per_token * facts["target_tokens"]}

    def _decode(self, trial: Trial, folder: Path) -> dict[str, Any]:
        prepared = self.prepared(trial)
        pairs, vocabularies = prepared.pairs[SPLIT], (prepared.source, prepared.target)
        return decode.decode(self.model(trial), trial.choice.decoding, pairs, *vocabularies, folder, self.device)

    def _score(self, trial: Trial, folder: Path) -> dict[str, Any]:
        found, nll, oracle = decode.load(self.store.verified("decode", trial.stages["decode"].key))
        part: Dataset = trial.choice.data.dataset.build(folders=self.folders)
        whole = {"choice": encode(trial.choice), "seed": trial.seed, "revision": trial.revision}
        (folder / "trial.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")
        return score.score(
            trial.choice.decoding.scoring,
            [hypothesis.text for hypothesis in found],
            [row["references"] for row in self.prepared(trial).texts[SPLIT]],
            folder,
            value=part.value if part.numeric else None,
            nll=nll["nll"].numpy(),
            free_nll=nll["free_nll"].numpy(),
            truncated=[hypothesis.truncated for hypothesis in found],
            model_scores=[hypothesis.score for hypothesis in found],
            oracle=oracle,
        )
