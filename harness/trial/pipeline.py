"""One trial through the corridor: prepare, train, decode, score; each stage cached by the digest of all it depends on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch
from pydantic import model_validator

from harness.contracts import Dataset, Pretraining
from harness.core.fingerprint import fingerprint
from harness.core.provenance import forget_peak_memory, peak_memory_mb, place, provenance
from harness.core.registry import Choice
from harness.core.spec import SpecError, digest, encode, read
from harness.storage.checkpoint import Postponed
from harness.storage.store import Record, Stage, Store
from harness.trial import decode, flops, prepare, score, test_sets, train
from harness.trial.batches import Pairs
from harness.trial.decode import DecodingChoice
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.prepare import DataChoice
from harness.trial.score import FITTING
from harness.trial.train import Emit, TrainingChoice

SPLIT = "test"
WORKERS: dict[str, tuple[ModuleType, ...]] = {
    "prepare": (prepare,),
    "test": (test_sets,),
    "pretrain": (train,),
    "train": (train, flops),
    "decode": (decode,),
    "score": (score,),
}
"""The modules that do each kind of stage, upstream first."""
KINDS = tuple(WORKERS)
"""Every kind of stage; ``test`` reads and encodes a further test set, ``pretrain`` is there where training does not begin
from the initializer alone."""
DATA = ("prepare", "test")
"""The kinds of stages that read data."""


def named(kind: str, test: str = "") -> str:
    """Return the name of a stage within its trial: its kind, after the name of the further test set that it is about."""
    return f"{test}/{kind}" if test else kind


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

    @model_validator(mode="after")
    def _written_out(self) -> Self:
        """Name the tokenizer of the metrics where the trial leaves it to the target tokenizer."""
        scoring = self.decoding.scoring
        if scoring.tokenize != FITTING:
            return self
        fitting = scoring.model_copy(update={"tokenize": self.data.target.part.words})
        return self.model_copy(update={"decoding": self.decoding.model_copy(update={"scoring": fitting})})


@dataclass(frozen=True)
class Trial:
    """A variant and a seed on a dataset as it is now: what is trained, decoded and scored."""

    choice: TrialChoice
    seed: int
    revision: str
    """What the data depend on beyond the choice: a hash of files, a commit of the hub."""
    tests: Mapping[str, str] = field(default_factory=dict)
    """The same of every further test set, by name."""

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stages of this trial by name, upstream first; trials that share a beginning share its stages.

        ``prepare``, ``train``, ``decode`` and ``score``; and for each further test set a ``test``, ``decode`` and ``score``
        of its own (see ``named``), on which none of these four depends.
        """
        c, sets = self.choice, self.choice.data.tests
        prepared = self._stage("prepare", [c.data], [])
        start, begins = c.training.pretraining, c.training.pretraining.part.begins
        pretrained = [self._stage("pretrain", [c.model, c.training.initializer, start], [prepared])] if begins else []
        trained = self._stage("train", [c.model, c.training], [prepared, *pretrained])
        read_by = {name: self._stage("test", [dataset], [prepared], name) for name, dataset in sets.items()}
        made = {
            "prepare": prepared,
            **{named("test", name): stage for name, stage in read_by.items()},
            **{stage.name: stage for stage in pretrained},
            "train": trained,
        }
        for name in ("", *sets):
            upstream = [prepared, *([read_by[name]] if name else []), *pretrained, trained]
            made[named("decode", name)] = decoded = self._stage("decode", [c.model, c.decoding], upstream)
            metrics = [metric.cfg for metric in c.decoding.scoring.wanted.values()]
            scoring = [sets[name] if name else c.data, *metrics]
            made[named("score", name)] = self._stage("score", scoring, [*upstream, decoded])
        return made

    def _stage(self, kind: str, parts: Sequence[Choice], upstream: Sequence[Stage], test: str = "") -> Stage:
        """Return a stage, named by the digest of its own choice and of the stages that it directly depends on.

        Args:
            kind: which stage.
            parts: the choices whose parts do the work.
            upstream: all stages that it depends on, directly or not; the last one directly.
            test: the name of the further test set that it reads.
        """
        spelled, meant = (self._choice_of(kind, encode(self.choice, meaning=only), test) for only in (False, True))
        edges = [stage.key for stage in upstream[-1:]]
        edges += [stage.key for stage in upstream if kind == "decode" and stage.name == "test"]
        key = digest({"stage": kind, "choice": meant, "upstream": edges})
        doing = [module.__name__ for module in WORKERS[kind]] + [name for part in parts for name in modules(part)]
        code = fingerprint(doing, alone=[__name__])  # this module puts every stage to work
        return Stage(kind, key, spelled, code, {stage.name: stage.key for stage in upstream})

    def _choice_of(self, kind: str, plain: dict[str, Any], test: str) -> dict[str, Any]:
        """Return what a stage depends on beyond the stages before it."""
        if kind == "prepare":
            data = {name: value for name, value in plain["data"].items() if name != "tests"}
            return {"data": data, "revision": self.revision}
        if kind == "test":
            return {"dataset": plain["data"]["tests"][test], "revision": self.tests[test]}
        if kind == "pretrain":
            begun = {name: plain["training"][name] for name in ("initializer", "pretraining")}
            return begun | {"model": plain["model"], "seed": self.seed}
        if kind == "train":
            return {"model": plain["model"], "training": plain["training"], "seed": self.seed}
        if kind == "decode":
            return {name: value for name, value in plain["decoding"].items() if name != "scoring"} | {"split": SPLIT}
        return {"scoring": plain["decoding"]["scoring"]}

    @property
    def digest(self) -> str:
        """The name of this trial: the key of the last stage of its main test; further test sets do not change it."""
        return self.stages["score"].key

    @property
    def alone(self) -> Trial:
        """The trial without its further test sets."""
        return Trial(without_tests(self.choice), self.seed, self.revision)


