"""Parts of a live session on their own: the latest frame, sources, sizes, numbers."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from derain.models import Derainer
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.pipeline.live import stats
from derain.pipeline.live.capture import LatestFrame, LiveFrame
from derain.pipeline.live.source import find_source
from derain.pipeline.live.stats import Rate, Times
from derain.pipeline.live.working_size import AutoSize, fit, measure, parse_resolution
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


@pytest.mark.parametrize(
    ("word", "platform", "name", "format", "lives"),
    [
        ("1", "linux", "/dev/video1", "v4l2", True),
        ("/dev/video3", "linux", "/dev/video3", "v4l2", True),
        ("0", "darwin", "0", "avfoundation", True),
        ("video=Camera", "win32", "video=Camera", "dshow", True),
        ("rtsp://host/a", "linux", "rtsp://host/a", None, True),
        ("lavfi:testsrc2", "linux", "lavfi:testsrc2", None, False),
    ],
)
def test_words_for_sources(
    word: str, platform: str, name: str, format: str | None, lives: bool
) -> None:
    source = find_source(word, size="320x240", fps=30, platform=platform)
    assert (source.name, source.format, source.lives) == (name, format, lives)
    camera = format in ("v4l2", "avfoundation", "dshow")
    assert source.options.get("video_size") == ("320x240" if camera else None)
    assert ("timeout" in source.options) == word.startswith("rtsp")


def test_windows_numbers_cameras_through_opencv_and_unknown_words_are_refused() -> None:
    assert find_source("0", platform="win32").opencv
    with pytest.raises(DerainError, match=r"no file or camera 'nothing\.mp4'"):
        find_source("nothing.mp4")


@pytest.mark.parametrize(
    ("source", "per_pixel", "rate", "expected"),
    [
        ((640, 360), 1e-9, 25, (640, 360)),  # fast: as it is
        ((640, 361), 1e-9, 25, (640, 361)),
        ((1280, 720), 0.8 / 12 / (640 * 360) * 0.999, 25, (640, 360)),
        ((1280, 720), 0.8 / 6 / (640 * 360) * 0.999, 6, (640, 360)),  # a slow source asks for less
        ((640, 360), 1.0, 25, (160, 88)),  # never smaller
        ((360, 640), 1.0, 25, (160, 288)),
    ],
)
def test_the_working_size_is_what_the_network_can_take(
    source: tuple[int, int], per_pixel: float, rate: float, expected: tuple[int, int]
) -> None:
    assert fit(source, per_pixel, rate) == expected


SOURCE = (1280, 720)
FULL = 1280 * 720


def drive(auto: AutoSize, per_pixel: float, seconds: float, now: float) -> tuple[float, int]:
    """Frames at a load, as the network's thread reports them: the moment after, and changes."""
    changes, until = 0, now + seconds
    while now < until:
        took = per_pixel * auto.size[0] * auto.size[1]
        now += max(took, 1 / auto.rate)
        changes += auto.update(took, now)
    return now, changes


def test_one_busy_second_does_not_decide_for_the_session() -> None:
    quiet = 0.5 / 12 / FULL
    auto = AutoSize(SOURCE, 10 * quiet, 25)  # measured while the machine was busy
    assert auto.size[0] < 700
    now, _ = drive(auto, quiet, 60, 0.0)
    assert auto.size == SOURCE
    now, changes = drive(auto, 20 * quiet, 1.5, now)  # busy again, for a moment
    assert changes == 0 and auto.size == SOURCE


def test_lasting_load_makes_the_frame_smaller_and_its_end_larger_again() -> None:
    quiet = 0.5 / 12 / FULL
    auto = AutoSize(SOURCE, quiet, 25)
    now, changes = drive(auto, 4 * quiet, 60, 0.0)
    assert changes == 1 and SOURCE[0] // 2 < auto.size[0] < SOURCE[0]
    now, changes = drive(auto, 3.9 * quiet, 60, now)  # about as before: no hunting
    assert changes == 0
    drive(auto, quiet, 60, now)
    assert auto.size == SOURCE


def test_growing_in_vain_is_tried_more_and_more_rarely() -> None:
    quiet = 0.5 / 12 / FULL
    auto = AutoSize(SOURCE, 4 * quiet, 25)
    small, now, changes = auto.size[0] * auto.size[1], 0.0, []
    for _ in range(2):
        seen = 0
        for _ in range(1800):  # cheap while small, dear as soon as it has grown
            grown = auto.size[0] * auto.size[1] > 1.1 * small
            now, changed = drive(auto, (5 if grown else 1) * quiet, 0.1, now)
            seen += changed
        changes.append(seen)
    assert 0 < changes[1] < changes[0]


def test_the_measurement_times_the_network() -> None:
    class Slow(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            time.sleep(0.05)
            return rainy

    derainer = Derainer(PerFrame(Slow()), device="cpu")
    per_pixel = measure(derainer, np.zeros((40, 60, 3), np.float32), seconds=0.2)
    assert 0.05 <= per_pixel * 2400 < 0.5
    assert derainer.state is None


def test_resolutions_are_checked() -> None:
    assert parse_resolution("640x360") == (640, 360)
    assert parse_resolution("auto") == "auto"
    for wrong in ("big", "641x360", "8x8"):
        with pytest.raises(DerainError, match="--resolution"):
            parse_resolution(wrong)


def test_percentiles_are_of_each_part_and_of_their_sums() -> None:
    times = Times()
    for value in range(100):
        times.add({"wait": value / 1000, "network": 0.1})
    found = times.percentiles()
    assert found["wait"] == pytest.approx((50, 95))
    assert found["own"] == pytest.approx((50, 95))
    assert found["total"] == pytest.approx((150, 195))
    assert "jpeg" not in found


def test_a_rate_is_of_the_last_seconds_and_falls_when_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(stats, "time", SimpleNamespace(perf_counter=lambda: now))
    rate = Rate(seconds=3)
    assert rate.value() == 0
    for moment in (0.0, 5.0, 5.1, 5.2):
        now = moment
        rate.tick()
    now = 5.3
    assert rate.value() == pytest.approx(10)
    now = 15.1
    assert rate.value() == pytest.approx(0.1)
