"""Files for other programs: the citation, the summary for language models, the image of a container."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from harness.core.spec import parse_yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INSTRUCTIONS = {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}


def test_the_citation_has_what_its_format_requires() -> None:
    """The required fields of the Citation File Format 1.2.0, and facts that stand elsewhere too."""
    found: Any = parse_yaml((ROOT / "CITATION.cff").read_text(encoding="utf-8"), "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["cff-version"] == "1.2.0" and all("name" in author for author in found["authors"])
    assert [str(found["version"]), found["license"]] == [PROJECT["version"], PROJECT["license"]]


def test_the_summary_for_language_models_is_formed_and_its_links_lead_somewhere() -> None:
    lines = (ROOT / "llms.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# seq2seq-harness" and lines[2].startswith("> ")
    listed = [line for line in lines if line.startswith("- ")]
    assert listed and all(
        (match := re.match(r"- \[[^]]+\]\(([^)]+)\)", line)) and (ROOT / match[1]).is_file() for line in listed
    )


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments, continued lines as one."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.M).replace("\\\n", " ")
    return [
        (word, rest.strip()) for line in text.splitlines() if line.strip() for word, _, rest in [line.partition(" ")]
    ]


def test_the_dockerfile_follows_the_rules() -> None:
    """No tool that builds images is here: these are rules that hadolint checks, and facts of this repository."""
    found = instructions()
    words = [word for word, _ in found]
    assert set(words) <= INSTRUCTIONS and words[0] == "FROM" and words.count("FROM") == 1
    image, _, tag = found[0][1].partition(":")
    version = re.match(r"(\d+)\.(\d+)-", tag)
    assert image == "python" and version and (int(version[1]), int(version[2])) >= (3, 11)
    assert next(rest for word, rest in reversed(found) if word == "USER") != "root"
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert not re.search(r"\bsudo\b|apt-get|\bcd ", " ".join(rest for _, rest in found))
    for word, rest in found:
        assert word not in ("ENTRYPOINT", "CMD") or rest.startswith("["), "a list: signals reach the program"
    assert any("-c constraints.txt" in rest for word, rest in found if word == "RUN")


def test_the_image_copies_what_is_there_and_what_the_package_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {source for word, rest in instructions() if word == "COPY" for source in shlex.split(rest)[:-1]}
    assert ignored[0] == "*" and copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    assert {"pyproject.toml", PROJECT["readme"], "harness", "variants", "studies"} <= copied
