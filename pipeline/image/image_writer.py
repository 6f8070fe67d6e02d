"""Writing still images like those they were made of, and naming what a format does not keep.

Pillow writes all but colours of sixteen bits: OpenCV encodes those of PNG.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from derain.models.errors import DerainError
from derain.models.log import Log
from derain.pipeline.image.formats import FORMATS, ImageFormat, best_formats
from derain.pipeline.image.image_file import StillImage
from derain.pipeline.image.metadata import Metadata, fitting, label_png, save_options
from derain.pipeline.image.tiff_writer import Samples, write_tiff
from derain.pipeline.video.color import to_bytes


def write_image(
    path: Path,
    rgb: NDArray[np.float32],
    like: StillImage,
    say: Log,
    pages: Iterable[tuple[NDArray[np.float32], StillImage]] = (),
) -> None:
    """Write an image with the depth, alpha and metadata of another, and name what is lost.

    It appears when it is complete.

    Args:
        path: its ending says the format.
        rgb: (H, W, 3) in [0, 1].
        like: the image it was made of.
        say: told what the new file does not keep.
        pages: more images and what they were made of, for a format that holds several.

    Raises:
        DerainError: unknown format, or it cannot be written there.
    """
    form = format_of(path)
    samples = _samples(path, rgb, like, form, say)
    place = path.resolve()  # a link is written through
    # Short, whatever the name is, and hidden: it is nobody's to open.
    part = place.with_name(f".{place.stem[:40]}.{os.getpid()}.part")
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[1 if samples.ndim == 2 else samples.shape[2]]
    kept = fitting(like.metadata, form, mode)
    more = (_samples(path, each, page, form, say) for each, page in pages)
    try:
        with part.open("xb+") as file:
            _encode(file, samples, more, form, kept)
        os.replace(part, place)
    except (OSError, ValueError, KeyError, cv2.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DerainError(f"{path} cannot be written ({reason}); choose another place.") from error
    finally:
        part.unlink(missing_ok=True)
    _name_losses(path, like.metadata, kept, say)


def format_of(path: Path) -> ImageFormat:
    """The format that a name's ending says.

    Raises:
        DerainError: none that is written here.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise DerainError(
            f"{path}: '{path.suffix}' is no format to write; use {', '.join(sorted(FORMATS))}."
        )
    return found


def _samples(
    path: Path,
    rgb: NDArray[np.float32],
    like: StillImage,
    form: ImageFormat,
    say: Log,
) -> Samples:
    """What is to be encoded: (H, W) grey or (H, W, C), with alpha where the format holds it."""
    deep = like.peak == 65535 and form.deep
    colors = np.rint(rgb.clip(0, 1) * 65535).astype(np.uint16) if deep else to_bytes(rgb)
    samples = colors[..., 1] if like.grey else colors
    if like.peak == 65535 and not deep:
        say(f"{path} has 8 of the input's 16 bits; write .png or .tif to keep them.")
    if like.alpha is None:
        return samples
    if not form.alpha:
        if (like.alpha != like.peak).any():
            say(f"{path} is without the input's transparency; write .png or .webp to keep it.")
        return samples
    # Sixteen bits are 257 times eight.
    alpha = like.alpha if deep or like.peak == 255 else (like.alpha // 257).astype(np.uint8)
    return np.dstack([samples, alpha])


def _encode(
    file: IO[bytes],
    samples: Samples,
    more: Iterable[Samples],
    form: ImageFormat,
    kept: Metadata,
) -> None:
    if form.pages:
        write_tiff(file, chain([samples], more), kept)
    elif samples.dtype == np.uint16 and samples.ndim == 3:
        if samples.shape[2] == 2:
            samples = samples[..., [0, 0, 0, 1]]  # Pillow writes no grey with alpha this deep
        order = [2, 1, 0, 3][: samples.shape[2]]
        bgr = np.ascontiguousarray(samples[..., order])
        done, data = cv2.imencode(f".{form.name.lower()}", bgr)
        if not done:
            raise ValueError("OpenCV does not encode it")
        file.write(label_png(data.tobytes(), kept) if form.name == "PNG" else data.tobytes())
    else:
        options = {**form.options, **save_options(kept, form)}
        Image.fromarray(samples).save(file, form.name, **options)


def _name_losses(path: Path, before: Metadata, kept: Metadata, say: Log) -> None:
    lost = [kind for kind in before.kinds if kind not in kept.kinds]
    for kind in lost:
        held = kind in FORMATS[path.suffix.lower()].keeps
        why = "which would not fit the new image" if held else f"{best_formats(kind)} keeps it"
        say(f"{path} is without the input's {kind}, {why}.")
    for damaged in before.unreadable:
        say(f"{path} is without the input's {damaged}, which cannot be carried over.")
