"""Recordings of a session: frames at their times, sizes, failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.live.session import Live, LiveOptions
from derain.pipeline.video import read_rgb
from derain.pipeline.video.encoders import Encoding

PATIENCE = 60.0  # seconds until a test gives up on a busy machine


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until it is true."""
    until = time.perf_counter() + PATIENCE
    while not condition():
        assert time.perf_counter() < until, "nothing happened"
        time.sleep(0.01)


def test_a_file_is_recorded_frame_by_frame_at_its_times(
    make_clip: Callable[..., Path], recurrent: nn.Module, contents: Callable, tmp_path: Path
) -> None:
    pts = [0, 1, 2, 4, 5, 9, 10, 11]
    clip = make_clip("in.mkv", frames=8, pts=pts)
    target = tmp_path / "out.mkv"
    options = LiveOptions(str(clip), record=str(target), resolution="source")
    with Live(options, recurrent) as live:
        wait_for(lambda: live.ended)
        live.broadcaster.wait(7)
    assert (live.frames, live.latest.dropped) == (8, 0)
    assert contents(target).times == pytest.approx([x / 25 for x in pts], abs=0.002)
    with pytest.raises(DerainError, match="add -y"):
        Live(options, recurrent)
    target.unlink()
    part = tmp_path / "out.part.mkv"
    part.touch()
    with pytest.raises(DerainError, match="interrupted recording"):
        Live(options, recurrent)
    with pytest.raises(DerainError, match="is the input itself"):
        Live(LiveOptions(str(clip), record=str(clip), overwrite=True), recurrent)


def test_a_recording_has_the_size_of_the_source(
    make_clip: Callable[..., Path],
    identity: nn.Module,
    invert: nn.Module,
    contents: Callable,
    tmp_path: Path,
) -> None:
    clip, target = make_clip("in.mkv", frames=6), tmp_path / "out.mkv"
    lossless = Encoding("ffv1")
    options = LiveOptions(
        str(clip), record=str(target), resolution="32x24", encoding=lossless, overwrite=True
    )
    with Live(options, identity) as live:
        wait_for(lambda: live.ended)
    shown = live.broadcaster.newest
    assert shown is not None and shown.image().shape == (24, 32, 3)
    # What the network does not change stays the source's to the last bit.
    assert contents(target).same_frames(contents(clip))
    with Live(options, invert) as live:
        wait_for(lambda: live.ended)
    for before, after in zip(read_rgb(clip), read_rgb(target), strict=True):
        small = cv2.resize(before + after, (16, 12), interpolation=cv2.INTER_AREA)
        assert np.abs(small - 1).mean() < 0.03


def test_a_recording_that_fails_ends_with_a_sentence(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    options = LiveOptions(
        str(make_clip()), record=str(tmp_path / "out.unknown"), resolution="source"
    )
    with pytest.raises(DerainError, match=r"out\.unknown"), Live(options, identity) as live:
        wait_for(lambda: live.ended)
