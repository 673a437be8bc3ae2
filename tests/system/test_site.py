"""The site that `make docs` builds: every page is there, and every link leads somewhere."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKER: dict[str, Any] = runpy.run_path(str(ROOT / "docs/site.py"), run_name="site_maker")


EXTERNAL = re.compile(r"[a-z]+:")


class Seen(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := found.get(name))]
        self.anchors |= {found["id"] or ""} if "id" in found else set()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    folder = tmp_path_factory.mktemp("site")
    return folder, MAKER["build"](folder)


def broken(folder: Path, pages: list[Path]) -> list[str]:
    """Return the links of pages that lead nowhere."""
    seen = {page: Seen(page) for page in pages}
    found = []
    for page, link in ((p, link) for p in pages for link in seen[p].links if not EXTERNAL.match(link)):
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        lost = not target.is_file() or not target.is_relative_to(folder)
        if lost or (anchor and target in seen and anchor not in seen[target].anchors):
            found.append(f"{page.relative_to(folder)}: {link}")
    return found


def test_every_page_of_the_manual_is_in_the_site(site: tuple[Path, list[Path]]) -> None:
    folder, pages = site
    assert (folder / "index.html") in pages
    for source in (ROOT / "docs").glob("*.md"):
        assert (folder / "docs" / source.with_suffix(".html").name) in pages


def test_every_link_of_the_site_leads_somewhere(site: tuple[Path, list[Path]]) -> None:
    assert broken(*site) == []


def test_links_within_reports_lead_somewhere(site: tuple[Path, list[Path]]) -> None:
    folder, _ = site
    report = folder / "docs/examples/plurals/results/endings/nouns/report.html"
    assert broken(folder, [report]) == []


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<p id="here"><a href="#there">x</a><a href="nowhere.html">y</a><a href="#here">z</a></p>')
    assert broken(tmp_path, [page]) == ["page.html: #there", "page.html: nowhere.html"]
