"""Reasons why MLflow could not be filled, in one line each: libraries write paragraphs with addresses and SQL."""

from __future__ import annotations

import re

from harness.core.redaction import masked

LONGEST = 300
"""Maximal characters of an unknown error."""
_MEANINGS = (
    (r"filesystem tracking backend|Supported URI schemes", "MLFLOW_TRACKING_URI takes https://HOST, or sqlite:///FILE"),
    (r"out-of-date database schema", "its database was created by another version of MLflow"),
    (r"database or disk is full|No space left", "the disk is full"),
    (r"database is locked", "another program holds the database"),
    (r"authentication failed|no password supplied", "the database refuses this user or password"),
    (r"No module named '(\w+)'", r"the module \1 is not installed; the database of this address needs it (pip install)"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|SSL: |tlsv1|wrong version number", "no secure connection (TLS) could be made"),
    (r"getaddrinfo|NameResolution|Name or service|could not translate host|name resolution", "its host is not known"),
    (r"Connection refused|ConnectionRefused", "nothing listens at this address"),
    (r"[Tt]imed out|ReadTimeout|ConnectTimeout|timeout exception|timeout expired", "no answer in time"),
    (r"Connection reset|Connection aborted|RemoteDisconnected|server closed|terminating connection|starting up",
     "the connection was interrupted"),
    (r"error code 401|401 |UNAUTHENTICATED",
     "the server requires a login (401): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    (r"error code 403|403 |PERMISSION_DENIED", "the server does not allow this user to write (403)"),
    (r"too many (\d{3}) error responses|error code (5\d\d)|(5\d\d) error|(5\d\d) Server", "the server fails (an error 5xx)"),
    (r"error code (3\d\d|404|405)|JSONDecode|Expecting value|not in a valid JSON|not valid JSON",
     "the server at this address is not MLflow"),
)  # fmt: skip
"""Patterns and their meanings; the first match counts."""


def reason(error: BaseException, address: str) -> str:
    """Return one line: the address of MLflow, and why it could not be filled; secrets are masked."""
    text = f"{type(error).__name__}: {error}"
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, text):
            return masked(f"{address}: {found.expand(meaning)}")
    line = re.sub(r"\s+", " ", masked(text))
    return f"{masked(address)}: {line if len(line) <= LONGEST else f'{line[:LONGEST]}…'}"
