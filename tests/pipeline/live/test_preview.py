"""What viewers are shown: views of a frame, each encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from derain.pipeline.live.session import Live, LiveOptions

PATIENCE = 60.0  # seconds until a test gives up on a busy machine


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until it is true."""
    until = time.perf_counter() + PATIENCE
    while not condition():
        assert time.perf_counter() < until, "nothing happened"
        time.sleep(0.01)


def test_layers_are_views_and_each_jpeg_is_made_once(
    make_clip: Callable[..., Path], layered: nn.Module
) -> None:
    options = LiveOptions(str(make_clip(frames=4)), resolution="source")
    with Live(options, layered) as live:
        wait_for(lambda: live.ended)
    shown = live.broadcaster.newest
    assert shown is not None
    assert shown.views == ["derained", "streaks"]
    streaks = shown.image("streaks")
    assert streaks.shape == (48, 64, 3)
    assert (streaks == streaks[0, 0]).all() and (streaks != shown.image()).any()
    assert shown.image("transmission") is shown.image()  # which this network has not
    one, _ = shown.jpeg()
    pair, spent = shown.jpeg(pair=True)
    assert one[:2] == pair[:2] == b"\xff\xd8" and len(pair) > len(one) and spent["jpeg"] > 0
    again, _ = shown.jpeg(pair=True)
    assert again is pair  # encoded once, for all viewers
