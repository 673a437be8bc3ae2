"""Reproducible comparison of sequence-to-sequence variants.

The Python interface, loaded when first used::

    import harness

    study = harness.load_study("masking", seeds=3)
    study.run(jobs=2)
    study.trials()      # a pandas frame, one row per trial
    study.answers()     # a pandas frame, one row per claim

    model = harness.load_model(study.trials()["trial"][0])
    model.translate(["forty two"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.workflows.api import (
        Attended,
        Hypothesis,
        Study,
        TrainedModel,
        bases,
        load_model,
        load_study,
    )
    from harness.workflows.write_report import StudyAnswer

__all__ = ["Attended", "Hypothesis", "Study", "StudyAnswer", "TrainedModel", "bases", "load_model", "load_study"]


def __getattr__(name: str) -> Any:
    """Load the interface when one of its names is first used: ``import harness`` alone loads nothing heavy."""
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    if name == "StudyAnswer":
        from harness.workflows.write_report import StudyAnswer

        return StudyAnswer
    from harness.workflows import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """Return the names of the interface."""
    return __all__
