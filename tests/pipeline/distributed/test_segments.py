"""Where films are cut, and what is seen around the cuts."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


@given(
    frames=st.integers(1, 400),
    cuts=st.sets(st.integers(1, 399), max_size=8),
    repeats=st.sets(st.integers(1, 399), max_size=200),
    seconds=st.sampled_from([0, 0.2, 1, 3]),
    first=st.integers(0, 20),
)
def test_every_frame_is_written_once_and_seen_with_its_context(
    frames: int, cuts: set[int], repeats: set[int], seconds: float, first: int
) -> None:
    first = min(first, frames - 1)
    shots = [0, *sorted(c for c in cuts if c < frames)]
    repeated = {r for r in repeats if r < frames and r not in shots}
    context = Context(warm_up=7, latency=2)
    segments = cut_segments(
        range(frames), TICK, shots, sorted(repeated), context, seconds, first=first
    )
    assert [n for s in segments for n in range(s.first, s.end)] == list(range(first, frames))
    for s in segments:
        shot = max(b for b in shots if b <= s.first)
        before = [n for n in range(s.context_from, s.first) if n not in repeated]
        assert s.context_from == shot or len(before) in (7, 8)
        assert s.context_from not in repeated
        skipped = [n for n in range(shot, s.context_from) if n not in repeated]
        assert len(skipped) % 2 == 0  # the haze is looked at at every second frame
        end = min([b for b in shots if b >= s.end] or [frames])
        behind = [n for n in range(s.end, s.context_to) if n not in repeated]
        assert s.context_to == end or len(behind) == 2
        assert s.context_to >= s.end


def test_variable_rates_are_cut_by_time() -> None:
    pts = [*range(100), *range(100, 1100, 10)]  # four seconds, then forty at a tenth of the rate
    segments = cut_segments(pts, TICK, [0], [], Context(5, 1), 22)
    lengths = [(pts[s.end - 1] - pts[s.first]) / 25 for s in segments]
    assert lengths == pytest.approx([21.6, 21.6], abs=1)
