"""Frames for the page: the same frame before and after, of results that still grow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.frames import pair, probe
from derain.pipeline.video.containers import FRAGMENTS


def cut_copy(source: Path, target: Path, options: dict[str, str]) -> None:
    """The streams of a film in another file, which ends in the middle of a write."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    data = target.read_bytes()
    target.write_bytes(data[: len(data) * 7 // 10])


@pytest.mark.parametrize(
    ("name", "options"),
    [("film.mp4", FRAGMENTS), ("film.mkv", {"cluster_time_limit": "1000"}), ("film.ts", {})],
)
def test_before_and_after_are_one_frame(
    name: str, options: dict[str, str], make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_clip(name, frames=90)
    part = tmp_path / f"clean.part{source.suffix}"
    target = str(part.with_name(f"clean{source.suffix}"))
    with pytest.raises(DerainError, match="wait"):
        pair(str(source), target, 0, 100)
    cut_copy(source, part, dict(options))
    times = []
    for at in (0.0, 0.7, 2.0, 1e7):
        data, time = pair(str(source), target, at, 10_000)
        both = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(int)
        above, below = np.split(both, 2)
        assert np.abs(above - below).mean() < 0.5  # frames beside each other differ by more
        times.append(time)
    assert times[:3] == pytest.approx([0, 0.68, 2.0], abs=0.021)
    assert 2.0 < times[3] < 3.4  # the last one that is there
    data, _ = pair(str(source), target, 0, 40)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[1] == 40


def test_a_film_is_described(make_clip: Callable[..., Path]) -> None:
    film = probe(str(make_clip("a.mp4", frames=10)), "libx264")
    assert (film.width, film.height, film.fps, film.frames) == (64, 48, 25, 10)
    with pytest.raises(DerainError, match="nosuch"):
        probe(str(make_clip("a.mp4")), "nosuch")
