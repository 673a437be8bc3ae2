"""Fixtures of the laws: every model of the sample, every search."""

from __future__ import annotations

import functools
import json
from typing import Any

import choices
import pytest


@functools.cache
def _built(text: str) -> Any:
    return choices.build(json.loads(text))


@pytest.fixture(params=choices.params())
def model(request: pytest.FixtureRequest) -> Any:
    """A model of the sample; built once, and no law may change it."""
    return _built(json.dumps(request.param))


@pytest.fixture(params=choices.params())
def plain(request: pytest.FixtureRequest) -> Any:
    """The plain choice of a model of the sample."""
    return request.param
