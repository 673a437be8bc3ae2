"""Pages in Chromium; whatever a browser complains of, or asks of the network, is a failure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def opened(browser: Any, address: str, title: str = "masking on numbers", **settings: Any) -> Iterator[Any]:
    """Yield the page of a report, opened from disk.

    Args:
        browser: the browser.
        address: of the page.
        title: how the title of the page begins, at the end too.
        settings: of the browser's context.
    """
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
    page = context.new_page()
    page.set_default_timeout(20_000)
    trouble: list[str] = []
    page.on("console", lambda message: trouble.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else trouble.append(f"asks for {request.url}")
        ),
    )
    page.goto(address)
    yield page
    page.wait_for_timeout(100)
    assert page.title().startswith(title)
    assert not trouble
    context.close()


def unfold(page: Any) -> None:
    """Open every part of a page."""
    page.evaluate("for (const one of document.querySelectorAll('details.fold, details.card')) one.open = true")
