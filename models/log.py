"""What is shown to the user: where notices go, and text without passwords."""

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


def say_nothing(text: str) -> None:
    """A log that nobody reads."""


def mask_credentials(text: str) -> str:
    """Any text with the users, passwords and keys of the URLs in it replaced by `***`."""
    text = USER_INFO.sub(r"\1***@", text)
    return STREAM_KEY.sub(r"\1***", SECRET.sub(r"\1***", text))
