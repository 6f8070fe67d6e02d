"""Properties over sizes and time stamps, with hypothesis."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derain.pipeline.video import Encoding, VideoReader, VideoWriter
from derain.pipeline.video.color import Color, add_residual
from derain.pipeline.video.frames import Frame, Video

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    across=st.sampled_from([1, 2, 4]),
    down=st.sampled_from([1, 2]),
    bits=st.sampled_from([8, 10, 12]),
    full=st.booleans(),
    matrix=st.sampled_from([1, 5, 9]),
)
def test_a_grey_change_moves_brightness_alone(
    width: int, height: int, across: int, down: int, bits: int, full: bool, matrix: int
) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    middle = 2 ** (bits - 1)
    chroma = (-(-height // down), -(-width // across))
    planes = [np.full(s, middle, kind) for s in ((height, width), chroma, chroma)]
    add_residual(
        planes, np.zeros((height, width, 3), np.float32), Color(matrix, full_range=full), bits
    )
    assert all((p == middle).all() for p in planes)
    change = np.full((height, width, 3), 0.1, np.float32)
    add_residual(planes, change, Color(matrix, full_range=full), bits)
    unit = (2**bits - 1) if full else 219 * 2 ** (bits - 8)
    assert (np.abs(planes[0].astype(float) - middle - 0.1 * unit) <= 0.51).all()
    assert (planes[1] == middle).all() and (planes[2] == middle).all()
    add_residual(planes, change * 100, Color(matrix, full_range=full), bits)
    assert (planes[0] == 2**bits - 1).all()


@FEW
@given(
    size=st.tuples(st.integers(16, 70), st.integers(16, 70)),
    steps=st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    start=st.integers(0, 200_000),
    name=st.sampled_from(["a.mp4", "a.mov", "a.nut"]),
)
def test_sizes_and_time_stamps_come_back_exactly(
    size: tuple[int, int], steps: list[int], start: int, name: str
) -> None:
    base = Fraction(1, 90000)
    pts = [start + int(t) for t in np.cumsum(steps)]
    video = Video(*size, rate=Fraction(25), time_base=base, color=Color(1, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        with VideoWriter(target, video, Encoding()) as writer:
            for index, stamp in enumerate(pts):
                image = av.VideoFrame(*size, "yuv420p")
                for plane in image.planes:
                    plane.update(bytes([40 + 10 * index]) * plane.buffer_size)
                writer.write(Frame(image, stamp, base, video.color, index))
        with VideoReader(target) as reader:
            found = list(reader.frames())
            assert (reader.video.width, reader.video.height) == size
    assert [f.pts * f.time_base for f in found] == [p * base for p in pts]
