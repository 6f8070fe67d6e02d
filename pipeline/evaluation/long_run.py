"""A run of thousands of frames: whether memory grows and whether quality holds to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from derain.models import DerainError, VideoModel
from derain.models.log import Log
from derain.models.ops.image_arrays import to_tensor
from derain.pipeline.rendered.demo import read_8_bit
from derain.pipeline.streaming.derain_video import Report, VideoOptions, derain_video
from derain.pipeline.video import write_rgb
from derain.stages.losses.metrics import psnr

T = TypeVar("T")

EARLY = 200  # frame at which memory is first looked at
WINDOW = 100  # frames whose memory and PSNR are compared at both ends


def memory(field: str) -> float | None:
    """MiB of this process by /proc/self/status: VmHWM (peak) or VmRSS; None where there is none."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next(x for x in status.read_text().splitlines() if x.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def forth_and_back(items: list[T], count: int) -> Iterator[T]:
    """0, 1, …, n-1, n-2, …, 1, 0, 1, … so that a clip goes on without a cut."""
    period = max(1, 2 * len(items) - 2)
    for t in range(count):
        t %= period
        yield items[t if t < len(items) else period - t]


def long_run(
    folder: Path,
    model: VideoModel,
    clean: list[NDArray[np.uint8]],
    rainy: list[NDArray[np.uint8]],
    settings: VideoOptions,
    frames: int,
    progress: Log,
) -> dict[str, object]:
    """Memory and PSNR of the WINDOW frames that end at EARLY, and of the last WINDOW.

    Memory is the median of what is resident at each of these frames: it goes up and down with
    every layer of the network.

    Args:
        folder: for what is written.
        model: to measure.
        clean: frames (H, W, 3), over which the film goes round.
        rainy: the same with rain.
        settings: of the run.
        frames: how many; EARLY + WINDOW at least.
        progress: told how far it is.

    Raises:
        DerainError: the run is too short to tell.
    """
    if frames < EARLY + WINDOW:
        raise DerainError(f"A long run has at least {EARLY + WINDOW} frames; raise --long.")
    source, target = folder / "long.mp4", folder / "long_out.mp4"
    write_rgb(source, forth_and_back(rainy, frames), encoding=settings.encoding)
    resident: dict[int, list[float]] = {EARLY: [], frames: []}

    def watch(report: Report) -> None:
        for end, found in resident.items():
            now = memory("VmRSS") if end - WINDOW < report.frames_out <= end else None
            if now is not None:
                found.append(now)
        if report.frames_out % EARLY == 0:
            progress(f"{report.frames_out} of {frames} frames")

    derain_video(source, target, settings, model=model, progress=watch)
    values = [
        psnr(to_tensor(a), to_tensor(b)).item()
        for a, b in zip(read_8_bit(target), forth_and_back(clean, frames), strict=True)
    ]
    early = values[EARLY - WINDOW : EARLY]
    return {
        "long_frames": frames,
        "resident_mib_early": median(resident[EARLY]) if resident[EARLY] else None,
        "resident_mib_late": median(resident[frames]) if resident[frames] else None,
        "psnr_early": sum(early) / WINDOW,
        "psnr_late": sum(values[-WINDOW:]) / WINDOW,
    }
