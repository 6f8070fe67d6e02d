"""What the name of an input or an output means: a sequence of pictures, a local file."""

from __future__ import annotations

import os
import re
from pathlib import Path

# FFmpeg's protocols that go without "//", and this project's lavfi.
SCHEMES = {"lavfi", "file", "pipe", "fd", "concat", "concatf", "subfile", "data", "cache", "async"}
# A width of two digits or more begins with 0: "%20d" is a space of an address, "my%20dog.mp4".
NUMBER = re.compile(r"%(0\d+|\d?)d")


def is_sequence(name: str) -> bool:
    """Whether a name is a printf pattern such as %05d.png of pictures."""
    return "://" not in name and NUMBER.search(name) is not None


def local(path: str | Path) -> str:
    """A name as FFmpeg must be given it: "12:30.mp4" would be a protocol "12", "file:" prevents it.

    URLs, `lavfi:` and other names with a protocol, and Windows drives, stay as they are.
    """
    name = str(path)
    scheme, colon, _ = name.partition(":")
    if not colon or "/" in scheme or os.sep in scheme or "://" in name:
        return name
    drive = os.name == "nt" and len(scheme) == 1
    # "subfile,,start,0,end,9,,:film.ts" has its options before the colon.
    known = scheme.lower().split(",")[0] in SCHEMES and not os.path.exists(name)
    return name if drive or known else f"file:{name}"
