"""What each format of still images can hold, as one record a format: a new quirk is one field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["EXIF", "colour profile", "XMP", "resolution", "text", "colour tags (CICP)"]

ALL: frozenset[Kind] = frozenset(("EXIF", "colour profile", "XMP", "resolution"))
WEB: frozenset[Kind] = ALL - {"resolution"}


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """One format.

    Args:
        name: Pillow's name of it.
        keeps: kinds of metadata that it holds.
        alpha: holds transparency.
        deep: holds sixteen bits a sample.
        pages: holds several images that are no animation.
        options: of Pillow's `save`.
    """

    name: str
    keeps: frozenset[Kind] = frozenset()
    alpha: bool = False
    deep: bool = False
    pages: bool = False
    options: dict[str, object] = field(default_factory=dict)


PNG = ImageFormat("PNG", ALL | {"text", "colour tags (CICP)"}, alpha=True, deep=True)
JPEG = ImageFormat("JPEG", ALL | {"text"}, options={"quality": 95})
TIFF = ImageFormat("TIFF", ALL, alpha=True, deep=True, pages=True)

FORMATS: dict[str, ImageFormat] = {
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".jpe": JPEG,
    ".webp": ImageFormat("WEBP", WEB, alpha=True, options={"lossless": True, "exact": True}),
    ".tif": TIFF,
    ".tiff": TIFF,
    ".avif": ImageFormat("AVIF", WEB, alpha=True, options={"quality": 90}),
    ".bmp": ImageFormat("BMP", frozenset({"resolution"})),
    ".ppm": ImageFormat("PPM", deep=True),
    ".jp2": ImageFormat("JPEG2000"),
}

# Animations and formats that are read alone are found in folders too.
READABLE = frozenset(FORMATS) | {".heic", ".heif", ".hif", ".gif", ".mpo", ".pgm", ".jfif"}


def best_formats(kind: Kind) -> str:
    """Endings of the usual formats that hold a kind of metadata, for a sentence."""
    usual = (".png", ".jpg", ".webp", ".tif")
    return " or ".join(suffix for suffix in usual if kind in FORMATS[suffix].keeps)
