"""Facts about a machine: those that decide the last bits of a training tell machines apart."""

from __future__ import annotations

import pytest

from harness.core import provenance

TWO_CORES = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: AMD EPYC
stepping\t: 1

processor\t: 1
cpu family\t: 1
model\t\t: 1
model name\t: another core
"""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(provenance.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(provenance.platform, "processor", lambda: "arm")
    return monkeypatch


def said(kernel: pytest.MonkeyPatch, text: str) -> str:
    kernel.setattr(provenance.Path, "read_text", lambda *_, **__: text)
    return provenance._processor()


def test_two_generations_with_one_name_are_two_processors(kernel: pytest.MonkeyPatch) -> None:
    """Virtual machines call Zen 4 and Zen 5 both "AMD EPYC"; they round products otherwise."""
    fourth, fifth = (said(kernel, TWO_CORES.format(family=f, model=m)) for f, m in ((25, 17), (26, 2)))
    assert fourth == "AMD EPYC (family 25, model 17), 2 cores"
    assert fifth == "AMD EPYC (family 26, model 2), 2 cores"


def test_a_processor_without_such_numbers_has_its_name_alone(kernel: pytest.MonkeyPatch) -> None:
    assert said(kernel, "processor\t: 0\nBogoMIPS\t: 243.75\n\nprocessor\t: 1\n") == "arm, 2 cores"


def test_a_machine_that_does_not_describe_its_processor_has_a_name_all_the_same(kernel: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    kernel.setattr(provenance.Path, "read_text", absent)
    assert provenance._processor() == "arm, 2 cores"
