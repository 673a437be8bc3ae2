from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.analysis.outcome import Attended, Attention
from harness.report import attention_maps
from harness.report.drawing import Order
from unit.report.test_pages import synthetic


def attended(source: str, said: str) -> Attended:
    words, answer = source.split(), said.split()
    rising = np.arange(1.0, len(words) + 1)
    return Attended(words, answer, np.stack([rising / rising.sum()] * len(answer)))


def trials(*examples: Attended):
    return [replace(o, attention=Attention(np.eye(2), list(examples))) for o in synthetic(seeds=2, sentences=10)]


def test_the_first_trial_of_each_variant_offers_its_sentences_with_weights_in_percent():
    done = trials(attended("a b c", "x y"), attended("d e", "z"))
    found = attention_maps.attention_maps(done, list(dict.fromkeys(o.variant for o in done))).data()["maps"]
    assert [one["variant"] for one in found][:2] == ["mask=true, token, seed 1", "mask=true, padded, seed 1"] and len(
        found
    ) == 4
    first, second = found[0]["sentences"]
    assert (first["source"], first["said"]) == (["a", "b", "c"], ["x", "y"]) and first["weights"] == [[17, 33, 50]] * 2
    assert second["weights"] == [[33, 67]]


def test_long_sentences_and_variants_out_of_focus_are_left_out(monkeypatch):
    done = trials(attended("w " * 31, "x"), attended("a b", "x"))
    names = list(dict.fromkeys(o.variant for o in done))
    order = Order(names, {}, lower=False)
    order.focus = names[:2]
    found = attention_maps.attention_maps(done, order).data()["maps"]
    assert len(found) == 2 and [one["source"] for one in found[0]["sentences"]] == [["a", "b"]]
    assert attention_maps.attention_maps(synthetic(seeds=1, sentences=10), names) is None
    monkeypatch.setattr(attention_maps, "CELLS", 5)
    assert len(attention_maps.attention_maps(done, names).data()["maps"]) == 2
