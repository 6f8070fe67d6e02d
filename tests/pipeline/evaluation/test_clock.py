"""What clocks count: waiting, work, and the median of repeated measurements."""

from __future__ import annotations

import time

import pytest

from derain.pipeline.evaluation.clock import Clock, Clocks


def test_sleep_takes_wall_time_and_work_takes_both() -> None:
    with Clock() as asleep:
        time.sleep(0.2)
    assert asleep.wall >= 0.2 > 2 * asleep.cpu
    with Clock() as working:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert working.wall > 0.05
    assert working.cpu > 0.05  # it counts in hundredths of a second


def test_the_median_counts_of_parts_that_are_measured_again() -> None:
    clocks = Clocks()
    for seconds in (0.0, 0.05, 0.3):
        with clocks.timing("wait"):
            time.sleep(seconds)
    with clocks.timing("once"):
        pass
    times = clocks.per_frame(10)
    assert list(times) == ["wait", "once"]
    assert 0.005 <= times["wait"]["wall"] < 0.03
    assert times["wait"]["cpu"] < times["wait"]["wall"]


def test_what_fails_is_not_counted() -> None:
    clocks = Clocks()
    with pytest.raises(ValueError, match="broken"), clocks.timing("broken"):
        raise ValueError("broken")
    assert clocks.per_frame(1) == {}
