"""The reference pages of the manual are what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.cli import reference
from harness.core.registry import SLOTS

DOCS = Path(__file__).resolve().parents[3] / "docs"


WRITE = "import sys; from pathlib import Path; from harness.cli import reference; reference.main(Path(sys.argv[1]))"


def test_the_reference_is_current(tmp_path: Path) -> None:
    """In a process of its own: other tests register parts."""
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], cwd=DOCS.parent, check=True)
    for name in reference.PAGES:
        page = (DOCS / name).read_text(encoding="utf-8")
        assert page == (tmp_path / name).read_text(encoding="utf-8"), "the code has changed: run `make docs`"


def test_every_part_and_branch_has_its_heading() -> None:
    page = reference.parts()
    for slot, contract in SLOTS.items():
        assert f"\n## {slot}\n" in page
        assert all(f"\n### {slot}: {kind}\n" in page for kind in contract.kinds)
    assert "\n## branch training\n" in page and "| `accumulate` | `int >= 1` | `1` |" in page


def test_commands_show_options_defaults_and_what_repeats() -> None:
    page = reference.commands()
    assert "| `--set PATH=VALUE`, repeatable | Set one choice of all variants. |  |" in page
    assert "| `--checkpoint-every SECONDS` | Time of training between two checkpoints. | `60.0` |" in page
    assert "\n## s2s new part\n\n    s2s new part SLOT KIND\n" in page