def without_tests(choice: TrialChoice) -> TrialChoice:
    """Return the choice of a trial without further test sets."""
    return choice.changed(data=choice.data.changed(tests={})) if choice.data.tests else choice


def restore(store: Store, beginning: str) -> Trial:
    """Return the finished trial whose digest begins so, from what its last stage says it is.

    Raises:
        SpecError: there is none, or several, or what it says of itself is damaged.
    """
    known = (path.parent.name for path in (store.root / "stages" / "score").glob("*/trial.json"))
    found = sorted(name for name in known if name.startswith(beginning))
    if len(found) != 1 or not beginning:
        many = "no finished trial" if not found else f"{len(found)} finished trials"
        has = "has a digest" if len(found) < 2 else "have digests"
        raise SpecError(f"{many} {has} starting with '{beginning}'; trials.csv of a report lists the digests")
    said = json.loads((store.verified("score", found[0]) / "trial.json").read_text(encoding="utf-8"))
    return Trial(read(TrialChoice, said["choice"]), said["seed"], said["revision"])


def modules(choice: Any) -> list[str]:
    """Return the modules of all parts that a choice names, however deep; further test sets have stages of their own."""
    if isinstance(choice, Mapping):
        return [name for inner in choice.values() for name in modules(inner)]
    if not isinstance(choice, Choice):
        return []
    own = [type(choice).part.__module__] if choice.kind else []
    fields = [field for field in type(choice).model_fields if not (field == "tests" and isinstance(choice, DataChoice))]
    return own + [name for field in fields for name in modules(getattr(choice, field))]


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
            "pretrain": lambda _, folder: self._pretrain(trial, folder, emit, stop),
            "train": lambda _, folder: self._train(trial, folder, emit, stop),
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

    def _pretrain(self, trial: Trial, folder: Path, emit: Emit, stop: Postponed | None) -> dict[str, Any]:
        """Write the parameters that training begins with."""
        prepared, c = self.prepared(trial), trial.choice
        model = train.build(c.model, c.training.initializer, prepared.words, trial.seed)
        facts: dict[str, Any] = {}

        def study(choice: TrainingChoice, pairs: Mapping[str, Pairs]) -> None:
            training = train.Training(model, choice, trial.seed, dict(pairs), folder, self.device, place(self.device))
            facts.update(training.run(emit, self.checkpoint_every, stop))
            train.load_model(model, folder / "model.safetensors")

        part: Pretraining = c.training.pretraining.build()
        part.start(model, prepared.pairs, study)
        return facts | {"kept": train.save_start(model, part.keeps, folder)}

    def _train(self, trial: Trial, folder: Path, emit: Emit, stop: Postponed | None) -> dict[str, Any]:
        forget_peak_memory(self.device)
        prepared, c = self.prepared(trial), trial.choice
        model = train.build(c.model, c.training.initializer, prepared.words, trial.seed)
        if "pretrain" in trial.stages:
            train.load_start(model, self.store.verified("pretrain", trial.stages["pretrain"].key))
        here = place(self.device)
        pairs = prepared.pairs_for(model.output.copies)
        training = train.Training(model, c.training, trial.seed, pairs, folder, self.device, here)
        facts = training.run(emit, self.checkpoint_every, stop) | {"peak_memory_mb": peak_memory_mb(self.device)}
        updater = training.updater
        per_token = flops.training_flops(
            model, updater.objective, updater.forcing, pairs["train"], facts["updates"] // 2
        )
        return facts | {"train_flops_per_token": per_token, "train_flops": per_token * facts["target_tokens"]}

    def _read_test(self, trial: Trial, test: str, folder: Path) -> dict[str, Any]:
        """Read and encode a further test set."""
        choice, revision = trial.choice.data.tests[test], trial.tests[test]
        place = f"data.tests.{test}"
        return test_sets.prepare(choice, revision, self.prepared(trial), self.folders, folder, place)

    def _tested(self, trial: Trial, test: str, copies: bool = False) -> test_sets.Encoded:
        """Return the main test, or a further test set, as a model that copies or does not reads it."""
        if not test:
            prepared = self.prepared(trial)
            return test_sets.Encoded(prepared.pairs_for(copies)[SPLIT], prepared.texts[SPLIT])
        return test_sets.load(self.store.verified("test", trial.stages[named("test", test)].key), copies)

    def _decode(self, trial: Trial, test: str, folder: Path) -> dict[str, Any]:
        prepared = self.prepared(trial)
        model, vocabularies = self.model(trial), (prepared.source, prepared.target)
        tested = self._tested(trial, test, model.output.copies)
        texts = [row["source"] for row in tested.rows]
        return decode.decode(model, trial.choice.decoding, tested.pairs, *vocabularies, folder, self.device, texts)

    def _score(self, trial: Trial, test: str, folder: Path) -> dict[str, Any]:
        found, nll, oracle = decode.load(self.store.verified("decode", trial.stages[named("decode", test)].key))
        data = trial.choice.data
        part: Dataset = (data.tests[test] if test else data.dataset).build(folders=self.folders)
        if not test:  # by what is written here a trial is found by its digest
            self._write_trial(trial.alone, folder)
        scoring, rows = trial.choice.decoding.scoring, self._tested(trial, test).rows
        scored = score.record(
            [hypothesis.text for hypothesis in found],
            [row["references"] for row in rows],
            tokenize=scoring.tokenize,
            lowercase=scoring.lowercase,
            sources=[row["source"] for row in rows],
            labels=partial(_labels, self.prepared(trial), rows),
            value=part.value if part.numeric else None,
            nll=nll["nll"].numpy(),
            free_nll=nll["free_nll"].numpy(),
            truncated=[hypothesis.truncated for hypothesis in found],
            model_scores=[hypothesis.score for hypothesis in found],
            oracle=oracle,
        )
        return score.score(scoring, scored, folder)

    @staticmethod
    def _write_trial(trial: Trial, folder: Path) -> None:
        whole = {"choice": encode(trial.choice), "seed": trial.seed, "revision": trial.revision}
        (folder / "trial.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")


def _labels(prepared: prepare.Prepared, tested: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return all target texts of the training split, as the model can say them, and of a test set."""
    ids, starts = prepared.pairs["train"].target, prepared.pairs["train"].target_starts.tolist()
    trained = {tuple(ids[start:end].tolist()) for start, end in itertools.pairwise(starts)}
    known = {prepared.target.decode(target) for target in trained}
    return known.union(*(row["references"] for row in tested))
