"""The place of a plan among the attempts at its study, in words for reports."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Standing(BaseModel):
    """The place of a plan among the attempts at a study on its base."""

    model_config = ConfigDict(frozen=True)

    number: int = 1
    """1 for the first plan that was frozen on this base; a plan that is frozen again after others counts again."""
    registered: str = ""
    """When it was registered; "" if it was not."""
    seen: dict[str, int] = {}
    """Earlier plans whose results could be seen when it was frozen, with their finished trials."""
    batches: list[list[int]] = []
    """Where the study declares ``unplanned:``, its seeds, batch by batch; a plan that only adds seeds is no further attempt."""
    sealed: dict[str, int] = {}
    """Those of them whose test split was sealed: their results are of the validation split."""
    again: bool = False
    """Whether the plan had been frozen before, and others after it."""

    @property
    def sentence(self) -> str:
        """One sentence for a report; "" for a first attempt that was not registered."""
        registered = f"Registered on {self.registered}. " if self.registered else ""
        registered += f"{self._added} " if self.batches else ""
        if self.number == 1:
            return registered.strip()
        return f"{registered}Attempt {self.number} at this study on this data: {self._saw}."

    @property
    def tested(self) -> dict[str, int]:
        """Those of the earlier plans whose results are of the test split."""
        return {plan: count for plan, count in self.seen.items() if plan not in self.sealed}

    @property
    def _saw(self) -> str:
        """What had been seen, in words."""
        if not self.seen:
            return "no results had been seen"
        told = [_saw(self.tested)] if self.tested else []
        told += [f"{_saw(self.sealed)} on the validation split"] if self.sealed else []
        fresh = not self.tested and not self.again
        return "; ".join([*told, *(["the test split had not been seen"] if fresh else [])])

    @property
    def _added(self) -> str:
        sizes = [str(len(batch)) for batch in self.batches]
        if len(sizes) == 1:
            return "Seeds may be added (`unplanned: combine`): half of the level is kept for that."
        return (
            f"{sizes[0]} seeds, then {', then '.join(sizes[1:])} more after results could be seen, as declared by `unplanned: "
            "combine`: means of batches are weighed by the square root of their size; p and intervals hold over all looks."
        )


def _saw(seen: Mapping[str, int]) -> str:
    plans, trials = f"{len(seen)} earlier plan{'s' * (len(seen) != 1)}", ", ".join(f"{n:,}" for n in seen.values())
    return f"results of {plans} had been seen ({trials} finished trials)"
