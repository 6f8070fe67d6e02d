"""Colours: what is not said is resolved, what is read and written has the right matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derain.pipeline.video import read_rgb
from derain.pipeline.video.color import Color, add_residual

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("height", [48, 720])
def test_untagged_colour_is_read_as_players_do(make_clip: Callable[..., Path], height: int) -> None:
    red = np.zeros((height, 64, 3), np.uint8) + np.array([200, 60, 30], np.uint8)

    def matrix(frame: av.VideoFrame, index: int) -> av.VideoFrame:
        return frame.reformat(format="yuv420p", dst_colorspace=1 if height >= 720 else 5)

    source = make_clip(
        "in.mkv",
        codec="ffv1",
        color=None,
        frames=1,
        size=(64, height),
        draw=lambda *_: red,
        adjust=matrix,
    )
    [rgb] = read_rgb(source)
    assert np.abs(rgb.mean((0, 1)) * 255 - [200, 60, 30]).max() < 2


def test_color_resolves_what_is_not_said() -> None:
    assert Color().resolved(480).matrix == 6
    assert Color().resolved(720).matrix == 1
    assert Color(9).resolved(480).matrix == 9


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
