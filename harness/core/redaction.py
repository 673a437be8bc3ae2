"""Passwords and tokens taken out of what is printed, logged or stored: errors of libraries quote addresses that hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

MASK = "***"
SHORTEST = 4
"""A shorter value of the environment is left: masking every ``1`` would say more than it hides."""
_NAMED = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_NOT_SECRET = re.compile(r"PARALLELISM|_FILE$|_PATH$", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?P<scheme>\b[a-z][\w+.-]*://)(?P<user>[^\s:/@'\"<>]*:[^\s'\"<>]*|[^\s/'\"<>]*)@", re.IGNORECASE
)
"""A password may hold anything but blanks and quotes, for people forget to encode it; better too much is hidden."""
_QUERY = re.compile(
    r"(?P<name>[?&;][\w.-]*(?:password|passwd|token|secret|key|signature)=)[^\s&;'\"<>]+", re.IGNORECASE
)
_HEADER = re.compile(
    r"(?P<kind>authorization\W{1,4}(?:basic|bearer) +)[\w+/=.~-]+"
    r"|(?P<bare>\b(?:basic|bearer) +)(?=[\w+/=.~-]*(?-i:[\dA-Z+/=]))[\w+/=.~-]{8,}",
    re.IGNORECASE,
)
"""Beside the name of the header anything is a secret; elsewhere what no word of prose looks like: 'a basic attention' is none."""
_SETTING = re.compile(r"true|false|yes|no|on|off|none|null|auto|[\d.]+", re.IGNORECASE)
"""What a setting says that is called a token for another reason: ``MAX_TOKENS=4096``."""


def masked(text: str) -> str:
    """Return a text with ``***`` in place of each secret.

    Secrets are who logs in at an address (``https://user:password@host``), queries such as ``?password=``, headers of
    authorization, and the values of environment variables that are called a password, token, secret or key.
    """
    for secret in sorted(set(_known()), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _ADDRESS.sub(rf"\g<scheme>{MASK}@", text)
    text = _QUERY.sub(rf"\g<name>{MASK}", text)
    return _HEADER.sub(lambda found: (found["kind"] or found["bare"]) + MASK, text)


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
