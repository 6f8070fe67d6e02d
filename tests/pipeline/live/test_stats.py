"""Percentiles of delays, and rates of the last seconds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from derain.pipeline.live import stats
from derain.pipeline.live.stats import Rate, Times


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
