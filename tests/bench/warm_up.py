"""How many frames a cold start needs until it agrees with a run that goes on.

    python tests/bench/warm_up.py FILMS... [--model swift] [--frames 220] [--cuts 3] [--width 320]

Of each film the longest shot is derained once in one piece and once from each of a few cuts inside
it. Told are the frames behind a cut until all further ones agree to 1/255 at the 99.9th percentile
of samples, and until all have 50 dB; "never" where the shot ends before. `HIDDEN_STATE_WARM_UP` in
pipeline/distributed/segments.py is the most that any cut took.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models import Derainer, VideoModel, load_model
from derain.pipeline.distributed.work import set_threads
from derain.pipeline.streaming.shot_detection import ShotDetector
from derain.pipeline.video import VideoReader

Image = NDArray[Any]
LOOK = (24, 48, 104, 200)  # frames behind a cut of which the errors are told


def longest_shot(film: Path, width: int, most: int) -> list[Image]:
    """RGB frames of a film's longest shot, without repeats.

    Args:
        film: to read.
        width: pixels, where the film is wider.
        most: frames of a shot that are kept.
    """
    shots: list[list[Image]] = []
    detector = ShotDetector()
    with VideoReader(film, threads=1) as reader:
        for frame in reader.frames():
            detector.mark(frame)
            if frame.cut or not shots:
                shots.append([])
            if frame.repeat or len(shots[-1]) >= most:
                continue
            rgb = reader.to_rgb(frame)
            scale = width / rgb.shape[1]
            if scale < 1:
                size = (width, round(rgb.shape[0] * scale))
                rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))
            shots[-1].append(rgb)
    return max(shots, key=len)


def results(model: VideoModel, frames: list[Image]) -> list[Image]:
    """What the network makes of a shot, float16 to save memory."""
    stream = Derainer(model, device="cpu", precision="fp32").stream(frames)
    return [output.image[0].numpy().astype(np.float16) for output in stream]


def settled(errors: list[float], fine: Callable[[float], bool]) -> str:
    """The first frame from which on all errors are fine."""
    bad = [index for index, error in enumerate(errors) if not fine(error)]
    if not bad:
        return "0"
    return "never" if bad[-1] == len(errors) - 1 else str(bad[-1] + 1)


def main() -> None:
    """Read the command line, measure, print a line a cut."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--model", default="swift")
    parser.add_argument("--frames", type=int, default=220)
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--width", type=int, default=320)
    given = parser.parse_args()
    set_threads(1)
    model = load_model(given.model)
    for film in given.films:
        frames = longest_shot(film, given.width, given.frames)
        whole = results(model, frames)
        for number in range(1, given.cuts + 1):
            # An even number of frames: the haze is looked at in every second one.
            cut = len(frames) * number // (given.cuts + 2) // 2 * 2
            tails, decibels = [], []
            for cold, warm in zip(results(model, frames[cut:]), whole[cut:], strict=True):
                error = np.abs(cold.astype(np.float32) - warm.astype(np.float32))
                tails.append(255 * float(np.percentile(error, 99.9)))
                decibels.append(-10 * float(np.log10(max(1e-12, (error**2).mean()))))
            sys.stdout.write(
                f"{film.name}: cut at {cut} of {len(frames)}: 1/255 from "
                f"{settled(tails, lambda e: e <= 1)}, 50 dB from "
                f"{settled(decibels, lambda d: d >= 50)}; at {', '.join(map(str, LOOK))}: "
                f"{', '.join(f'{tails[i]:.1f}' for i in LOOK if i < len(tails))} of 255, "
                f"{', '.join(f'{decibels[i]:.0f}' for i in LOOK if i < len(tails))} dB\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
