"""Streaks: wind that is known at any time."""

from __future__ import annotations

import torch

from derain.stages.data.rain.streaks import wander


def test_a_swing_is_bounded_slow_and_the_same_in_pieces() -> None:
    def swing(times: torch.Tensor) -> torch.Tensor:
        return wander(times, 2.0, torch.Generator().manual_seed(0))

    times = torch.arange(300.0)
    whole = swing(times)
    assert float(whole.abs().max()) <= 2 and float(whole.abs().max()) > 0.5
    assert float(whole.diff().abs().max()) < 0.6
    torch.testing.assert_close(torch.cat([swing(times[:100]), swing(times[100:])]), whole)
    assert float(wander(times, 0.0, torch.Generator()).abs().max()) == 0
