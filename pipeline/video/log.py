"""Where notices go: one sentence at a time, to whoever shows them to the user."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str], None]


def say_nothing(text: str) -> None:
    """A log that nobody reads."""
