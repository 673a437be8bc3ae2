"""What searching in bf16 changed, in rows of the table on how results were computed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.storage.store import Record


def rounding_rows(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return rows about searches in bf16, which were made in fp32 too on a sample; none if there was none."""
    found = [r.facts["fp32"] for r in records if r.stage.name == "decode" and "fp32" in r.facts]
    if not found:
        return []
    sentences, differ = (sum(facts[name] for facts in found) for name in ("sentences", "differ"))
    apart = sum(facts["score_difference"] * facts["sentences"] for facts in found) / sentences
    seconds = sum(facts["seconds"] for facts in found)
    counts = (
        f"{differ:,} of {sentences:,} hypotheses ({100 * differ / sentences:.2g} %) differ from those in fp32, "
        f"log-probabilities by {apart:.2g} nats on average"
    )
    cost = f"sentences sampled from {len(found)} decodings, searched a second time in {seconds:.3g} s"
    rows = [("search in bf16", f"{counts} ({cost})")]
    both = [r.facts["fp32"] for r in records if r.stage.name == "score" and "fp32" in r.facts]
    names = dict.fromkeys(name for scores in both for name in scores["fp32"])
    changes = {name: [s["bf16"][name] - s["fp32"][name] for s in both if name in s["fp32"]] for name in names}
    spread = (f"{name} {min(each):+.2g} to {max(each):+.2g}" for name, each in changes.items())
    return [*rows, ("scores in bf16 less those in fp32, by decoding, on the sample", ", ".join(spread))]
