"""What the name of an input or an output means: a sequence of images, a local file, a link."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from derain.models.errors import DerainError

# FFmpeg's protocols that go without "//", and this project's lavfi.
SCHEMES = {"lavfi", "file", "pipe", "fd", "concat", "concatf", "subfile", "data", "cache", "async"}
# A width of two digits or more begins with 0: "%20d" is a space of an address, "my%20dog.png".
NUMBER = re.compile(r"%(0\d+|\d?)d")
# Endings of FFmpeg's sequences of images; in the name of a film, "%2d" is a hyphen of an address.
IMAGE = re.compile(
    r"\.(png|jpe?g|jpe|jp2|j2k|jxl|webp|bmp|tiff?|dpx|exr|tga|p[pgbanf]m|gif|hdr|sgi|pcx|xwd|avif|"
    r"qoi|pfm)",
    re.IGNORECASE,
)


def is_sequence(name: str) -> bool:
    """Whether a name is a printf pattern such as %05d.png of images."""
    stem, suffix = os.path.splitext(name)
    image = IMAGE.fullmatch(suffix) is not None
    return "://" not in name and image and NUMBER.search(stem) is not None


def is_file(target: str) -> bool:
    """Whether an output is one plain file, not a pipe, a URL, or a sequence of images."""
    return target != "-" and "://" not in target and not is_sequence(target)


def members(pattern: str) -> list[Path]:
    """The files that are there of a sequence of images."""
    folder, name = os.path.split(pattern)
    parts = NUMBER.split(name)[::2]  # without the widths
    fits = re.compile(r"\d+".join(re.escape(part.replace("%%", "%")) for part in parts))
    try:
        return sorted(e for e in Path(folder or ".").iterdir() if fits.fullmatch(e.name))
    except OSError:
        return []


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


def files_of(source: str | Path) -> list[Path]:
    """The local files that a source is read from; none for pipes, devices and URLs."""
    name = str(source)
    if os.path.exists(name):
        return [Path(name)]
    if is_sequence(name):
        return members(name)
    scheme, colon, rest = name.partition(":")
    if not colon:
        return []
    kind = scheme.lower().split(",")[0]
    if kind == "concat":
        return [file for each in rest.split("|") for file in files_of(each)]
    if kind in ("file", "subfile", "async", "cache"):
        return files_of(rest.removeprefix("//"))
    return []


def is_plain_file(source: str) -> bool:
    """Whether a source is made of files, which can be opened again, and not a pipe or a device."""
    files = files_of(source)
    return bool(files) and all(path.is_file() for path in files)


def require_other_file(source: str | Path, written: Iterable[Path]) -> None:
    """Refuse to write to what is read, by device and inode, also through links.

    Args:
        source: an input.
        written: the output and all that is made beside it.

    Raises:
        DerainError: one of them is the input.
    """
    inputs = {found for path in files_of(source) if (found := file_identity(path))}
    for path in written:
        if file_identity(path) in inputs:
            raise DerainError(f"{path} is the input itself; choose another output.")


def file_identity(path: Path) -> tuple[int, int] | None:
    """What two names of one file have in common; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
