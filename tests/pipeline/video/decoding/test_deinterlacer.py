"""Frames are counted one for one, whatever is interlaced and whenever the size changes."""

from __future__ import annotations

from fractions import Fraction

import av
import av.filter
import numpy as np
import pytest

from derain.pipeline.video.decoding.deinterlacer import Deinterlacer

TICKS = Fraction(1, 25)


def frame(pts: int, interlaced: bool, size: tuple[int, int] = (64, 48)) -> av.VideoFrame:
    """Rows that are combed: the lower field is a step ahead."""
    rows = np.zeros((size[1], size[0], 3), np.uint8)
    left = 2 + 8 * (pts % 3)
    rows[::2, left : left + 20], rows[1::2, left + 4 : left + 24] = 200, 200
    made = av.VideoFrame.from_ndarray(rows, format="rgb24").reformat(format="yuv420p")
    made.pts, made.time_base = pts, TICKS
    graph = av.filter.Graph()
    source = graph.add_buffer(width=size[0], height=size[1], format="yuv420p", time_base=TICKS)
    mark = graph.add("setfield", "tff" if interlaced else "prog")
    source.link_to(mark)
    mark.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(made)
    marked = graph.pull()
    assert isinstance(marked, av.VideoFrame) and marked.interlaced_frame == interlaced
    return marked


def combed(image: av.VideoFrame) -> float:
    """How much neighbouring rows differ."""
    luma = image.to_ndarray()[: image.height].astype(int)
    return float(np.abs(np.diff(luma, axis=0)).mean())


def test_progressive_frames_are_not_touched() -> None:
    said: list[str] = []
    filter = Deinterlacer(False, TICKS, said.append)
    given = [frame(pts, False) for pts in range(3)]
    taken = [out for each in given for out in filter.push(each)]
    assert all(a is b for a, b in zip(given, taken, strict=True))
    assert filter.push(None) == [] and not filter.active and said == []


def test_interlaced_frames_come_out_one_for_one_and_smooth() -> None:
    said: list[str] = []
    filter = Deinterlacer(False, TICKS, said.append)
    given = [frame(pts, True) for pts in range(5)]
    taken = [out for each in [*given, None] for out in filter.push(each)]
    assert filter.active and len(taken) == 5
    assert [round(out.pts * out.time_base / TICKS) for out in taken] == list(range(5))
    assert max(map(combed, taken)) < combed(given[0]) / 3
    assert len(said) == 1 and "it is deinterlaced" in said[0]


def test_they_stay_where_that_is_asked_for() -> None:
    filter, given = Deinterlacer(True, TICKS, lambda _: None), frame(0, True)
    assert filter.push(given) == [given] and not filter.active


@pytest.mark.parametrize("change", [(32, 32), (64, 64)])
def test_no_frame_is_lost_where_the_size_changes(change: tuple[int, int]) -> None:
    filter = Deinterlacer(False, TICKS, lambda _: None)
    sizes = [(64, 48)] * 3 + [change] * 3
    taken = [out for pts, size in enumerate(sizes) for out in filter.push(frame(pts, True, size))]
    taken += filter.push(None)
    assert [(out.width, out.height) for out in taken] == sizes
