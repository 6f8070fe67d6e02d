"""Reading still images: pixels of 8 and 16 bits, grey, alpha, and what goes with them.

Pillow reads all but colours of sixteen bits, which it knows as eight alone: those are OpenCV's. An
image is turned upright as its EXIF says, so that a network sees rain fall down.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from derain.models.errors import DerainError
from derain.models.runtime.tile_planner import available
from derain.pipeline.image.metadata import Metadata, read_metadata

# Its limit of 179 million pixels is below what phones make; sizes are held against the memory.
Image.MAX_IMAGE_PIXELS = None
BYTES = 60  # per pixel: decoded, as floats, padded, derained, encoded; the network plans for itself

CONVERTED = {"CMYK": "CMYK", "LAB": "Lab", "YCbCr": "", "HSV": "", "RGBX": "", "RGBa": ""}


@dataclass(frozen=True, slots=True)
class StillImage:
    """A decoded image and what is needed to write it back as it was.

    Args:
        rgb: (H, W, 3) float32 in [0, 1].
        alpha: (H, W) uint8 or uint16, or None.
        peak: 255 or 65535, of the file's samples.
        grey: whether red, green and blue are one.
        notices: sentences on what was not read as it is.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.uint8] | NDArray[np.uint16] | None
    peak: int
    grey: bool
    metadata: Metadata = Metadata()  # noqa: RUF009 (frozen)
    notices: tuple[str, ...] = ()


def count_images(path: Path) -> tuple[int, str]:
    """How many images a file holds, and Pillow's name of its format.

    Raises:
        DerainError: no file, or no image.
    """
    with _open(path, path_bytes(path)) as image:
        return int(getattr(image, "n_frames", 1)), image.format or ""


def read_image(path: Path, page: int = 0) -> StillImage:
    """Read an image, upright.

    Args:
        path: of a format that Pillow opens.
        page: which one, of a file that holds several.

    Raises:
        DerainError: no file, no image, a damaged one, or one larger than the memory.
    """
    data = path_bytes(path)
    with _open(path, data) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on damaged metadata, which is named where it is lost
        try:
            if page:
                image.seek(page)
            _check_size(path, image.size)
            bits = _bits(image, data)
            orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
            metadata = read_metadata(image, data)
            if bits == 16 and not image.mode.startswith("I"):
                deep = _read_deep(data, page)
                if deep is not None:
                    deep = _with_key(deep, image.info.get("transparency"))
                    return _from_array(turn(deep, orientation), metadata, ())
            return _from_pillow(path, image, metadata, bits)
        except DerainError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, cv2.error) as error:
            raise DerainError(
                f"{path} is damaged or ends early ({str(error).rstrip('.')}); get a whole copy."
            ) from error


def path_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        DerainError: there is none, or it may not be read.
    """
    if not path.is_file():
        raise DerainError(f"There is no image {path}; check the path.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DerainError(f"{path} cannot be read ({error.strerror}); check it.") from error


def _open(path: Path, data: bytes) -> Image.Image:
    if path.suffix.lower() in (".heic", ".heif", ".hif"):
        with suppress(ImportError):
            from pillow_heif import register_heif_opener

            register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc", b"ftypmsf1"):
            raise DerainError(
                f"{path} is HEIC, which needs one more package: pip install 'derain[heif]'."
            ) from error
        raise DerainError(
            f"{path} is not an image that can be read; films are for derain video."
        ) from error


def _check_size(path: Path, size: tuple[int, int]) -> None:
    free = available(torch.device("cpu"))
    needed = size[0] * size[1] * BYTES
    if free is not None and needed > free:
        raise DerainError(
            f"{path} says it has {size[0]}x{size[1]} pixels, which take {needed / 2**30:.0f} GiB "
            f"of memory where {free / 2**30:.0f} are free; make it smaller first."
        )


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits of a sample, as far as Pillow's own mode does not tell."""
    if image.mode.startswith("I"):
        return 16
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        said = image.getexif().get(258, 8)
        return int(max(said) if isinstance(said, tuple) else said)
    if image.format in ("PPM", "JPEG2000"):
        small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        return 16 if small is not None and small.dtype == np.uint16 else 8
    at = data.find(b"av1C") if image.format == "AVIF" else -1
    if 0 <= at < len(data) - 6:
        flags = data[at + 6]
        return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
    return int(image.info.get("bit_depth", 8))


