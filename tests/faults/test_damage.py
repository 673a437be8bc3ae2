"""A damaged file of a finished study is noticed, and only its stage is done anew: never a wrong number."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import Tell
from test_boundaries import THINNED, warm


@pytest.mark.slow
def test_every_file_of_every_stage_may_be_damaged(tmp_path: Path, tell: Tell) -> None:
    tried = warm("damage.py", str(THINNED), folder=tmp_path)
    wrong = [f"{t['stage']}/{t['file']} ({t['way']}, answered {t['known']}): {t['wrong']}" for t in tried if t["wrong"]]
    ways = Counter(t["way"] for t in tried)
    remade = sum(t["remade"] for t in tried)
    tell(
        f"damage: {len(tried)} damaged files ({', '.join(f'{way} {n}' for way, n in ways.items())}); "
        f"{remade} stages done anew, {len(tried) - remade} not needed and named by gc --check; wrong: {len(wrong)}"
    )
    assert not wrong, "\n".join(wrong)
    assert {"prepare", "train", "decode", "score"} == {t["stage"] for t in tried} and remade
