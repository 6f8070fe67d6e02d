"""Frames of two clips: what is where, and that captions hide little."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.streaming.compare import compare_frames, contact_sheet, label
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import VideoReader

BEFORE = np.full((120, 200, 3), 60, np.uint8)
AFTER = np.full((120, 200, 3), 180, np.uint8)
# Four corners of different colours, upright: 60 wide, 100 high.
CORNERS = np.array([[[200, 60, 60], [60, 200, 60]], [[60, 60, 200], [200, 200, 60]]], np.uint8)
SCENE = CORNERS.repeat(50, 0).repeat(30, 1)


def test_side_by_side_keeps_every_pixel_below_the_captions() -> None:
    both = compare_frames(BEFORE, AFTER, "side")
    assert both.shape == (120, 400, 3)
    assert (both[30:, :200] == 60).all()
    assert (both[30:, 200:] == 180).all()
    assert (both[:30, :200] != 60).any()


def test_wipe_splits_the_frame_in_the_middle() -> None:
    both = compare_frames(BEFORE, AFTER, "wipe")
    assert both.shape == BEFORE.shape
    assert (both[30:, :99] == 60).all()
    assert (both[30:, 101:] == 180).all()
    assert (both[30:, 99:101] == 255).all()


def test_inputs_are_left_alone() -> None:
    compare_frames(BEFORE, AFTER, "wipe")
    assert (BEFORE == 60).all()
    assert (AFTER == 180).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (31, 17)])
@pytest.mark.parametrize("mode", ["side", "wipe"])
def test_small_frames_stay_free_of_captions(size: tuple[int, int], mode: str) -> None:
    before, after = (np.full((*size, 3), v, np.uint8) for v in (10, 20))
    both = compare_frames(before, after, mode)
    assert both.shape == (size[0], size[1] * (2 if mode == "side" else 1), 3)
    assert np.isin(both, (10, 20, 255)).all()


def test_caption_takes_the_right_corner() -> None:
    frame = label(BEFORE, "after", right=True)
    assert (frame[:, :100] == 60).all()
    assert (frame[:30, 100:] != 60).any()


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("mode", ["side", "wipe"])
def test_turned_video_is_composed_upright(
    make_clip: Callable[..., Path], identity: nn.Module, degrees: int, flipped: bool, mode: str
) -> None:
    """A phone's film is stored on its side; the captions must not lie on theirs."""
    turned = SCENE[:, ::-1] if flipped else SCENE  # a player turns first and flips then
    stored = np.rot90(turned, -degrees // 90)
    assert stored.shape[:2] == ((60, 100) if degrees % 180 else (100, 60))

    def prepare(container: Any, stream: Any) -> None:
        stream.set_display_rotation(degrees, hflip=flipped)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    height, width = stored.shape[:2]
    source = make_clip(
        "in.mp4", frames=2, size=(width, height), draw=lambda *_: stored, prepare=prepare
    )
    target = source.with_name("out.mp4")
    derain_video(source, target, VideoOptions(precision="fp32", compare=mode), model=identity)
    with VideoReader(target) as reader:
        found = reader.to_rgb(next(reader.frames()))
        assert reader.video.display_matrix is None
        assert reader.video.aspect == (Fraction(3, 4) if degrees % 180 else Fraction(4, 3))
    assert found.shape == (100, 120 if mode == "side" else 60, 3)
    before, after = found[:, :28], found[:, -28:]
    wanted = SCENE.astype(np.float32) / 255
    assert np.abs(before[40:] - wanted[40:, :28]).mean() < 0.03
    assert np.abs(after[40:] - wanted[40:, -28:]).mean() < 0.03


def test_contact_sheet_places_rows_and_columns() -> None:
    sheet = contact_sheet({"rain": [BEFORE, BEFORE], "clean": [AFTER, AFTER]}, gap=2)
    assert sheet.shape == (242, 402, 3)
    assert (sheet[30:120, 202:] == 60).all()
    assert (sheet[152:, :200] == 180).all()
    assert (sheet[120:122] == 255).all()
    assert contact_sheet({"a": [BEFORE, AFTER]}, width=100).shape == (30, 100, 3)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(DerainError, match="one size"):
        compare_frames(BEFORE, AFTER[:50])
    with pytest.raises(DerainError, match="side or wipe"):
        compare_frames(BEFORE, AFTER, "blink")
    with pytest.raises(DerainError, match="equal length"):
        contact_sheet({"a": [BEFORE], "b": []})
