"""`derain image`: single pictures through the network's path for still images.

A picture is a shot of one frame. Depth (8 or 16 bit), grey, alpha, EXIF and the colour profile are
kept; what the new file cannot hold is named.
"""

from __future__ import annotations

import glob
import os
import struct
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from derain.models import Derainer
from derain.models.errors import DerainError, UsageError
from derain.models.video_model import Output
from derain.pipeline.streaming.compare import compare_frames
from derain.pipeline.streaming.layer_images import layer_pictures
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.color import to_bytes

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
OPAQUE = {".jpg", ".jpeg", ".jpe", ".jp2", ".ppm"}
SHALLOW = {".jpg", ".jpeg", ".jpe", ".webp", ".bmp"}
LABELLED = {".png", ".jpg", ".jpeg", ".jpe", ".webp"}  # OpenCV writes metadata to these only

# cv2.IMAGE_METADATA_*, which older OpenCVs lack
EXIF, XMP, ICC, CICP = range(4)
METADATA = {EXIF: "EXIF", XMP: "XMP", ICC: "colour profile", CICP: "colour tags (CICP)"}
MARKS = {EXIF: (b"Exif\0\0", b"eXIf", b"EXIF"), ICC: (b"ICC_PROFILE\0", b"iCCP", b"ICCP")}
SEGMENT = 65_000  # bytes; more than this needs several parts in a JPEG, which OpenCV does not write


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and what is needed to write it back as it was."""

    rgb: NDArray[np.float32]  # (H, W, 3) in [0, 1]
    alpha: NDArray[np.generic] | None
    peak: int  # 255 or 65535
    grey: bool
    metadata: dict[int, bytes] = field(default_factory=dict)  # empty bytes: there, but not readable


def read_picture(path: Path) -> Picture:
    """Read a picture, turned as its EXIF says.

    Raises:
        DerainError: no file, or not a picture.
    """
    if not path.is_file():
        raise DerainError(f"There is no picture {path}; check the path.")
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    turned = cv2.imread(str(path), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if raw is None or turned is None or turned.dtype not in (np.uint8, np.uint16):
        raise DerainError(f"{path} is not a picture OpenCV can read; check the file.")
    metadata = _read_metadata(path)
    grey, alpha = raw.ndim == 2, None
    if raw.ndim == 3 and raw.shape[2] == 4:
        # OpenCV turns colours only: here both are turned by hand, so that they stay together.
        raw = _turn(raw, _orientation(metadata.get(EXIF, b"")))
        turned, alpha = raw[..., :3], np.ascontiguousarray(raw[..., 3])
        # OpenCV gives grey with alpha as colours.
        grey = bool((turned == turned[..., :1]).all())
    peak = 255 if turned.dtype == np.uint8 else 65535
    rgb = np.ascontiguousarray(turned[..., ::-1]).astype(np.float32) / np.float32(peak)
    return Picture(rgb, alpha, peak, grey, metadata)


def write_picture(path: Path, rgb: NDArray[np.float32], like: Picture) -> None:
    """Write a picture with the depth, alpha and metadata of another, and name what is lost.

    It appears when it is complete.
    """
    suffix = path.suffix.lower()
    deep = like.peak == 65535 and suffix not in SHALLOW
    whole = np.rint(rgb.clip(0, 1) * 65535).astype(np.uint16) if deep else to_bytes(rgb)
    picture = whole[..., ::-1]
    if like.grey:
        # With alpha it may as well be colours that are grey, and OpenCV writes no grey with alpha.
        picture = picture[..., 1] if like.alpha is None else picture[..., [1, 1, 1]]
    if like.alpha is not None and suffix not in OPAQUE:
        # Sixteen bits are 257 times eight.
        alpha = like.alpha if deep or like.peak == 255 else (like.alpha // 257).astype(np.uint8)
        picture = np.dstack([picture, alpha])
    elif like.alpha is not None and (like.alpha != like.peak).any():
        _say(f"{path} is without the input's transparency; write .png or .webp to keep it.")
    if like.peak == 65535 and not deep:
        _say(f"{path} has 8 of the input's 16 bits; write .png or .tif to keep them.")
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    fitting = _fitting_metadata(like.metadata, suffix, grey=picture.ndim == 2)
    if not (_encode(part, picture, fitting) or (fitting and _encode(part, picture, {}))):
        part.unlink(missing_ok=True)
        raise DerainError(
            f"{path} cannot be written; use a folder that is there, and .png or .jpg."
        )
    # Read again, as OpenCV leaves out what a format or its own version does not take.
    written = _read_metadata(part) if like.metadata else {}
    os.replace(part, path)
    lost = [METADATA[kind] for kind in sorted(like.metadata) if kind not in written]
    if lost:
        _say(f"{path} is without the input's {' and '.join(lost)}{_why_lost(suffix)}.")


def _why_lost(suffix: str) -> str:
    if suffix not in LABELLED:
        return "; write .png, .jpg or .webp to keep what they can hold"
    if not hasattr(cv2, "imwriteWithMetadata"):
        return ", which this OpenCV cannot write; update opencv-python"
    return ", which would not fit the new picture or its format"


def _encode(path: Path, picture: NDArray[np.generic], metadata: dict[int, bytes]) -> bool:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower().startswith(".j") else []
    picture = np.ascontiguousarray(picture)
    try:
        if metadata:
            chunks = [np.frombuffer(chunk, np.uint8) for chunk in metadata.values()]
            kinds = list(metadata)
            return bool(cv2.imwriteWithMetadata(str(path), picture, kinds, chunks, quality))
        return bool(cv2.imwrite(str(path), picture, quality))
    except cv2.error:
        return False


def _read_metadata(path: Path) -> dict[int, bytes]:
    """What a picture says of itself, by kind; empty bytes where it is there but out of reach."""
    if hasattr(cv2, "imreadWithMetadata"):
        # The smallest picture: its pixels are not looked at.
        _, kinds, chunks = cv2.imreadWithMetadata(str(path), cv2.IMREAD_REDUCED_COLOR_8)
        found = {int(kind): bytes(chunk) for kind, chunk in zip(kinds, chunks, strict=True)}
        found = {kind: chunk for kind, chunk in found.items() if kind in METADATA}
    else:
        data = path.read_bytes()
        found = {kind: b"" for kind, marks in MARKS.items() if any(m in data for m in marks)}
    if path.suffix.lower() in (".tif", ".tiff"):
        found |= _tiff_metadata(path.read_bytes())
    return found


def _tiff_metadata(data: bytes) -> dict[int, bytes]:
    """OpenCV reads none from TIFF. The profile lies in one piece, EXIF all over the file."""
    try:
        order, tags, _ = _tags(data)
        found = {EXIF: b""} if 34665 in tags else {}
        if 34675 in tags:
            size, place = struct.unpack_from(f"{order}II", data, tags[34675] + 4)
            found[ICC] = data[place : place + size]
        return found
    except (ValueError, struct.error):
        return {}


def _fitting_metadata(metadata: dict[int, bytes], suffix: str, grey: bool) -> dict[int, bytes]:
    """The metadata that is still true of the new picture and that its format can hold.

    XMP is left out: it may speak of parts of the old file (gain maps, depth) that are no more.
    """
    if suffix not in LABELLED or not hasattr(cv2, "imwriteWithMetadata"):
        return {}
    icc = metadata.get(ICC, b"")
    # OpenCV makes RGB of CMYK, and of grey where the format knows nothing else.
    true = icc[16:20] == (b"GRAY" if grey and suffix != ".webp" else b"RGB ")
    kept = {
        EXIF: _upright_exif(metadata.get(EXIF, b"")),
        ICC: icc if true else b"",
        CICP: metadata.get(CICP, b"") if suffix == ".png" else b"",
    }
    limit = SEGMENT if suffix.startswith(".j") else sys.maxsize
    return {kind: chunk for kind, chunk in kept.items() if 0 < len(chunk) <= limit}


def _upright_exif(exif: bytes) -> bytes:
    """EXIF of a picture that has been turned upright and derained; empty if damaged."""
    data = bytearray(exif)
    try:
        order, tags, end = _tags(exif)
        if 0x112 in tags:
            struct.pack_into(f"{order}HHIHH", data, tags[0x112], 0x112, 3, 1, 1, 0)
    except (ValueError, struct.error):
        return b""
    # Behind the first directory is that of the thumbnail, which still shows the rain.
    data[end : end + 4] = bytes(len(data[end : end + 4]))
    return bytes(data)


def _orientation(exif: bytes) -> int:
    """1 to 8, as EXIF counts; 1 is upright."""
    try:
        order, tags, _ = _tags(exif)
        return int(struct.unpack_from(f"{order}H", exif, tags[0x112] + 8)[0])
    except (ValueError, KeyError, struct.error):
        return 1


def _tags(data: bytes) -> tuple[str, dict[int, int], int]:
    """Of a TIFF or EXIF's first directory: byte order, where each tag's entry is, and its end."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise ValueError("neither TIFF nor EXIF")
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    tags = {struct.unpack_from(f"{order}H", data, place)[0]: place for place in places}
    return order, tags, places.stop


