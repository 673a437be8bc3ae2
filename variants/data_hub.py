"""Datasets of the Hugging Face hub, or local copies of them."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from harness.contracts import Dataset, Row, Rows
from harness.contracts.row_reader import (
    HELD_OUT,
    NO_COLUMNS,
    ReadRows,
    add_file,
    cell_text,
    cell_texts,
    named_columns,
    source_text,
)
from harness.core.formats import nested
from harness.core.names import file_name
from harness.core.registry import register, suggest
from harness.core.spec import SpecError

BATCH = 1000
COMMIT = re.compile("[0-9a-f]{40}")


@register("hub")
class Hub(ReadRows):
    """A dataset of the Hugging Face hub, at the commit that its revision names.

    ``S2S_HUB_MIRROR`` names a folder of local copies: where it holds a folder called like the id, that is read instead.
    """

    class Config(Dataset.Config):
        """Names the dataset, its columns and its splits."""

        id: str
        """Name on the hub, as in ``bentrevett/multi30k``."""
        name: str | None = None
        """Name of a configuration, where the dataset has several."""
        revision: str | None = None
        """Branch, tag or commit; a commit of 40 digits is read from the cache without a network."""
        source: str | Mapping[str, str]
        """Column of the source, or its language where the texts are in a column ``translation``.

        ``{lemma: lemma, tags: features}`` makes fields of several columns, for the tokenizer ``fields``. ``none``: there is no
        source, and a model of the references alone is trained.
        """
        reference: str
        """Column of the reference (a list holds several), or its language."""
        train: str = "train"
        """Name of the training split."""
        validation: str = "validation"
        """Name of the validation split; where it is ``validation``, ``val`` serves too."""
        test: str = "test"
        """Name of the test split."""
        carve_validation: float | None = Field(default=None, gt=0, lt=1)
        """Fraction of the sources of training that is validation, where there is no such split."""
        carve_test: float | None = Field(default=None, gt=0, lt=1)
        """Fraction of the sources of training that is the test, where there is no such split."""
        limit: int | None = Field(default=None, ge=1)
        """Most rows of every split, the first ones."""
        skip_empty: bool = False
        """Leave out rows whose source or reference is empty, instead of refusing them."""
        group: str | None = Field(default=None, json_schema_extra={"neutral": None})
        """Column whose value is the group that no carving parts; none makes a group of the rows of one source."""
        columns: tuple[str, ...] | Mapping[str, str] = Field(
            default=NO_COLUMNS, json_schema_extra={"neutral": NO_COLUMNS}
        )
        """Columns that travel with the rows, to group scores by; ``{category: label}`` gives one another name."""

        @field_validator("id")
        @classmethod
        def _is_a_name(cls, value: str) -> str:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?", value) or ".." in value:
                raise ValueError(f"{value!r:.80} is no dataset id of the hub, such as bentrevett/multi30k")
            for part in value.split("/"):  # it names folders of a local copy
                file_name(part, "a dataset")
            return value

    cfg: Config

    def __init__(self, cfg: Config, folders: tuple[Path, ...] = (), scratch: Path | None = None) -> None:
        super().__init__(cfg, folders, scratch)
        self._commit = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the choice names."""
        return tuple(named_columns(self.cfg.columns))

    @property
    def unit(self) -> str:
        """The column that rows are grouped by."""
        return self.cfg.group or ""

    def revision(self) -> str:
        """Return the commit that the hub resolves the revision to; of a local copy, the sha256 of its files.

        Raises:
            SpecError: the hub cannot be reached, or does not know the dataset.
        """
        folder = self._mirror()
        if folder is None:
            pinned = self.cfg.revision or ""
            return pinned if COMMIT.fullmatch(pinned) else self._ask()
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            add_file(digest, path.relative_to(folder).as_posix(), path)
        return digest.hexdigest()

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits.

        Raises:
            SpecError: the hub cannot be reached, or a split or column does not exist.
        """
        self.left_out = {}
        with ExitStack() as stack:
            return self.carve(self._splits(self._load(stack)))

    def _splits(self, loaded: Any) -> dict[str, Rows]:
        cfg, found = self.cfg, {}
        for name in ("train", *HELD_OUT):
            wanted = getattr(cfg, name)
            wanted = "val" if wanted == "validation" and "validation" not in loaded and "val" in loaded else wanted
            if wanted in loaded:
                found[name] = Rows.of(
                    self.keep(self._read(wanted, loaded[wanted]), name), self.scratch, named_columns(cfg.columns)
                )
            elif name == "train" or getattr(cfg, f"carve_{name}") is None:
                hint = "" if name == "train" else f"; or set carve_{name} to a fraction of training"
                raise SpecError(f"{cfg.id} has no split {wanted!r}; {suggest(wanted, loaded)}{hint}", path=name)
        return found

    def _read(self, name: str, split: Any) -> Iterator[Row]:
        split = split.select(range(min(len(split), self.cfg.limit or len(split))))
        cfg, named = self.cfg, named_columns(self.cfg.columns)
        sources = list(cfg.source.values()) if isinstance(cfg.source, Mapping) else [cfg.source]
        sources = [] if cfg.source == "none" else sources
        wanted = [*sources, cfg.reference, *named.values(), *([cfg.group] if cfg.group else [])]
        columns = [self._column(name, split, column) for column in wanted]
        for number, cells in enumerate(zip(*columns, strict=True), 1):
            place = f"{cfg.id} {name} row {number}"
            source = source_text(cells[: len(sources)], cfg.source, place)
            reference, *others = cells[len(sources) :]
            kept = {name: cell_text(cell, place) for name, cell in zip(named, others, strict=False)}
            texts = cell_texts(reference, place)
            group = cell_text(cells[-1], place) if cfg.group else source or "".join(texts[:1])
            yield Row(source, texts, group, place, kept)

    def _column(self, name: str, split: Any, column: str) -> Iterator[Any]:
        """Return the values of a column, read a batch at a time."""
        known = list(split.column_names)
        if column in known:
            return _values(split, column)
        first = split[0] if len(split) else dict.fromkeys(known)
        head = column.partition(".")[0] if column.partition(".")[0] in known else "translation"
        try:
            nested(first, column)
        except KeyError as error:
            hint = suggest(column, error.args[0])
            raise SpecError(f"split {name!r} of {self.cfg.id} has no column {column!r}; {hint}") from None
        return (nested({head: value}, column) for value in _values(split, head))

    def _mirror(self) -> Path | None:
        mirror = os.environ.get("S2S_HUB_MIRROR")
        # Absolute, because some ids are names of the library's own readers, which read what lies in the working folder.
        folder = Path(mirror).absolute() / self.cfg.id if mirror else None
        return folder if folder is not None and folder.is_dir() else None

    def _ask(self) -> str:
        """Return the commit of the revision; asked of the hub once, without trying again."""
        import huggingface_hub  # here, because listing the parts should not wait for it

        if not self._commit:
            try:
                found = huggingface_hub.HfApi().dataset_info(self.cfg.id, revision=self.cfg.revision, timeout=5)
            except Exception as error:  # the client raises errors of several HTTP libraries
                raise SpecError(self._unreachable(error), path="id") from None
            if not COMMIT.fullmatch(str(found.sha)):
                raise SpecError(f"the hub names no commit of {self.cfg.id} but {found.sha!r:.80}", path="id")
            self._commit = str(found.sha)
        return self._commit

    def _load(self, stack: ExitStack) -> Any:
        """Return the splits of the dataset; of a local copy, as long as the stack is open."""
        import datasets  # here, because listing the parts should not wait for it
        import huggingface_hub

        folder, cfg = self._mirror(), self.cfg
        if folder is None:
            if Path(cfg.id).exists():
                raise SpecError(
                    f"{cfg.id} is also a folder of the working folder, which would be read instead", path="id"
                )
            if cfg.id in datasets.packaged_modules._PACKAGED_DATASETS_MODULES:
                raise SpecError(
                    f"'{cfg.id}' is a reader of files; name its owner too, as in bentrevett/multi30k", path="id"
                )
            commit = self.revision()
            if not huggingface_hub.constants.HF_HUB_OFFLINE:
                self._ask()  # fails at once, where loading would try again for half a minute
        try:
            if folder is None:
                return datasets.load_dataset(cfg.id, cfg.name, revision=commit)
            # The common cache goes by modification times, not by content.
            cache = stack.enter_context(tempfile.TemporaryDirectory(dir=self.scratch))
            return datasets.load_dataset(str(folder), cfg.name, cache_dir=cache)
        except ConnectionError as error:
            raise SpecError(self._unreachable(error), path="id") from None
        except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            raise SpecError(f"{cfg.id} cannot be loaded: {error.__cause__ or error}", path="id") from None

    def _unreachable(self, error: Exception) -> str:
        reason = str(error).strip().splitlines()[:1]
        return (
            f"{self.cfg.id} cannot be had from the hub ({' '.join(reason)}). No network, a private dataset and a wrong id"
            " cannot be told apart: check the id and the revision; without a network, set S2S_HUB_MIRROR to a folder that"
            " holds a copy, pin a cached commit and set HF_HUB_OFFLINE=1, or read files (kind: files)"
        )


def _values(split: Any, column: str) -> Iterator[Any]:
    return chain.from_iterable(batch[column] for batch in split.select_columns([column]).iter(BATCH))
