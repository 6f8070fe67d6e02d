"""Files of a turned camera, live: upright in the network, on the page and in what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from torch import nn

from derain.pipeline.live.session import Live, LiveOptions
from derain.pipeline.live.turning import Turner
from derain.pipeline.video import Color, Frame, read_rgb
from derain.pipeline.video.encoders import Encoding
from derain.pipeline.video.frames import upright

SCENE = np.kron(
    np.array([[[60, 60, 60], [90, 60, 60]], [[60, 90, 60], [60, 60, 200]]], np.uint8),
    np.ones((40, 24, 1), np.uint8),
)  # upright: 48 wide, 80 high
UNIT = 1 << 16
MATRICES = [
    (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    for a, b, c, d in [
        (x * UNIT, 0, 0, y * UNIT) if not turned else (0, x * UNIT, y * UNIT, 0)
        for turned in (False, True)
        for x in (1, -1)
        for y in (1, -1)
    ]
]


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("format", ["yuv420p", "yuvj420p", "yuv422p", "yuv420p10le", "rgb24"])
def test_images_are_turned_as_players_do(matrix: tuple[int, ...], format: str) -> None:
    image = av.VideoFrame.from_ndarray(SCENE, format="rgb24").reformat(format=format)
    before = image.to_ndarray(format="rgb24")
    turner = Turner(matrix)
    for index in range(2):  # the filters hold nothing back
        frame = Frame(image, index, Fraction(1), Color(), index)
        turner.turn(frame)
        found = frame.image.to_ndarray(format="rgb24")
        wanted = upright(before, matrix)
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).mean() < 2


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_turned_file_is_shown_and_recorded_upright(
    turned_film: Callable[..., Path], identity: nn.Module, tmp_path: Path, degrees: int
) -> None:
    film, target = turned_film(SCENE, degrees), tmp_path / "recorded.mp4"
    options = LiveOptions(
        str(film),
        resolution="source",
        precision="fp32",
        record=str(target),
        encoding=Encoding(crf=4),
    )
    with Live(options, identity) as live:
        while not live.ended:
            time.sleep(0.01)
        newest = live.broadcaster.newest
    assert newest is not None
    assert live.size == live.source_size == (48, 80)
    for shown in (newest.image(), newest.rainy(), next(read_rgb(target)) * 255):
        assert np.abs(shown.astype(float) - SCENE).mean() < 4
