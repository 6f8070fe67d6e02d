"""The final MP4: its index in front, captions and covers in it, the times it should have."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from derain.pipeline.video.containers import container_of
from derain.pipeline.video.copying.mp4_finalize import (
    Captions,
    Cover,
    Extras,
    contents_of,
    remux,
)
from derain.pipeline.video.timestamps import TimestampLog

MP4 = container_of("a.mp4")


@pytest.fixture
def part(make_clip: Callable[..., Path]) -> Path:
    """A fragmented film with sound."""
    whole = make_clip("whole.mp4", frames=25, audio="aac")
    part = whole.with_name("part.mp4")
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(whole)) as given, av.open(str(part), "w", container_options=options) as out:
        streams = {s.index: out.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return part


def boxes(path: Path) -> list[str]:
    """The names of a file's outermost boxes."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 8].decode())
        at += size
    return found


def test_the_index_is_in_front_and_nothing_is_lost(part: Path) -> None:
    target = part.with_name("out.mp4")
    remux(part, target, Extras(metadata={"title": "rain"}), MP4)
    assert "moof" in boxes(part) and "moof" not in boxes(target)
    assert boxes(target).index("moov") < boxes(target).index("mdat")
    with av.open(str(part)) as before, av.open(str(target)) as after:
        assert after.metadata["title"] == "rain"
        one, two = ([bytes(p) for p in each.demux() if p.size] for each in (before, after))
    assert sorted(one) == sorted(two)


def test_captions_and_a_cover_that_waited_are_in_it(part: Path) -> None:
    packet = av.Packet(b"\0\5hello")
    packet.time_base, packet.pts, packet.dts, packet.duration = Fraction(1, 1000), 200, 200, 300
    image = BytesIO()
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(image, "png")
    extras = Extras(
        captions=[Captions("mov_text", {"language": "deu"}, 0, deque([packet]))],
        covers=[Cover("png", image.getvalue(), 8, 8)],
    )
    target = part.with_name("out.mp4")
    remux(part, target, extras, MP4)
    with av.open(str(target)) as found:
        (words,) = found.streams.subtitles
        assert words.metadata["language"] == "deu"
        said = [(float(p.pts * p.time_base), bytes(p)[2:]) for p in found.demux(words) if p.size]
    assert (0.2, b"hello") in [(round(time, 3), text) for time, text in said]
    with av.open(str(target)) as found:
        cover = found.streams.video[1]
        assert cover.disposition & Disposition.attached_pic
        assert bytes(next(p for p in found.demux(cover) if p.size)) == image.getvalue()


def test_times_that_fragments_changed_are_restored(part: Path) -> None:
    log = TimestampLog()
    with av.open(str(part)) as given:
        index = given.streams.audio[0].index
        for number, packet in enumerate(p for p in given.demux(given.streams.audio[0]) if p.size):
            packet.pts = packet.dts = 1024 * number + 480  # 10 ms late
            log.add(packet)
    target = part.with_name("out.mp4")
    remux(part, target, Extras(stamps={index: log}), MP4)
    with av.open(str(target)) as found:
        times = [p.pts for p in found.demux(found.streams.audio[0]) if p.size]
    assert times[:3] == [480, 1504, 2528]


def test_a_time_code_is_kept(part: Path) -> None:
    target = part.with_name("out.mp4")
    remux(part, target, Extras({"timecode": "01:00:00:00"}), MP4)
    with av.open(str(target)) as found:
        codes = [stream.metadata.get("timecode") for stream in found.streams]
    assert "01:00:00:00" in codes


def test_a_part_says_what_it_holds(part: Path, tmp_path: Path) -> None:
    assert contents_of(part) == f"{part} opens and holds 25 frames"
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    assert contents_of(tmp_path / "x.mp4").endswith("does not open either")
