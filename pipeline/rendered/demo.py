"""`derain demo`: a rendered scene, rain on it, and the real way through `derain_video`.

Needs no files. Shows what the product does and how well, and makes the README's image.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.models.ops.image_arrays import to_tensor, to_uint8
from derain.pipeline.rendered.scenes import demo_frames
from derain.pipeline.rendered.synth import SynthOptions, named_rain, rain_on
from derain.pipeline.rendered.tone import write_tone
from derain.pipeline.storage.stores import require_local
from derain.pipeline.streaming.compare import compare_frames, contact_sheet
from derain.pipeline.streaming.derain_video import VideoOptions, derain_video
from derain.pipeline.video import (
    Color,
    Encoding,
    Frame,
    Video,
    VideoReader,
    VideoWriter,
    read_rgb,
    write_rgb,
)
from derain.pipeline.video.color import to_bytes, to_float
from derain.stages.losses.metrics import psnr

RATE = 25
RAIN = SynthOptions(rain="downpour", seed=4, strength=1.4)


@dataclass(frozen=True, slots=True)
class DemoReport:
    """PSNR in dB against the scene, decoded from the files; and the files."""

    before: float
    after: float
    frames: int
    files: dict[str, Path]


def make_demo(
    folder: Path,
    options: VideoOptions,
    *,
    size: tuple[int, int] = (640, 360),
    frames: int = 60,
    progress: Log = say_nothing,
) -> DemoReport:
    """Render, rain, derain, compare.

    Args:
        folder: where rainy.mp4, clean.mp4, side_by_side.mp4 and contact_sheet.png go.
        options: as for `derain_video`.
        size: width and height, both even.
        frames: how many to render, at least 6.
        progress: told what is being done.

    Raises:
        DerainError: files are there already and may not be replaced, or the folder cannot be made.
    """
    require_local(folder)
    names = ("rainy.mp4", "clean.mp4", "side_by_side.mp4", "contact_sheet.png")
    files = {Path(name).stem: folder / name for name in names}
    there = [path for path in files.values() if path.exists()]
    if there and not options.overwrite:
        raise DerainError(
            f"{there[0]} is there already; add -y to replace it, or choose another -o."
        )
    width, height = size
    try:
        folder.mkdir(parents=True, exist_ok=True)
        progress(f"rendering {frames} frames of {width}x{height} with rain")
        # Kept in 8 bits, as a camera gives them; a whole demo is some 40 MB.
        scene = [to_bytes(f) for f in demo_frames(height, width, frames)]
        settings = named_rain(RAIN, height)
        rain = rain_on(map(to_float, scene), settings, RAIN.seed)
        write_with_tone(files["rainy"], (to_uint8(r.rainy[0]) for r in rain), size, frames)
        progress("removing the rain")
        derain_video(files["rainy"], files["clean"], options)
        progress("comparing")
        rainy, clean = list(read_8_bit(files["rainy"])), list(read_8_bit(files["clean"]))
        pairs = zip(rainy, clean, strict=True)
        write_rgb(
            files["side_by_side"], (compare_frames(a, b, "side") for a, b in pairs), RATE,
            Encoding(crf=18),
        )  # fmt: skip
    except OSError as error:
        raise DerainError(str(error)) from error
    moments = [frames // 6, frames // 2, frames - 1 - frames // 6]
    rows = {"rain": rainy, "derain": clean, "scene": scene}
    sheet = contact_sheet({name: [clip[t] for t in moments] for name, clip in rows.items()})
    if not cv2.imwrite(str(files["contact_sheet"]), sheet[..., ::-1]):
        raise DerainError(f"{files['contact_sheet']} cannot be written; choose another -o.")
    return DemoReport(mean_psnr(rainy, scene), mean_psnr(clean, scene), frames, files)


def read_8_bit(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode a file to (H, W, 3) uint8 RGB."""
    return (to_bytes(frame) for frame in read_rgb(path))


def mean_psnr(frames: list[NDArray[np.uint8]], truth: list[NDArray[np.uint8]]) -> float:
    """RGB PSNR in dB, mean over frames."""
    values = [psnr(to_tensor(a), to_tensor(b)) for a, b in zip(frames, truth, strict=True)]
    return torch.stack(values).mean().item()


def write_with_tone(
    path: Path, frames: Iterator[NDArray[np.uint8]], size: tuple[int, int], count: int
) -> None:
    """Write frames with a quiet tone beside them, so that there is sound to be kept.

    Args:
        path: of the file to write.
        frames: (H, W, 3) uint8, RGB.
        size: width and height.
        count: how many there are, for the tone's length.
    """
    video = Video(*size, rate=Fraction(RATE), color=Color(1, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "tone.mkv"
        write_tone(sound, count / RATE)
        with VideoReader(sound) as source:
            writer = VideoWriter(path, video, Encoding(crf=12), source=source, overwrite=True)
            with writer:
                for item in source:
                    if isinstance(item, Frame):
                        writer.write_rgb(next(frames), item.index)
                    else:
                        writer.copy(item)
