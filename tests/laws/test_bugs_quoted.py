"""Every known mistake quotes code that is there: one that nobody could plant any more would go unnoticed until it is planted."""

from __future__ import annotations

from typing import Any

import pytest
import test_bugs
import test_ensemble_bugs
import test_plugin_bugs
import test_training_bugs

TABLES: dict[str, list[Any]] = {
    "models": test_bugs.BUGS,
    "ensembles": test_ensemble_bugs.BUGS,
    "training": test_training_bugs.BUGS,
    # Functions of plugins are named by a text: these are loaded by test_plugins.py alone.
    "plugins": [bug for bugs in test_plugin_bugs.BUGS.values() for bug in bugs if not isinstance(bug[1], str)],
}


@pytest.mark.parametrize("table", TABLES)
def test_every_bug_quotes_code_that_is_there(table: str) -> None:
    wrong = []
    for name, function, old, *_ in TABLES[table]:
        try:
            test_bugs.quoted(function, old)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)
