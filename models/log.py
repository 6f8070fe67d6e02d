"""What is shown to the user: where notices go, text without passwords and without controls."""

from __future__ import annotations

import re
from collections.abc import Callable

Log = Callable[[str], None]  # takes one sentence at a time

USER_INFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s?#]*@", re.IGNORECASE)
# As cameras and streaming services have it in path and query; some separate by other signs than &.
SECRET = re.compile(
    r"\b((?:pass(?:word|wd|phrase)?|pwd|token|secret|auth|api_?key|key)=)[^&\s/;,'\"<>]+",
    re.IGNORECASE,
)
# rtmp://server/application/key: the last part is what publishing needs.
STREAM_KEY = re.compile(r"(\brtmps?://[^/\s]+/[^/\s]+/)[^\s'\",;]+", re.IGNORECASE)

# Control characters, those that turn the direction of text, and bytes that are no UTF-8.
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def say_nothing(text: str) -> None:
    """A log that nobody reads."""


def mask_credentials(text: str) -> str:
    """Any text with the users, passwords and keys of the URLs in it replaced by `***`."""
    return STREAM_KEY.sub(r"\1***", SECRET.sub(r"\1***", mask_users(text)))


def mask_users(text: str) -> str:
    """Any text with the users and passwords of the URLs in it replaced by `***`."""
    return USER_INFO.sub(r"\1***@", text)


def printable(text: str) -> str:
    """One line that a terminal shows and does not obey, and no user or password of a URL in it."""
    plain = mask_users(text)
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), plain)
