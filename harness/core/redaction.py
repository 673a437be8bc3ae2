"""Masks passwords and tokens in texts that are printed, logged or stored: error messages quote addresses that hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

MASK = "***"
SHORTEST = 4
"""Shorter values of the environment are not masked: masking every ``1`` would reveal more than it hides."""
_NAMED = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_NOT_SECRET = re.compile(r"PARALLELISM|_FILE$|_PATH$", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-z][\w+.-]*://)(?P<user>[^\s:/@'\"<>]*:[^\s'\"<>]*|[^\s/'\"<>]*)@", re.IGNORECASE
)
"""A password may hold anything but blanks and quotes, as people forget to encode it; rather mask too much."""
_QUERY = re.compile(
    r"(?P<name>[?&;][\w.-]*(?:password|passwd|token|secret|key|signature)=)[^\s&;'\"<>]+", re.IGNORECASE
)
_HEADER = re.compile(
    r"(?P<kind>authorization\W{1,4}(?:basic|bearer) +)[\w+/=.~-]+"
    r"|(?P<bare>\b(?:basic|bearer) +)(?=[\w+/=.~-]*(?-i:[\dA-Z+/=]))[\w+/=.~-]{8,}",
    re.IGNORECASE,
)
"""After the header's name any word is a secret; elsewhere only words unlike prose: 'a basic attention' is not masked."""
_SETTING = re.compile(r"true|false|yes|no|on|off|none|null|auto|[\d.]+", re.IGNORECASE)
"""Values of settings that are called a token for another reason: ``MAX_TOKENS=4096``."""


def masked(text: str) -> str:
    """Return a text with ``***`` in place of each secret.

    Secrets are credentials in addresses (``https://user:password@host``), queries such as ``?password=``, authorization
    headers, and the values of environment variables whose names contain password, token, secret or key.
    """
    return masker()(text)


def masker() -> Callable[[str], str]:
    """Return ``masked`` for many texts: the environment, which takes longer than a text, is searched only now."""
    secrets = sorted(set(_known()), key=len, reverse=True)

    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, MASK)
        text = _ADDRESS.sub(rf"\g<scheme>{MASK}@", text)
        text = _QUERY.sub(rf"\g<name>{MASK}", text)
        return _HEADER.sub(lambda found: (found["kind"] or found["bare"]) + MASK, text)

    return mask


def _known() -> Iterator[str]:
    """Yield the secrets of the environment in each spelling that an address or a message can have."""
    for name, value in os.environ.items():
        secrets = [found["user"] for found in _ADDRESS.finditer(value)]
        secrets += [found["user"].partition(":")[2] for found in _ADDRESS.finditer(value)]
        if _NAMED.search(name) and not _NOT_SECRET.search(name) and not _SETTING.fullmatch(value):
            secrets.append(value)
        for secret in secrets:
            for spelling in (secret, unquote(secret), quote(secret, safe="")):
                if len(spelling) >= SHORTEST:
                    yield spelling
