"""A quiet tone as a file, so that what the project renders has sound to be kept.

The one place where sound is encoded; everywhere else it is copied.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SAMPLES = 48000  # a second
CHUNK = 1024  # samples of an AAC packet


def write_tone(path: Path, seconds: float, pitch: float = 330.0) -> None:
    """Write a Matroska file: AAC sound of `pitch` hertz, and a black frame of 16x16 at 25 fps.

    Args:
        path: of the file to write.
        seconds: how long.
        pitch: hertz.
    """
    times = np.arange(round(seconds * SAMPLES)) / SAMPLES
    wave = (0.2 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)[None]
    with av.open(str(path), "w", format="matroska") as out:
        sound = out.add_stream("aac", rate=SAMPLES, layout="mono")
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
        black = np.zeros((24, 16), np.uint8)
        for index in range(max(1, round(seconds * 25))):
            frame = av.VideoFrame.from_ndarray(black, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(video.encode(frame))
        for start in range(0, wave.shape[1], CHUNK):
            samples = np.ascontiguousarray(wave[:, start : start + CHUNK])
            piece = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = SAMPLES, start, Fraction(1, SAMPLES)
            out.mux(sound.encode(piece))
        out.mux([*video.encode(None), *sound.encode(None)])
