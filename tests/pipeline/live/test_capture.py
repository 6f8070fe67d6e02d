"""The newest frame of a source: what a dropped one leaves behind, and waiting for room."""

from __future__ import annotations

import threading
from fractions import Fraction
from typing import Any

import pytest

from derain.pipeline.live.capture import LatestFrame, LiveFrame
from derain.pipeline.streaming.threads import Stopped
from derain.pipeline.video.color import Color


def frame(index: int, cut: bool = False, repeat: bool = False) -> LiveFrame:
    nothing: Any = None
    return LiveFrame(nothing, index, Fraction(1, 25), Color(), index, cut=cut, repeat=repeat)


def test_a_newer_frame_takes_the_place_of_the_one_that_waits() -> None:
    latest = LatestFrame(threading.Event())
    for index in range(3):
        latest.put(frame(index))
    latest.end()
    taken = latest.take()
    assert taken is not None and taken.index == 2
    assert latest.dropped == 2
    assert latest.take() is None


@pytest.mark.parametrize(
    ("lost", "newer", "cut", "repeat"),
    [
        (frame(0, cut=True), frame(1), True, False),
        (frame(0), frame(1, repeat=True), False, False),  # repeats what nobody saw
        (frame(0, repeat=True), frame(1, repeat=True), False, True),
        (frame(0, repeat=True), frame(1), False, False),
    ],
)
def test_what_a_dropped_frame_meant_for_the_shot_stays_true(
    lost: LiveFrame, newer: LiveFrame, cut: bool, repeat: bool
) -> None:
    latest = LatestFrame(threading.Event())
    latest.put(lost)
    latest.put(newer)
    taken = latest.take()
    assert taken is newer and (taken.cut, taken.repeat) == (cut, repeat)


def test_a_patient_slot_waits_and_leaves_when_all_is_over() -> None:
    stop = threading.Event()
    latest = LatestFrame(stop, block=True)
    latest.put(frame(0))
    threading.Timer(0.05, latest.take).start()
    latest.put(frame(1))
    assert latest.dropped == 0
    stop.set()
    with pytest.raises(Stopped):
        latest.put(frame(2))
