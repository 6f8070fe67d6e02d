"""What a writer does to the times that an encoder gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from derain.pipeline.video import Encoding, Video, VideoWriter


@pytest.mark.parametrize("unset", [None, -(2**40), -40_000, 2**33])
def test_decode_times_that_cannot_be_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: int | None
) -> None:
    """x265 leaves any number there for a stream of a frame or two."""
    target = tmp_path / "short.mkv"
    writer = VideoWriter(target, Video(64, 64, Fraction(25)), Encoding("libx264"))
    written: list[tuple[int | None, int | None]] = []
    keep = writer.muxer.write_video

    def spoil(packet: av.Packet) -> None:
        written.append((packet.pts, packet.dts))
        keep(packet)

    check = writer._check_times

    def spoiled(packet: av.Packet) -> None:
        packet.dts = unset
        check(packet)

    monkeypatch.setattr(writer, "_check_times", spoiled)
    monkeypatch.setattr(writer.muxer, "write_video", spoil)
    for index in range(2):
        writer.write_rgb(np.full((64, 64, 3), 90 * index, np.uint8), index)
    writer.close()
    assert len(written) == 2
    for pts, dts in written:
        assert pts is not None
        assert dts is not None
        assert -2 <= dts <= pts
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2


def test_decode_times_of_slow_films_are_believed(tmp_path: Path) -> None:
    """A frame a minute with B-frames: decoding runs minutes ahead of showing."""
    target = tmp_path / "slow.mkv"
    video = Video(64, 64, Fraction(25))
    options = {"bf": "3", "b_strategy": "0"}
    with VideoWriter(target, video, Encoding("libx264", options=options)) as writer:
        for index in range(12):
            writer.write_rgb(np.full((64, 64, 3), 20 * index, np.uint8), 1500 * index)
    with av.open(str(target)) as container:
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert shown == pytest.approx([60 * index for index in range(12)])
