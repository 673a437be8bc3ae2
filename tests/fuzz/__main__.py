"""Coverage-guided fuzzing of one target: ``python -m tests.fuzz TARGET SECONDS FOLDER``, inputs and findings in the folder."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["harness", "variants"], enable_loader_override=False):
    from tests.fuzz.guard import hold
    from tests.fuzz.targets import targets

LARGEST = 1 << 16
"""Bytes of an input."""


def main() -> None:
    """Feed the target for so long; an input that does harm ends the process with its traceback."""
    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]).absolute()
    for room in ("corpus", "found", "work"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    target = targets(folder / "work")[name]
    for number, seed in enumerate(target.seeds):
        (folder / "corpus" / f"seed-{number}").write_bytes(seed)
    words = ["".join(map(r"\x{:02x}".format, word)) for word in target.words if 0 < len(word) < 65]
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")
    limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-timeout=30", "-rss_limit_mb=4096"]
    places = [f"-dict={folder / 'words'}", f"-artifact_prefix={folder / 'found'}/", str(folder / "corpus")]
    atheris.Setup(
        [sys.argv[0], *limits, "-print_final_stats=1", *places], lambda data: hold(folder / "work", target.use, data)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
