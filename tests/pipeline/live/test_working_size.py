"""The size at which a live source is derained: measured, chosen, and changed with the load."""

from __future__ import annotations

import time

import numpy as np
import pytest
from torch import Tensor, nn

from derain.models import Derainer
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.pipeline.live.working_size import AutoSize, fit, measure, parse_resolution


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
