"""What signals do to the command: they end it with one sentence, from the first moment on.

Commands that can end in an orderly way, such as `video`, take them over while they work.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

END = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """A signal asks the command to end; `exit_code` is what a shell expects of it then."""

    def __init__(self, number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + number


def handle(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that what was begun is cleaned up; at once while modules load."""
    if is_importing(frame):
        # Nothing is begun yet, and libraries' C code may lose an exception that passes through it.
        os.write(2, b"interrupted\n")
        os._exit(128 + number)
    raise Terminated(number)


def is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being loaded."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
