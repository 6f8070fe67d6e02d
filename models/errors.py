"""Errors that a user can act on: each text is one sentence that says what to do next.

All have one root, so that a caller catches `DerainError` alone and none is translated on its way.
"""


class DerainError(Exception):
    """A failure the user can act on."""


class VideoError(DerainError):
    """A file or stream cannot be read or written."""


class UsageError(DerainError):
    """The command was called in a wrong way, before anything was tried."""
