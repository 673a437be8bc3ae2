from __future__ import annotations

import json
from dataclasses import replace

from harness.analysis import TestSet
from harness.report import panels
from unit.report.test_pages import synthetic


def trials(said: str, sources: list[str]):
    test = TestSet(name="t", sources=sources, references=[[text, "other"] for text in sources])
    return [replace(o, test=test, hypotheses=[said] * len(sources)) for o in synthetic(seeds=2, sentences=10)]


def test_a_panel_says_what_the_trial_says_where_its_log_lies_and_how_to_ask_it():
    found = panels.panels(trials("four", ["don't stop", "b", "c", "d"]))
    first = found["trials"][0]
    assert first["said"] == ["four"] * 3 and found["sentences"][first["test"]][0] == [
        "don't stop",
        "don't stop",
        "other",
    ]
    assert found["asked"] == ["'don'\"'\"'t stop'"] and found["variants"][first["variant"]] == "mask=true, token"
    assert first["log"] == f"stages/train/{first['trial']}/curve.jsonl" and first["last"].startswith(
        "update 1,000: dev_nll "
    )


def test_a_failed_trial_names_its_reason_and_its_file():
    outcomes = trials("four", ["a"])
    outcomes[1] = replace(outcomes[1], status="diverged", reason="loss is NaN", account="all", hypotheses=[], curve=[])
    failed = panels.panels(outcomes)["trials"][1]
    assert (
        failed["reason"] == "loss is NaN"
        and failed["log"] == f"failures/{failed['trial']}.txt"
        and "said" not in failed
    )


def test_long_texts_are_cut_and_fewer_sentences_stand_where_trials_are_many(monkeypatch):
    found = panels.panels(trials("x" * 500, ["y" * 500, "b", "c"]))
    assert {len(text) for one in found["trials"] for text in one["said"]} == {panels.CUT}
    assert len(found["sentences"][0][0][0]) == panels.CUT
    monkeypatch.setattr(panels, "ROOM", 8 * 2 * 200)
    found = panels.panels(trials("x" * 500, ["a", "b", "c"]))
    assert {len(one["said"]) for one in found["trials"]} == {2} and len(found["sentences"][0]) == 2
    assert len(json.dumps(found)) < 6_000


def test_trials_without_a_test_set_have_panels_too():
    outcomes = [replace(o, test=TestSet(), hypotheses=[], curve=[]) for o in synthetic(seeds=1, sentences=10)]
    found = panels.panels(outcomes)
    assert found["sentences"] == [] and [one["said"] for one in found["trials"]] == [[]] * 4
