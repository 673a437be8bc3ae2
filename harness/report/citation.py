"""How to cite a report: an entry for BibTeX that names plan, results and code by what identifies them."""

from __future__ import annotations

import re

from harness.report.facts import StudyFacts
from harness.report.section import Listing, Section
from harness.report.tex_text import escaped

ABOUT = (
    "The digest of the plan names the question, all choices, seeds and claims; that of the results names the scores. Whoever has "
    "the study file can compute both again. Put the names of those who ran the study in place of the author."
)


def section(study: StudyFacts) -> Section:
    """Return the section of a report that says how to cite it; empty where no result is known."""
    if not study.provenance.get("results"):
        return Section("cite", "Cite this report")
    return Section("cite", "Cite this report", ABOUT, listings=[Listing("BibTeX", entry(study))])


def entry(study: StudyFacts) -> list[str]:
    """Return the lines of a BibTeX entry; a text in it cannot end its field."""
    finished = str(study.provenance.get("finished", ""))
    commits = dict.fromkeys(
        o["git"]["commit"][:12] for o in study.provenance.get("made_with", []) if o["git"]["commit"]
    )
    known = {"plan": study.digest, "results": study.provenance["results"], "commit": ", ".join(commits)}
    note = "; ".join(f"{name} {value}" for name, value in known.items() if value)
    key = re.sub(r"[^a-z0-9-]", "", f"{study.name}-{study.base}-{study.digest[:8]}".lower())
    fields = {
        "author": "{Names of the authors}",
        "title": f"{{{_field(f'{study.name} on {study.base}: {study.question}')}}}",
        "howpublished": "Report of seq2seq-harness",
        "year": finished[:4],
        "note": _field(note),
    }
    return [f"@misc{{{key},", *(f"  {name} = {{{value}}}," for name, value in fields.items() if value), "}"]


def _field(text: str) -> str:
    """Return a text for a field: on one line, escaped; BibTeX counts every brace, an escaped one too."""
    return escaped(text.replace("{", "(").replace("}", ")"))
