"""A segment with its context, read from the film."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derain.pipeline.distributed.segments import (
    Context,
    cut_segments,
)

TICK = Fraction(1, 25)


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
