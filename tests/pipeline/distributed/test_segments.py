"""Where films are cut, and what is seen around the cuts."""

from __future__ import annotations

from fractions import Fraction

from torch import nn

from derain.models.networks.median import AlignedMedian
from derain.pipeline.distributed.plan import Segment
from derain.pipeline.distributed.segments import (
    HIDDEN_STATE_WARM_UP,
    Context,
    context_of,
    cut_segments,
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
    assert context_of(recurrent, steady=False) == Context(HIDDEN_STATE_WARM_UP, 2)  # type: ignore[arg-type]
    assert context_of(AlignedMedian(), steady=False).warm_up < 10