def _read_deep(data: bytes, page: int) -> NDArray[np.uint16] | None:
    """(H, W) or (H, W, C) of sixteen bits, RGB(A); None where OpenCV does not know it."""
    raw = np.frombuffer(data, np.uint8)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        if page:
            found, pages = cv2.imdecodemulti(raw, cv2.IMREAD_UNCHANGED)
            decoded = pages[page] if found and page < len(pages) else None
        else:
            decoded = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        decoded = None  # Pillow tells what is wrong, or reads it
    finally:
        cv2.utils.logging.setLogLevel(level)
    if decoded is None or decoded.dtype != np.uint16:
        return None
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    if decoded.ndim == 3:
        decoded = decoded[..., order[decoded.shape[2]]]
    return np.asarray(decoded)


def _with_key(samples: NDArray[np.uint16], key: object) -> NDArray[np.uint16]:
    """With alpha where one colour, PNG's tRNS, is transparent."""
    if not isinstance(key, tuple) or samples.ndim != 3 or samples.shape[2] != 3:
        return samples
    shown = (samples != np.array(key, np.uint16)).any(-1)
    return np.dstack([samples, shown * np.uint16(65535)])


def turn(image: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Upright, from one of EXIF's eight orientations."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _from_pillow(path: Path, image: Image.Image, metadata: Metadata, bits: int) -> StillImage:
    """All that Pillow reads whole."""
    notices = []
    if bits > 8 and not image.mode.startswith("I"):
        notices.append(f"{path} has {bits} bits a sample, of which 8 can be read.")
    image.load()
    key = image.info.get("transparency")
    if image.mode == "F":
        raise DerainError(f"{path} holds floating-point numbers; save it with 8 or 16 bits first.")
    if image.mode.startswith("I"):
        values = np.asarray(ImageOps.exif_transpose(image))
        if values.min() < 0 or values.max() > 65535:
            raise DerainError(f"{path} has 32 bits a sample; save it with 8 or 16 bits first.")
        grey = values.astype(np.uint16)
        if isinstance(key, int):
            return _from_array(np.dstack([grey, (grey != key) * np.uint16(65535)]), metadata, ())
        return _from_array(grey, metadata, ())
    if named := CONVERTED.get(image.mode):
        notices.append(f"{path} is {named}; what is written is RGB.")
    image = ImageOps.exif_transpose(_plain(image, metadata.icc))
    return _from_array(np.asarray(image), metadata, tuple(notices))


def _plain(image: Image.Image, icc: bytes) -> Image.Image:
    """As L, LA, RGB or RGBA."""
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        return image.convert("LA" if grey else "RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    if image.mode in ("CMYK", "LAB") and icc:
        with suppress(ImageCms.PyCMSError, OSError):
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            made = ImageCms.profileToProfile(
                image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if made is not None:
                return made
    return image.convert("RGB")


def _from_array(
    samples: NDArray[np.uint8] | NDArray[np.uint16], metadata: Metadata, notices: tuple[str, ...]
) -> StillImage:
    """From (H, W) grey or (H, W, C), of grey and alpha, RGB, or RGBA."""
    peak = 255 if samples.dtype == np.uint8 else 65535
    planes = samples[..., None] if samples.ndim == 2 else samples
    alpha = planes[..., -1].copy() if planes.shape[2] in (2, 4) else None
    grey = planes.shape[2] < 3
    if not grey and alpha is not None:
        # OpenCV knows no grey with alpha: such files give colours that are one.
        grey = peak == 65535 and bool((planes[..., :3] == planes[..., :1]).all())
    colors = planes[..., [0, 0, 0]] if planes.shape[2] < 3 else planes[..., :3]
    rgb = np.ascontiguousarray(colors).astype(np.float32) / np.float32(peak)
    return StillImage(rgb, alpha, peak, grey, metadata, notices)
