"""One trial through the corridor: prepare, train, decode, score; each stage cached by the digest of all it depends on."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from harness.contracts import Dataset
from harness.core.fingerprint import fingerprint
from harness.core.provenance import place, provenance
from harness.core.spec import SpecError, digest_of_plain, encode, read
from harness.storage.checkpoint import Postponed
from harness.storage.store import Record, Stage, Store
from harness.trial import (
    decode_stage,
    encoded,
    prepare,
    pretrain_stage,
    pretraining_data,
    score_stage,
    sealed,
    test_sets,
    train_stage,
)
from harness.trial.encoded import TEST
from harness.trial.model import Seq2Seq
from harness.trial.sealed import VALIDATION, Split
from harness.trial.train import CHECKPOINT_EVERY, Emit, Workplace
from harness.trial.trial_choice import TrialChoice as TrialChoice
from harness.trial.trial_choice import modules, without_tests

WORKERS: dict[str, ModuleType] = {
    "prepare": prepare,
    "test": test_sets,
    "pretraining_data": pretraining_data,
    "pretrain": pretrain_stage,
    "train": train_stage,
    "decode": decode_stage,
    "score": score_stage,
}
"""The module that does each kind of stage, upstream first."""
KINDS = tuple(WORKERS)
"""Every kind of stage; ``test`` reads and encodes a further test set, ``pretrain`` is there where training does not begin
from the initializer alone, and ``pretraining_data`` before it where that reads other data."""
DATA = ("prepare", "test", "pretraining_data")
"""The kinds of stages that read data."""


def named(kind: str, test: str = "") -> str:
    """Return the name of a stage within its trial: its kind, after the name of the further test set that it is about."""
    return f"{test}/{kind}" if test else kind


_PLAIN: dict[int, tuple[TrialChoice, dict[str, Any], dict[str, Any]]] = {}
"""Choices as plain data, by the identity of the choice, which is kept so that no other takes its place."""
MOST = 2000
"""Choices that are kept as plain data."""


def _plain(choice: TrialChoice, *, meaning: bool) -> dict[str, Any]:
    """Return a choice as plain data, or only its meaning; all seeds of a variant share its choice."""
    known = _PLAIN.get(id(choice))
    if known is None or known[0] is not choice:
        if len(_PLAIN) >= MOST:
            _PLAIN.clear()
        known = _PLAIN[id(choice)] = choice, encode(choice), encode(choice, meaning=True)
    _, spelled, meant = known
    return meant if meaning else spelled


@dataclass(frozen=True)
class Trial:
    """A variant and a seed on a dataset as it is now: what is trained, decoded and scored."""

    choice: TrialChoice
    seed: int
    revision: str
    """What the data depend on beyond the choice: a hash of files, a commit of the hub."""
    tests: Mapping[str, str] = field(default_factory=dict)
    """The same of every further test set, by name."""
    other_revision: str = ""
    """The same of the dataset that is pretrained on, where that is not the trial's own."""
    split: Split = "test"
    """The split that is decoded and scored; while it is ``validation``, the test split and further test sets are sealed."""

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stages of this trial by name, upstream first; trials that share a beginning share its stages.

        ``prepare``, ``train``, ``decode`` and ``score``; and for each further test set a ``test``, ``decode`` and ``score``
        of its own (see ``named``), on which none of these four depends.
        """
        c, sets = self.choice, self.choice.data.tests if self.split == TEST else {}
        prepared = self._stage("prepare", modules(c.data.dataset, c.data.source, c.data.target), [])
        pretrained = self._pretrained(prepared)
        training = [value for name, value in c.training if name != "pretraining"]
        trained = self._stage("train", modules(c.model, *training), [prepared, *pretrained])
        read_by = {name: self._stage("test", modules(dataset), [prepared], name) for name, dataset in sets.items()}
        made = {
            "prepare": prepared,
            **{named("test", name): stage for name, stage in read_by.items()},
            **{stage.name: stage for stage in pretrained},
            "train": trained,
        }
        for name in ("", *sets):
            upstream = [prepared, *([read_by[name]] if name else []), *pretrained, trained]
            made[named("decode", name)] = decoded = self._stage("decode", modules(c.model, c.decoding.search), upstream)
            metrics = [metric.cfg for metric in c.decoding.scoring.wanted.values()]
            scoring = modules(sets[name] if name else c.data.dataset, *metrics)
            made[named("score", name)] = self._stage("score", scoring, [*upstream, decoded])
        return made

    def _pretrained(self, prepared: Stage) -> list[Stage]:
        """Return the stages before training, where it does not begin from the initializer alone."""
        c, start, other = self.choice, self.choice.training.pretraining, self.choice.other_data
        if not start.part.begins:
            return []
        data = [] if other is None else [self._stage("pretraining_data", modules(other), [prepared])]
        settings = [value for _, value in start if value is not other]
        code = [start.part.__module__, *modules(c.model, c.training.initializer, *settings)]
        return [*data, self._stage("pretrain", code, [prepared, *data])]

    def _stage(self, kind: str, parts: Sequence[str], upstream: Sequence[Stage], test: str = "") -> Stage:
        """Return a stage, named by the digest of its own choice and of the stages that it directly depends on.

        Args:
            kind: which stage.
            parts: the modules of the parts that do the work.
            upstream: all stages that it depends on, directly or not; the last one directly.
            test: the name of the further test set that it reads.
        """
        spelled, meant = (self._choice_of(kind, test, meaning=only) for only in (False, True))
        edges = [stage.key for stage in upstream[-1:]]
        edges += [stage.key for stage in upstream if kind == "decode" and stage.name == "test"]
        key = digest_of_plain({"stage": kind, "choice": meant, "upstream": edges})
        seal = [sealed.__name__] if self.split == VALIDATION and kind in ("decode", "score") else []
        code = fingerprint([WORKERS[kind].__name__, *seal, *parts])
        return Stage(kind, key, spelled, code, {stage.name: stage.key for stage in upstream})

    def _choice_of(self, kind: str, test: str, *, meaning: bool) -> dict[str, Any]:
        """Return what a stage depends on beyond the stages before it, as plain data."""
        plain = _plain(self.choice, meaning=meaning)
        if kind == "prepare":
            data = {name: value for name, value in plain["data"].items() if name != "tests"}
            return {"data": data, "revision": self.revision}
        if kind == "test":
            return {"dataset": plain["data"]["tests"][test], "revision": self.tests[test]}
        if kind == "pretraining_data":
            return {"dataset": encode(self.choice.other_data, meaning=meaning), "revision": self.other_revision}
        if kind == "pretrain":
            known = ("initializer", "pretraining", "fixed")  # a stream that is fixed may be that of the first values
            begun = {name: value for name, value in plain["training"].items() if name in known}
            return begun | {"model": plain["model"], "seed": self.seed}
        if kind == "train":
            return {"model": plain["model"], "training": plain["training"], "seed": self.seed}
        if kind == "decode":
            return {name: value for name, value in plain["decoding"].items() if name != "scoring"} | {
                "split": self.split
            }
        return {"scoring": plain["decoding"]["scoring"]}

    @property
    def digest(self) -> str:
        """The name of this trial: the key of the last stage of its main test; further test sets do not change it."""
        return self.stages["score"].key

    @property
    def plain(self) -> dict[str, Any]:
        """The trial as plain data, for a file or another process; see ``of``."""
        further: dict[str, Any] = {"tests": dict(self.tests)} if self.tests else {}
        further |= {"other_revision": self.other_revision} if self.choice.other_data is not None else {}
        further |= {"split": self.split} if self.split != TEST else {}
        return {"choice": encode(self.choice), "seed": self.seed, "revision": self.revision} | further

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Trial:
        """Return the trial that plain data describe.

        Raises:
            SpecError: they are no trial.
        """
        known = plain.get("tests", {}), plain.get("other_revision", ""), plain.get("split", TEST)
        return cls(read(TrialChoice, plain["choice"]), plain["seed"], plain["revision"], *known)

    @property
    def alone(self) -> Trial:
        """The trial without its further test sets."""
        return replace(self, choice=without_tests(self.choice), tests={})

    @property
    def unsealed(self) -> Trial:
        """The same training, decoded and scored on the test split."""
        return replace(self, split="test")

    @property
    def sealed(self) -> Trial:
        """The same training, decoded and scored on the validation split."""
        return replace(self.alone, split=VALIDATION)


def restore(store: Store, beginning: str) -> Trial:
    """Return the finished trial whose digest begins so, from what its last stage says it is.

    Raises:
        SpecError: there is none, or several, or what it says of itself is damaged.
    """
    known = (path.parent.name for path in (store.root / "stages" / "score").glob(f"*/{score_stage.TRIAL}"))
    found = sorted(name for name in known if name.startswith(beginning))
    if len(found) != 1 or not beginning:
        many = "no finished trial" if not found else f"{len(found)} finished trials"
        has = "has a digest" if len(found) < 2 else "have digests"
        raise SpecError(f"{many} {has} starting with '{beginning}'; trials.csv of a report lists the digests")
    return Trial.of(json.loads((store.verified("score", found[0]) / score_stage.TRIAL).read_text(encoding="utf-8")))


class Corridor:
    """Runs trials on one device, out of and into one store; what several trials share is loaded once."""

    def __init__(
        self,
        store: Store,
        folders: tuple[Path, ...],
        device: str,
        *,
        keep_stale: bool = False,
        checkpoint_every: float = CHECKPOINT_EVERY,
        wait: bool = True,
    ) -> None:
        self.store, self.folders, self.device, self.keep_stale = store, folders, torch.device(device), keep_stale
        self.checkpoint_every, self.wait = checkpoint_every, wait
        self._prepared: tuple[str, encoded.Prepared] | None = None

    def run(self, trial: Trial, emit: Emit, kinds: Collection[str] = KINDS) -> Iterator[tuple[str, Record, bool]]:
        """Run the stages of a trial in turn; yield each one's name, its record, and whether it was there.

        Args:
            trial: whose stages.
            emit: hears of what begins, and how the training goes.
            kinds: the kinds of stages to run; those that they depend on are there or among them.

        Raises:
            SpecError: the data cannot be used.
            Incompatible: parts of the model cannot meet.
            Diverged: the training did.
            Busy: another process is at a stage, and is not to be waited for or gives no sign of life.
        """
        stages = {name: stage for name, stage in trial.stages.items() if stage.name in kinds}
        self._distrust(list(stages.values()))
        work: dict[str, Callable[[str, Path], dict[str, Any]]] = {
            "prepare": lambda _, folder: prepare.prepare(trial.choice.data, trial.revision, self.folders, folder),
            "test": lambda test, folder: self._read_test(trial, test, folder),
            "pretraining_data": lambda _, folder: self._read_other_data(trial, folder),
            "pretrain": lambda _, folder: self._pretrain(trial, self._workplace(folder, emit, stop)),
            "train": lambda _, folder: self._train(trial, self._workplace(folder, emit, stop)),
            "decode": lambda test, folder: self._decode(trial, test, folder),
            "score": lambda test, folder: self._score(trial, test, folder),
        }
        for name, stage in stages.items():
            on = partial(work[stage.name], name.rpartition("/")[0])
            produce, facts = partial(self._begin, stage, on, emit), provenance(self.device)
            # A training that has ended is sealed before a signal is heard: there is no checkpoint of its end.
            trains = stage.name in ("pretrain", "train")
            held: Postponed | nullcontext[None] = Postponed() if trains else nullcontext()
            with held as stop:
                made = self.store.make(stage, produce, facts, keep_stale=self.keep_stale, wait=self.wait)
            yield name, *made

    @staticmethod
    def _begin(stage: Stage, produce: Callable[[Path], dict[str, Any]], emit: Emit, folder: Path) -> dict[str, Any]:
        emit({"stage": stage.name})
        return produce(folder)

    def _workplace(self, folder: Path, emit: Emit, stop: Postponed | None) -> Workplace:
        return Workplace(folder, self.device, place(self.device), emit, self.checkpoint_every, stop)

    def _distrust(self, stages: Sequence[Stage]) -> None:
        """Set aside what is damaged of the stages that those to be done will read, so that it is done anew."""
        usable = ("done", "stale") if self.keep_stale else ("done",)
        missing = [stage for stage in stages if self.store.state(stage)[0] not in usable]
        for name, key in dict.fromkeys(edge for stage in missing for edge in stage.inputs.items()):
            record = self.store.record(name, key)
            if record is not None and not self.store.sound(record):
                self.store.set_aside(name, key, wait=self.wait)

    def model(self, trial: Trial) -> Seq2Seq:
        """Return the trained model of a trial.

        Raises:
            Damaged: it is not what was written.
        """
        c, trained = trial.choice, self._folder(trial, "train")
        return decode_stage.trained_model(c.model, c.training.members, self.prepared(trial), trained, self.device)

    def prepared(self, trial: Trial) -> encoded.Prepared:
        """Return the prepared data of a trial; the last ones are kept.

        Raises:
            Damaged: they are not what was written.
        """
        key = trial.stages["prepare"].key
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = key, encoded.load(self._folder(trial, "prepare"))
        return self._prepared[1]

    def tested(self, trial: Trial) -> encoded.Prepared:
        """Return the prepared data of a trial as decoding and scoring see them: without the test split while it is sealed."""
        prepared = self.prepared(trial)
        return sealed.sealed(prepared) if trial.split == VALIDATION else prepared

    def _folder(self, trial: Trial, name: str) -> Path:
        """Return the folder of a finished stage of a trial."""
        return self.store.verified(trial.stages[name].name, trial.stages[name].key)

    def _further(self, trial: Trial, test: str) -> Path | None:
        """Return the folder of a further test set; None for the main one."""
        return self._folder(trial, named("test", test)) if test else None

    def _read_test(self, trial: Trial, test: str, folder: Path) -> dict[str, Any]:
        choice, revision = trial.choice.data.tests[test], trial.tests[test]
        at = f"data.tests.{test}"
        return test_sets.prepare(choice, revision, self.prepared(trial), self.folders, folder, at)

    def _read_other_data(self, trial: Trial, folder: Path) -> dict[str, Any]:
        data, other = trial.choice.data, trial.choice.other_data
        assert other is not None, "there is no such stage without other data"
        read_as = other, trial.other_revision, data
        return pretraining_data.prepare(*read_as, self.prepared(trial), self.folders, folder)

    def _pretrain(self, trial: Trial, at: Workplace) -> dict[str, Any]:
        c, other = trial.choice, trial.choice.other_data
        data = None if other is None else self._folder(trial, "pretraining_data")
        return pretrain_stage.run(c.model, c.training, trial.seed, self.prepared(trial), at, data)

    def _train(self, trial: Trial, at: Workplace) -> dict[str, Any]:
        c = trial.choice
        start = self._folder(trial, "pretrain") if "pretrain" in trial.stages else None
        return train_stage.run(c.model, c.training, trial.seed, self.prepared(trial), at, start)

    def _decode(self, trial: Trial, test: str, folder: Path) -> dict[str, Any]:
        model, further = self.model(trial), self._further(trial, test)
        return decode_stage.run(model, trial.choice.decoding, self.tested(trial), further, folder, self.device)

    def _score(self, trial: Trial, test: str, folder: Path) -> dict[str, Any]:
        hypotheses, further = self._folder(trial, named("decode", test)), self._further(trial, test)
        data, scoring = trial.choice.data, trial.choice.decoding.scoring
        dataset: Dataset = (data.tests[test] if test else data.dataset).build(folders=self.folders)
        if not test:
            score_stage.write_trial(trial.alone.plain, folder)
        return score_stage.run(scoring, dataset, self.tested(trial), further, hypotheses, folder)
