"""Time and size of a whole film from short runs of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from derain.pipeline.preview.estimate import Pace, Packets, estimate_size, video_packets


def test_pace_is_that_of_the_middle_of_the_longest_run() -> None:
    pace = Pace()
    assert pace.rate is None
    pace.add([5.0, 5.1], 6.0)  # too short to tell
    assert pace.rate is None
    # What the encoder still holds at the end is of all five frames, two of which count.
    pace.add([10.0, 15.0, 16.0, 17.0, 18.0], 20.0)
    assert (pace.frames, pace.seconds) == (2, pytest.approx(2.0 + 2.0 * 2 / 5))
    pace.add([0.0, 1.0, 9.0, 9.5], 9.5)  # a shorter run tells less
    assert pace.rate == pytest.approx(2 / 2.8)
    pace.add([0.0, 0.0, *(float(i) for i in range(10)), *[9.0] * 5], 9.0)  # the end is quicker
    assert pace.rate == pytest.approx(1.0)


def test_packets_of_some_seconds(make_clip: Callable[..., Path]) -> None:
    clip = make_clip(frames=50, options={"g": "10", "preset": "ultrafast", "sc_threshold": "0"})
    found = video_packets(clip)
    assert (len(found.keys), len(found.others)) == (5, 45)
    part = video_packets(clip, 0.4, 1.2)
    assert (len(part.keys), len(part.others)) == (2, 18)
    assert len((part + part).others) == 36


def test_size_weighs_key_frames_by_how_rare_they_are() -> None:
    made = Packets((1000,), (100,) * 9)
    assert estimate_size(made, Packets(), 0, 1000) == 4 * 1000 + 996 * 100
    assert estimate_size(Packets(), Packets(), 0, 1000) == 0
    short = estimate_size(made, Packets(), 0, 10)
    assert short == 1000 + 9 * 100


def test_size_follows_the_source_where_spots_are_heavier_than_the_rest() -> None:
    made, given = Packets((1000,), (100,) * 9), Packets((), (200,) * 10)
    plain = estimate_size(made, given, 200 * 1000, 1000)
    half = estimate_size(made, given, 100 * 1000, 1000)
    assert plain == pytest.approx(4 * 1000 + 996 * 100, rel=0.01)
    assert half == pytest.approx(4 * 1000 + 996 * 50, rel=0.01)
