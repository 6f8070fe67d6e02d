"""Writing TIFF of 8 and 16 bits with its metadata and of any number of pages.

Pillow writes no colours of sixteen bits, and no EXIF where it compresses; its directory of tags is
used for both.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from derain.pipeline.image.metadata import Metadata

INNER = {ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}  # tags that hold directories of tags
DEFLATE, INCH, BYTE, UNDEFINED = 8, 2, 1, 7  # TIFF's numbers
ICC, XMP = 34675, 700

Samples = NDArray[np.uint8] | NDArray[np.uint16]  # (H, W) grey, or (H, W, C) with C 2, 3 or 4


def write_tiff(file: IO[bytes], pages: Iterable[Samples], metadata: Metadata) -> None:
    """Write images as the pages of one TIFF, each as one deflated strip.

    Args:
        file: open for reading and writing, empty.
        pages: at least one; grey, grey with alpha, RGB or RGBA.
        metadata: of all of them.
    """
    file.write(b"II*\0" + bytes(4))
    link = 4  # where the place of the next directory is to be said
    for samples in pages:
        place = file.seek(0, 2)
        if place % 2:
            place += file.write(b"\0")
        strip = zlib.compress(samples.astype(samples.dtype.newbyteorder("<")).tobytes())
        tags = _tags(samples, len(strip), metadata)
        file.write(tags.tobytes(place) + strip)
        file.seek(link)
        file.write(struct.pack("<I", place))
        link = place + 2 + 12 * len(tags)


def _tags(samples: Samples, size: int, metadata: Metadata) -> ImageFileDirectory_v2:
    height, width = samples.shape[:2]
    count = 1 if samples.ndim == 2 else samples.shape[2]
    tags = ImageFileDirectory_v2(prefix=b"II")
    exif = metadata.exif or Image.Exif()
    for tag, value in exif.items():
        tags[tag] = exif.get_ifd(tag) if tag in INNER else value
    tags[256], tags[257], tags[258] = width, height, (8 * samples.itemsize,) * count
    tags[259], tags[262], tags[277] = DEFLATE, 1 if count < 3 else 2, count
    tags[278], tags[279], tags[284] = height, size, 1
    tags[273] = 0  # Pillow counts it from the end of the tags
    if count in (2, 4):
        tags[338] = 2  # transparency that is not multiplied into the colours
    if metadata.dpi:
        tags[282], tags[283], tags[296] = *metadata.dpi, INCH
    for tag, kind, blob in ((ICC, UNDEFINED, metadata.icc), (XMP, BYTE, metadata.xmp)):
        if blob:
            tags.tagtype[tag] = kind
            tags[tag] = blob
    return tags
