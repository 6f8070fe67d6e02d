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
from derain.pipeline.video.color import Color, Residual, add_residual, to_bgr, to_bytes, to_float

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


@pytest.mark.parametrize(("kind", "peak"), [(np.uint8, 255), (np.uint16, 1023), (np.uint16, 65535)])
def test_integers_come_back_through_float(kind: type[np.generic], peak: int) -> None:
    values = np.linspace(0, peak, 256).astype(kind).reshape(-1, 1, 1)
    found = to_float(values, peak)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert found.min() == 0 and found.max() == pytest.approx(1, abs=1e-6)
    if peak == 255:
        np.testing.assert_array_equal(to_bytes(found), values)


def test_bytes_are_clipped_and_rounded_whatever_the_shape() -> None:
    row = np.array([-1.0, 0.4 / 255, 0.6 / 255, 1.0, 9.0], np.float32)
    for shape in ((5,), (5, 1), (1, 5, 1)):
        assert to_bytes(row.reshape(shape)).ravel().tolist() == [0, 0, 1, 255, 255]


def test_channels_are_turned_round_and_back() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(to_bgr(image), image[..., ::-1])
    np.testing.assert_array_equal(to_bgr(to_bgr(image)), image)


def test_a_residual_of_two_images_is_their_difference() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random((2, 40, 24, 3)).astype(np.float32)
    residual = Residual(after, before)
    np.testing.assert_array_equal(residual.whole(), after - before)
    exact = float((np.abs(after - before) > 0.3).mean())
    assert residual.share(0.3) == pytest.approx(exact, abs=0.05)
    planes = [[np.full(shape, 100, np.uint8) for shape in ((40, 24), (20, 12), (20, 12))]] * 2
    one, two = ([plane.copy() for plane in each] for each in planes)
    add_residual(one, residual, Color(1), 8)
    add_residual(two, residual.whole(), Color(1), 8)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
