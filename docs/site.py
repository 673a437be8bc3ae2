"""Builds the manual as a small static site: every page of Markdown as HTML, and the files that pages link to.

``make docs`` writes it into ``site/``. The site has the tree of the repository, so that links stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "Begin": ["README.md", "docs/README.zh.md", "docs/first-study.md", "docs/questions.md", "docs/reading-a-report.md",
              "docs/examples/README.md", "docs/course.md"],
    "Look up": ["docs/commands.md", "docs/reference-commands.md", "docs/study-files.md", "docs/data.md", "docs/parts.md",
                "docs/reference-parts.md", "docs/python.md", "docs/statistics.md", "docs/verify.md", "docs/gpu.md",
                "docs/cluster.md", "docs/performance.md", "docs/troubleshooting.md", "docs/limits.md", "docs/security.md"],
    "Behind it": ["studies/LOG.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/README.md"],
}  # fmt: skip
"""The contents, in reading order; further pages of ``docs/`` follow under "Look up"."""
WHOLE = ("results", "studies", "docs/examples")
"""Folders that are copied: reports link to files within them."""
LEFT_OUT = shutil.ignore_patterns("tables", "failures", "*.png", "*.pdf", "*.md", "__pycache__", "runs", "mine")
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
CHINESE = ".zh"


class Page(NamedTuple):
    """A page of Markdown."""

    source: Path
    """From the root of the repository."""
    title: str

    @property
    def target(self) -> Path:
        """Its place in the site."""
        return address(self.source)


def address(source: Path) -> Path:
    """Return the place of a page in the site; the first page of the repository is that of the site."""
    return Path("index.html") if source == Path("README.md") else source.with_suffix(".html")


def contents() -> dict[str, list[Page]]:
    """Return all pages by the parts of the contents."""
    listed = {part: [ROOT / name for name in names] for part, names in PARTS.items()}
    known = {path for paths in listed.values() for path in paths}
    listed["Look up"] += [path for path in sorted((ROOT / "docs").glob("*.md")) if path not in known]
    return {part: [_page(path) for path in paths if path.exists()] for part, paths in listed.items()}


def _page(path: Path) -> Page:
    heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.M)
    return Page(path.relative_to(ROOT), heading[1] if heading else path.stem)


def build(site: Path) -> list[Path]:
    """Write the site into a folder, and return its pages.

    Raises:
        FileNotFoundError: a page links to a file that is not there.
    """
    parts, written = contents(), []
    for name in WHOLE:
        shutil.copytree(ROOT / name, site / name, ignore=LEFT_OUT, dirs_exist_ok=True)
    template = jinja2.Environment(autoescape=True).from_string((ROOT / "docs/site.html.j2").read_text(encoding="utf-8"))
    for page in (page for pages in parts.values() for page in pages):
        tokens = MARKDOWN.parse((ROOT / page.source).read_text(encoding="utf-8"))
        _anchor(tokens)
        _point(tokens, page, site, {p.source for pages in parts.values() for p in pages})
        body = Markup(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))
        up = os.path.relpath(".", page.target.parent)
        language = "zh" if CHINESE in page.source.name else "en"
        html = template.render(page=page, parts=parts, body=body, up=up, language=language)
        (site / page.target).parent.mkdir(parents=True, exist_ok=True)
        (site / page.target).write_text(html + "\n", encoding="utf-8", newline="\n")
        written.append(site / page.target)
    return written


def _anchor(tokens: Sequence[Token]) -> None:
    """Give headings the anchors that GitHub gives them."""
    seen: dict[str, int] = {}
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            slug = re.sub(r"[^\w\- ]", "", inline.content.lower()).replace(" ", "-")
            seen[slug] = seen.get(slug, -1) + 1
            opening.attrSet("id", f"{slug}-{seen[slug]}" if seen[slug] else slug)


def _point(tokens: Sequence[Token], page: Page, site: Path, pages: set[Path]) -> None:
    """Let links lead to pages of the site, copy other files that they name, and leave folders unlinked."""
    for token in _links(tokens):
        name = "src" if token.type == "image" else "href"
        link = str(token.attrGet(name) or "")
        path, _, anchor = link.partition("#")
        if re.match("[a-z]+:", link) or not path:
            continue
        source = Path(os.path.relpath(ROOT / page.source.parent / path, ROOT))
        target = _target(source, site, pages)
        if target is None:
            token.tag, token.attrs = "span", {}
        else:
            token.attrSet(name, os.path.relpath(target, page.target.parent) + (f"#{anchor}" if anchor else ""))


def _links(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield images and the openings of links; the closing of a link that loses its target follows its opening."""
    for inline in (token.children or [] for token in tokens):
        for index, token in enumerate(inline):
            if token.type in ("image", "link_open"):
                yield token
            if token.type == "link_open" and token.tag == "span":
                next(t for t in inline[index:] if t.type == "link_close").tag = "span"


def _target(source: Path, site: Path, pages: set[Path]) -> Path | None:
    """Return the place in the site of a page or file of the repository; None of a folder."""
    if source in pages:
        return address(source)
    here = ROOT / source
    if here.is_dir():
        return None
    if here.suffix == ".md" and here.with_suffix(".html").exists():  # a report
        return source.with_suffix(".html")
    (site / source).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(here, site / source)
    return source


if __name__ == "__main__":
    into = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    print(f"{len(build(into))} pages: {into / 'index.html'}")
