"""`derain image`: single pictures through the network's path for still images.

A picture is a shot of one frame. Depth (8 or 16 bit), grey and alpha are kept.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from derain.models import Derainer
from derain.models.contract import DerainError, Output
from derain.pipeline.color import to_bytes
from derain.pipeline.compare import compare_frames
from derain.pipeline.jobs import UsageError
from derain.pipeline.layers import layer_pictures
from derain.pipeline.network import open_derainer
from derain.pipeline.options import VideoOptions

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and what is needed to write it back as it was."""

    rgb: NDArray[np.float32]  # (H, W, 3) in [0, 1]
    alpha: NDArray[np.generic] | None
    peak: int  # 255 or 65535
    grey: bool


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
    peak = 255 if turned.dtype == np.uint8 else 65535
    alpha = raw[..., 3] if raw.ndim == 3 and raw.shape[2] == 4 else None
    rgb = np.ascontiguousarray(turned[..., ::-1]).astype(np.float32) / np.float32(peak)
    return Picture(rgb, alpha, peak, raw.ndim == 2)


def write_picture(path: Path, rgb: NDArray[np.float32], like: Picture) -> None:
    """Write a picture with the depth and alpha of another; it appears when it is complete."""
    whole = np.rint(rgb.clip(0, 1) * like.peak)
    shallow = path.suffix.lower() in (".jpg", ".jpeg", ".webp", ".bmp")
    deep = like.peak == 65535 and not shallow
    picture = (whole.astype(np.uint16) if deep else to_bytes(rgb))[..., ::-1]
    if like.grey:
        picture = picture[..., 1]
    elif like.alpha is not None and not path.suffix.lower().startswith(".j"):
        alpha = like.alpha.astype(np.uint8) if picture.dtype == np.uint8 else like.alpha
        picture = np.dstack([picture, alpha])
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower().startswith(".j") else []
    try:
        written = cv2.imwrite(str(part), np.ascontiguousarray(picture), quality)
    except cv2.error:
        written = False
    if not written:
        part.unlink(missing_ok=True)
        raise DerainError(
            f"{path} cannot be written; use a folder that is there, and .png or .jpg."
        )
    os.replace(part, path)


def derain_picture(derainer: Derainer, rgb: NDArray[np.float32]) -> Output:
    """One (H, W, 3) float32 picture in [0, 1] as a shot of its own."""
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    output = derainer.push(tensor)
    rest = derainer.flush()
    return output if output is not None else rest[0]


def plan_pictures(inputs: list[str], output: str, recursive: bool) -> list[tuple[Path, Path]]:
    """What becomes what: one picture a file, several or a folder a folder."""
    found: list[tuple[Path, Path]] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            files = path.rglob("*") if recursive else path.glob("*")
            pictures = sorted(f for f in files if f.suffix.lower() in PICTURES)
            if not pictures:
                raise UsageError(f"There is no picture in {name}.")
            found += [(f, f.relative_to(path)) for f in pictures]
        elif not path.exists() and any(c in name for c in "*?["):
            pictures = sorted(Path().glob(name))
            if not pictures:
                raise UsageError(f"Nothing fits the pattern {name}.")
            found += [(f, Path(f.name)) for f in pictures]
        else:
            found.append((path, Path(path.name)))
    target = Path(output)
    if len(inputs) == 1 and Path(inputs[0]) == found[0][0] and not target.is_dir():
        return [(found[0][0], target)]
    if target.is_file():
        raise UsageError(f"{output} is a file; name a folder for several pictures.")
    return [(source, target / place) for source, place in found]


def derain_images(
    inputs: list[str], output: str, options: VideoOptions, *, recursive: bool = False
) -> int:
    """Remove the rain from pictures; a failure does not end the rest. The exit code."""
    tasks = plan_pictures(inputs, output, recursive)
    derainer = open_derainer(options, None, _say)
    if derainer.latency:
        _say(
            f"'{options.model}' compares frames and finds little rain in one; "
            "for pictures use --model rescan."
        )
    failed = 0
    for source, target in tasks:
        try:
            _derain_file(derainer, source, target, options, len(tasks) > 1)
        except DerainError as error:
            failed += 1
            _say(f"error: {error}")
    return 1 if failed else 0


def _derain_file(
    derainer: Derainer, source: Path, target: Path, options: VideoOptions, several: bool
) -> None:
    if target.exists() and not options.overwrite:
        if several:
            return _say(f"{target} is there already; -y makes it again")
        raise DerainError(f"{target} is there already; add -y to replace it.")
    if target.exists() and source.samefile(target):
        raise DerainError(f"{target} is the input itself; choose another output.")
    picture = read_picture(source)
    output = derain_picture(derainer, picture.rgb)
    clean = output.image[0].permute(1, 2, 0).float().cpu().numpy()
    if options.compare:
        before, after = to_bytes(picture.rgb), to_bytes(clean)
        both = compare_frames(before, after, options.compare)
        picture = Picture(both.astype(np.float32) / np.float32(255), None, 255, False)
        clean = picture.rgb
    if several:
        target.parent.mkdir(parents=True, exist_ok=True)
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
