"""The newest frame of a source: what a dropped one leaves behind, and waiting for room."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from derain.pipeline.live.capture import Capture, LatestFrame, LiveFrame
from derain.pipeline.live.source import find_source
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


def test_a_short_film_at_its_own_pace_waits_for_the_network(make_clip: Callable[..., Path]) -> None:
    running, ready, stop = (threading.Event() for _ in range(3))
    running.set()
    latest = LatestFrame(stop)
    capture = Capture(
        find_source(str(make_clip(frames=5)), realtime=True),
        latest,
        running=running,
        ready=ready,
        stop=stop,
        notice=lambda text: None,
    )
    thread = threading.Thread(target=capture.run)
    thread.start()
    assert latest.take() is not None
    thread.join(timeout=0.5)  # longer than the film
    assert capture.captured == 1
    ready.set()
    thread.join()
    assert capture.captured == 5
