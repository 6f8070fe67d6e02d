"""Small images for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from derain.pipeline.image.image_file import read_image
from derain.pipeline.image.image_writer import write_image

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rating>5</rating></x:xmpmeta>"


def colors(height: int = 20, width: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth, and no turn of it looks like another."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 6, y * 9, x * 2 + y * 5, x * 4 + y * 6]
    return np.dstack([each.astype(np.uint8) for each in planes[:channels]])


@pytest.fixture
def draw() -> Callable[..., NDArray[np.uint8]]:
    """`draw(height=20, width=32, channels=3)`: (H, W, C) uint8."""
    return colors


@pytest.fixture
def profile() -> bytes:
    """The smallest colour profile that readers take: a head, one tag, and text."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _rewrite(source: Path, target: Path) -> list[str]:
    """Read and write an image unchanged; what is said."""
    said: list[str] = []
    image = read_image(source)
    write_image(target, image.rgb, image, said.append)
    return said


def _labelled(path: Path, pixels: NDArray[np.uint8], profile: bytes) -> Path:
    """An image with EXIF (maker, an exposure, a place), turned, a profile, XMP and a resolution."""
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "abc"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    exif.get_ifd(0x8825)[1] = "N"
    options: dict[str, object] = {"exif": exif, "icc_profile": profile, "dpi": (300, 300)}
    if path.suffix == ".tif":
        options["tiffinfo"] = {700: XMP}
        del options["exif"]
        tags = {0x112: 6, 0x10F: "abc", 0x8769: {0x829A: 0.01}, 0x8825: {1: "N"}, 700: XMP}
        options["tiffinfo"] = tags
    elif path.suffix != ".png":
        options["xmp"] = XMP
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def rewrite() -> Callable[[Path, Path], list[str]]:
    """Reads and writes an image unchanged; what is said."""
    return _rewrite


@pytest.fixture
def labelled() -> Callable[[Path, NDArray[np.uint8], bytes], Path]:
    """Writes an image with all there is to keep beside its pixels."""
    return _labelled
