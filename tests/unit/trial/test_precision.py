"""A search in bf16 rounds products alone, and says what that changed on a sample."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.core.spec import override, read
from harness.report.rounding import rounding_rows
from harness.storage.store import Store
from harness.trial import decoded, precision
from harness.trial.decoded import Hypothesis
from harness.trial.pipeline import Corridor, Trial, TrialChoice
from harness.trial.precision import differences, sampled, searching
from tests.unit.trial.test_pipeline import trial

CPU = torch.device("cpu")


def rounded() -> Trial:
    plain = trial().plain
    choice = override(TrialChoice, plain["choice"], {"decoding.precision": "bf16"})
    return Trial(read(TrialChoice, choice), plain["seed"], plain["revision"])


def test_products_are_rounded_and_softmax_is_not() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 300).requires_grad_(False), torch.randn(7, 64)
    with searching("bf16", CPU):
        logits = layer(x)
        logs = [logits.log_softmax(-1), torch.log_softmax(logits, -1), torch.nn.functional.log_softmax(logits, -1)]
        others = [logits.softmax(-1), torch.softmax(logits, -1), logits.logsumexp(-1), torch.logsumexp(logits, -1)]
    assert logits.dtype == torch.bfloat16 and {part.dtype for part in (*logs, *others)} == {torch.float32}
    assert 0 < float((logits - layer(x)).abs().max()) < 0.02
    assert torch.equal(logs[0], logits.float().log_softmax(-1)) and all(torch.equal(logs[0], log) for log in logs[1:])
    with searching("fp32", CPU):
        assert layer(x).dtype == torch.float32 and x.bfloat16().softmax(-1).dtype == torch.bfloat16


def test_the_sample_is_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sampled(3) == [0, 1, 2]
    monkeypatch.setattr(precision, "SAMPLE", 4)
    assert sampled(10) == [0, 2, 5, 7] and sampled(4) == [0, 1, 2, 3]


def test_what_differs_is_counted() -> None:
    found = [Hypothesis("a", [4], -1.0, False), Hypothesis("b", [5], -2.0, False), Hypothesis("a", [4], -1.0, True)]
    exact = {0: Hypothesis("a", [4], -1.5, False), 1: Hypothesis("a", [4], -1.0, False), 2: found[0]}
    assert differences(found, exact) == {"sentences": 3, "differ": 2, "score_difference": 0.5}


def test_a_choice_of_its_own_that_changes_decoding_alone() -> None:
    plain, other = trial(), rounded()
    assert {name for name in plain.stages if plain.stages[name].key != other.stages[name].key} == {"decode", "score"}


def test_a_trial_reports_how_fp32_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "SAMPLE", 4)
    corridor = Corridor(Store(tmp_path / "runs"), (), "cpu")
    exact = {name: record for name, record, _ in corridor.run(trial(), lambda _: None)}
    ran = {name: record for name, record, _ in corridor.run(rounded(), lambda _: None)}
    assert "fp32" not in exact["decode"].facts and rounding_rows(list(exact.values())) == []
    in_fp32, in_bf16 = (decoded.load_hypotheses(each["decode"].folder) for each in (exact, ran))
    some = decoded.load_fp32(ran["decode"].folder)
    assert list(some) == [0, 2, 5, 7]
    assert all(some[row].tokens == in_fp32[row].tokens for row in some), "as a study in fp32 has it"
    assert any(one.score != other.score for one, other in zip(in_fp32, in_bf16, strict=True)), "products are rounded"
    facts = ran["decode"].facts["fp32"]
    assert facts["sentences"] == 4 and 0 < facts["score_difference"] < 1 and facts["seconds"] > 0
    scores = ran["score"].facts["fp32"]
    assert scores["fp32"].keys() == scores["bf16"].keys() >= {"exact_match"}
    first, second = rounding_rows(list(ran.values()))
    assert first[1].startswith(f"{facts['differ']} of 4 hypotheses") and "exact_match +" in second[1]