def _turn(picture: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Upright, from one of EXIF's eight orientations."""
    if orientation in (5, 6, 7, 8):
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


def derain_picture(derainer: Derainer, rgb: NDArray[np.float32]) -> Output:
    """One (H, W, 3) float32 picture in [0, 1] as a shot of its own."""
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    output = derainer.push(tensor)
    rest = derainer.flush()
    return output if output is not None else rest[0]


def plan_pictures(inputs: list[str], output: str, recursive: bool) -> list[tuple[Path, Path]]:
    """What becomes what: one picture a file, several, a folder or a pattern a folder."""
    found: list[tuple[Path, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = path.rglob("*") if recursive else path.glob("*")
            pictures = sorted(f for f in files if f.suffix.lower() in PICTURES and f.is_file())
            if not pictures:
                hint = "" if recursive else " itself; add --recursive for the folders in it"
                raise UsageError(f"There is no picture in {name}{hint}.")
            found += [(f, f.relative_to(path)) for f in pictures]
        elif not path.exists() and glob.has_magic(name):
            matches = map(Path, sorted(glob.glob(name, recursive=True)))
            pictures = [f for f in matches if f.is_file()]
            if not pictures:
                raise UsageError(f"Nothing fits the pattern {name}.")
            found += [(f, Path(f.name)) for f in pictures]
        else:
            found.append((path, Path(path.name)))
    target = Path(output)
    one = len(inputs) == 1 and Path(inputs[0]) == found[0][0]
    if one and not target.is_dir() and not output.endswith(("/", os.sep)):
        return [(found[0][0], target)]
    if target.exists() and not target.is_dir():
        raise UsageError(f"{output} is a file; name a folder for several pictures.")
    if not target.exists() and not one and target.suffix.lower() in PICTURES:
        raise UsageError(f"Several pictures need a folder; {output} looks like a file.")
    tasks = [(source, target / place) for source, place in found]
    counts = Counter(place for _, place in tasks)
    for place, count in counts.items():
        if count > 1:
            raise UsageError(f"Two inputs would become {place}; give them one at a time.")
    return tasks


def derain_images(
    inputs: list[str], output: str, options: VideoOptions, *, recursive: bool = False
) -> int:
    """Remove the rain from pictures; a failure does not end the rest. The exit code."""
    tasks = plan_pictures(inputs, output, recursive)
    # By what was asked for, not by how many it came to: a folder may hold one picture.
    in_folder = tasks[0][1] != Path(output)
    derainer = open_derainer(options, None, _say)
    if derainer.latency:
        _say(
            f"'{options.model}' compares frames and finds little rain in one; "
            "for pictures use --model rescan."
        )
    failed = 0
    for source, target in tasks:
        try:
            _derain_file(derainer, source, target, options, in_folder)
        except DerainError as error:
            failed += 1
            _say(f"error: {error}")
    return 1 if failed else 0


def _derain_file(
    derainer: Derainer, source: Path, target: Path, options: VideoOptions, in_folder: bool
) -> None:
    if target.exists() and source.exists() and source.samefile(target):
        raise DerainError(f"{target} is the input itself; choose another output.")
    if target.exists() and not options.overwrite:
        if in_folder:
            return _say(f"{target} is there already; -y makes it again")
        raise DerainError(f"{target} is there already; add -y to replace it.")
    picture = read_picture(source)
    output = derain_picture(derainer, picture.rgb)
    clean = output.image[0].permute(1, 2, 0).float().cpu().numpy()
    if options.compare:
        before, after = to_bytes(picture.rgb), to_bytes(clean)
        both = compare_frames(before, after, options.compare)
        clean = both.astype(np.float32) / np.float32(255)
        picture = replace(picture, rgb=clean, alpha=None, peak=255, grey=False)
    if in_folder:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DerainError(
                f"The folder {target.parent} cannot be made ({error.strerror}); choose another."
            ) from None
    write_picture(target, clean, picture)
    if options.layers:
        folder = Path(options.layers)
        folder.mkdir(parents=True, exist_ok=True)
        for name, layer in layer_pictures(output).items():
            bgr = layer[..., ::-1] if layer.ndim == 3 else layer
            cv2.imwrite(str(folder / f"{source.stem}.{name}.png"), bgr)
    _say(f"{target}: {clean.shape[1]}x{clean.shape[0]}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
