"""What a stream is, where headers say odd things."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from derain.pipeline.video import VideoReader


def test_raw_dv_has_frames_a_second_and_not_ticks(tmp_path: Path) -> None:
    path = tmp_path / "in.dv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("dvvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(np.zeros((576, 720, 3), np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with VideoReader(path) as reader:
        assert reader.video.rate == 25
