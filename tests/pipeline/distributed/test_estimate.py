"""The formula of `derain plan --estimate`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from derain.models.errors import UsageError
from derain.pipeline.distributed.estimate import Load, estimate, explain

# A thousand hours of 1080p on a hundred GPUs.
FARM = Load(hours=1000, workers=100, worker_fps=50, decode_fps=400, films=1000, storage=2000)


def test_a_thousand_hours_on_a_hundred_gpus() -> None:
    found = estimate(FARM)
    # 90 million frames, 7 % more for warming up, over 5,000 frames a second.
    assert found.work_hours == pytest.approx(90e6 * (1 + 104 / 1500) / 5000 / 3600)
    assert found.plan_hours == pytest.approx(90e6 / 400 / 100 / 3600)
    assert found.gigabytes_written == pytest.approx(2 * 1000 * 3600 * 8 / 8 / 1000)
    assert found.bound == "the network" and found.useful_workers == 100
    assert "1000 h of film on 100 workers: about 7.5 h" in explain(found, FARM)


def test_where_more_workers_do_not_help() -> None:
    assert estimate(replace(FARM, storage=200)).bound == "the storage"
    one = replace(FARM, hours=1, films=1, storage=2000)
    assert estimate(one).useful_workers == 60
    assert estimate(one).bound == "planning and joining"
    slow = replace(one, worker_fps=1, workers=100)
    assert estimate(slow).bound == "segments"


def test_twice_the_workers_take_half_the_time_and_longer_segments_waste_less() -> None:
    half = estimate(replace(FARM, workers=50)).work_hours
    assert half == pytest.approx(2 * estimate(FARM).work_hours)
    longer = estimate(replace(FARM, segment=600))
    assert longer.work_hours < estimate(FARM).work_hours


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="worker fps must be above 0"):
        estimate(replace(FARM, worker_fps=0))
