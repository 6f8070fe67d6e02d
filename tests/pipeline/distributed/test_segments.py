"""Where films are cut, and what is seen around the cuts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from torch import nn

from derain.models.networks.median import AlignedMedian
from derain.pipeline.distributed.plan import Segment
from derain.pipeline.distributed.segments import (
    HIDDEN_STATE_WARM_UP,
    STILL_WARM_UP,
    Context,
    context_of,
    cut_segments,
    still_shots,
)

TICK = Fraction(1, 25)


def cut(frames: int, shots: list[int], seconds: float, warm_up: int = 10) -> list[Segment]:
    context = Context(warm_up, latency=2)
    return cut_segments(range(frames), TICK, shots, [], context, seconds)


def test_short_shots_go_together_and_nothing_overlaps() -> None:
    segments = cut(250, [0, 50, 100, 150, 200], seconds=5)
    assert [(s.first, s.end) for s in segments] == [(0, 100), (100, 200), (200, 250)]
    assert all((s.context_from, s.context_to) == (s.first, s.end) for s in segments)


def test_a_long_shot_is_divided_evenly_with_context() -> None:
    segments = cut(300, [0], seconds=5)
    assert [s.frames for s in segments] == [100, 100, 100]
    assert [(s.context_from, s.context_to) for s in segments] == [(0, 102), (90, 202), (190, 300)]


def test_no_shot_is_divided_where_nobody_wants_it() -> None:
    assert [s.frames for s in cut(5000, [0, 3000], seconds=0)] == [3000, 2000]


def test_a_network_with_memory_warms_up_longer(recurrent: nn.Module) -> None:
    assert context_of(recurrent, steady=False) == Context(HIDDEN_STATE_WARM_UP, 2, STILL_WARM_UP)
    assert context_of(AlignedMedian(), steady=False).warm_up < 10


def test_a_shot_that_stands_still_warms_up_longer() -> None:
    context = Context(10, latency=2, still_warm_up=50)
    segments = cut_segments(range(400), TICK, [0, 200], [], context, 4, still={200})
    assert [s.first - s.context_from for s in segments] == [0, 10, 0, 50]


def test_shots_that_stand_still_are_found_by_their_brightness() -> None:
    rng = np.random.default_rng(0)
    still = 100 + rng.integers(0, 2, (60, 64))  # rain passes, and noise
    moving = 100 + 2 * np.arange(60)[:, None] + rng.integers(0, 2, (60, 64))
    thumbnails = [each.astype(np.uint8).tobytes() for each in [*still, *moving, *still[:10]]]
    assert still_shots(thumbnails, [0, 60, 120]) == {0, 120}
