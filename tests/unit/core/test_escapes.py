"""What models and data contain is shown, never obeyed: by a terminal, a page, a paper, a spreadsheet, a drawing."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.live import Live
from rich.text import Text

from harness.cli import terminal
from harness.cli.arguments import print_json
from harness.core.escapes import HIDDEN, for_spreadsheet, visible
from harness.report import figures, line_charts, pages
from harness.report.html import page
from harness.report.latex import escaped
from harness.report.section import Figure
from harness.report.tables import Table, markdown

ESC, BELL, CSI, TURN, BREAK, HALF = "\x1b", "\x07", "\x9b", "\u202e", "\u2028", "\ud800"
EVIL = f"a{ESC}[2J{ESC}]0;title{BELL}\rb\x08c{CSI}31m{TURN}gnp.exe{BREAK}{HALF}\x00\x7f"
MARKUP = '</script><script>alert(1)</script><img src=x onerror="x()">\' "&amp; |`$x$ \\input{x} % # ~^'
CONTROLS = [chr(n) for n in range(32) if chr(n) not in "\t\n"] + [chr(n) for n in range(0x7F, 0xA0)]


@given(st.text(st.characters(), max_size=40))
@settings(max_examples=300, deadline=None)
def test_nothing_hidden_is_left_and_nothing_else_is_changed(text: str) -> None:
    shown = visible(text)
    assert not HIDDEN.search(shown) and visible(shown) == shown
    assert HIDDEN.sub("", text) == text or shown != text
    if not HIDDEN.search(text):
        assert shown == text


def test_all_control_characters_are_hidden() -> None:
    assert all(
        visible(c) != c for c in [*CONTROLS, *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"]
    )
    kept = "grüße 数字 עברית \u200f العربية 👩\u200d💻 נ\u05b8 é\tx\n"
    assert visible(kept) == kept


@pytest.mark.parametrize("real", [True, False])
def test_a_terminal_obeys_no_text(real: bool) -> None:
    file = io.StringIO()
    screen = terminal.Screen(file=file, force_terminal=real, markup=False, width=300, color_system=None)
    table = terminal.grid([[EVIL, Text(EVIL)]], headers=[EVIL, "b"])
    screen.print(EVIL, Text(EVIL, style="red"), table, sep="\n")
    with Live(Text(EVIL), console=screen, transient=False, auto_refresh=False):
        pass
    # What rich itself says to a terminal: hide the cursor, go up, clear the line.
    said = re.sub(r"\x1b\[(\?25[lh]|\d*[AK])|\r" if real else "(?!)", "", file.getvalue())
    assert not HIDDEN.search(said), ascii(said)
    assert said.count(r"\u001b[2J") >= 4 and r"\u202egnp.exe" in said


def test_errors_and_answers_for_programs_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.complain(EVIL)
    print_json({EVIL: [EVIL]})
    out, err = capsys.readouterr()
    assert not HIDDEN.search(out + err)
    assert json.loads(out) == {EVIL: [EVIL]}


# ------------------------------------------------------------------------------------------------------------- reports


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


def _index(text: str) -> str:
    entry = {
        "study": text,
        "base": text,
        "question": text,
        "date": text,
        "data": [text],
        "datasets": [text],
        "page": f"{text}/report.html",
    }
    said = {"verdict": text, "claim": text, "sign": text, "exploratory": True, "attempt": text, "few": text}
    best = {"variant": text, "of": 2, "metric": text, "score": text, "value": 1.0}
    entry |= {"best": best, "verdicts": [said], "finished": text, "trials": text, "verified": text}
    return page("index.html.j2", entries=[entry], joint={text: text}, signs={text: text})


def test_texts_add_no_tag_and_no_attribute_to_a_page() -> None:
    plain, evil = Tags(_index("a")).seen, Tags(_index(MARKUP + EVIL.replace(HALF, ""))).seen
    assert evil == plain
    assert not HIDDEN.search(_index(EVIL.replace(HALF, "")))


def test_a_script_cannot_be_left_by_what_is_in_it() -> None:
    from jinja2.filters import do_tojson
    from jinja2.nodes import EvalContext
    from jinja2.sandbox import SandboxedEnvironment

    template = pages.jinja2.PackageLoader("harness.report").get_source(SandboxedEnvironment(), "layout.html.j2")[0]
    assert "| tojson }}</script>" in template
    made = str(do_tojson(EvalContext(SandboxedEnvironment()), {"x": MARKUP + BREAK}))
    assert "<" not in made and ">" not in made and json.loads(made) == {"x": MARKUP + BREAK}


def test_markdown_shows_texts_as_they_are() -> None:
    made = markdown(MARKUP + EVIL + "\n| x |\n```\n# h\n![i](j)")
    assert "\n" not in made and "<" not in made and not HIDDEN.search(made)
    for sign in "|`[]#":
        assert f"\\{sign}" in made and sign not in made.replace(f"\\{sign}", "")


def test_latex_shows_texts_as_they_are() -> None:
    made = escaped(MARKUP + EVIL)
    assert not HIDDEN.search(made) and "\\input" not in made and r"\textbackslash{}input\{x\}" in made


CELLS = ["=1+1", "=cmd|' /C calc'!A0", "+cmd()", "-2+3", "@SUM(1)", "\t=1", "\r=1", "-1+cmd|x", "+ step"]
NUMBERS = ["-3.5", "+2", "-1,234.5", "-3.2 to 4.1", "-1e-05", "–", "word", "a=b", "", "'"]


@pytest.mark.parametrize("cell", CELLS)
def test_a_spreadsheet_computes_no_text(cell: str) -> None:
    assert for_spreadsheet(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [*NUMBERS, -3.5, None, True])
def test_numbers_and_words_stay_as_they_are(cell: object) -> None:
    assert for_spreadsheet(cell) == cell


def test_tables_are_written_for_spreadsheets_and_their_numbers_as_ever(tmp_path: Path) -> None:
    frame = pd.DataFrame({"source": ["=1+1", "x"], "delta": [-1.5, 2.0], "n": [1, -2]})
    pages.write_table(tmp_path, Table("examples", ["source"], [["=1+1"], ["x"]], frame))
    assert (tmp_path / "examples.csv").read_text("utf-8") == "source,delta,n\n'=1+1,-1.5,1\nx,2,-2\n"


def test_a_drawing_is_well_formed_whatever_its_labels_say(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "level": [0.0, 1.0], "mean": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5],
    })  # fmt: skip
    drawing = Figure(
        "bleu_by_x", "", lambda: figures.level_curve(line_charts.level_curve(frame, "bleu", MARKUP + EVIL))
    )
    drawn = figures.draw(tmp_path, [drawing])
    root = ET.parse(drawn["bleu_by_x"].files[0]).getroot()
    assert not [node.tag for node in root.iter() if "script" in str(node.tag)]
