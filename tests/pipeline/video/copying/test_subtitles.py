"""Markup of one kind of captions in another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.copying.subtitles import convert, has_place


@pytest.mark.parametrize(
    ("codec", "payload", "said"),
    [
        ("subrip", '<i>Hello</i> <font color="#ff0000">red</font>', "Hello red"),
        ("subrip", "{\\an8}top &amp; more", "top & more"),
        ("subrip", "one\n\nthree", "one\n \nthree"),
        ("ass", "0,0,Default,,0,0,0,,{\\i1}two\\Nlines", "two\nlines"),
    ],
)
def test_mov_text_shows_no_signs(codec: str, payload: str, said: str) -> None:
    converted = convert(payload.encode(), codec, "mov_text")
    assert converted is not None
    length = int.from_bytes(converted[:2], "big")
    assert converted[2 : 2 + length].decode() == said


def test_drawings_are_no_text() -> None:
    assert convert(b"0,0,Default,,0,0,0,,{\\p1}m 0 0 l 9 9{\\p0}", "ass", "mov_text") is None


def test_styles_go_into_mov_text_and_back() -> None:
    styled = "Grün <i>drops</i> and <b>wind</b>"
    converted = convert(styled.encode(), "subrip", "mov_text")
    assert converted is not None
    box = converted[2 + len("Grün drops and wind".encode()) :]
    assert int.from_bytes(box[:4], "big") == len(box) == 8 + 2 + 2 * 12
    assert box[4:10] == b"styl\0\2"
    # Letters are counted, not bytes: five before the first run.
    assert box[10:18] == bytes([0, 5, 0, 10, 0, 1, 2, 18])
    assert convert(converted, "mov_text", "subrip") == styled.encode()
    assert convert(b"0,0,Default,,0,0,0,,{\\i1}two{\\i0}", "ass", "webvtt") == b"<i>two</i>"


def test_a_caption_too_long_for_mov_text_is_cut_between_letters() -> None:
    converted = convert(("<i>" + 70000 * "ü" + "</i>").encode(), "subrip", "mov_text")
    assert converted is not None
    length = int.from_bytes(converted[:2], "big")
    assert converted[2 : 2 + length].decode() == 32767 * "ü"


def test_broken_styles_cost_no_text() -> None:
    plain = b"\0\3abc"
    for rest in (b"\0", b"\0\0\0\0styl", b"\0\0\0\xffstyl\0\3\0\0\0\5", b"\0\0\0\12tbox\0\0\0\0"):
        assert convert(plain + rest, "mov_text", "subrip") == b"abc"


@pytest.mark.parametrize(
    ("codec", "payload", "placed"),
    [
        ("subrip", b"{\\an8}above", True),
        ("subrip", b"{\\an2}below", False),
        ("subrip", b"{\\a6}above, as older files say it", True),
        ("subrip", b"an8 is a road", False),
        ("ass", b"0,0,Default,,0,0,0,,{\\i1\\pos(10,20)}there", True),
        ("ass", b"0,0,Default,,0,0,0,,{\\i1\\alpha&H80&}here", False),
    ],
)
def test_captions_that_have_a_place_are_known(codec: str, payload: bytes, placed: bool) -> None:
    assert has_place(payload, codec) == placed


def test_a_place_that_is_lost_is_told(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    text = tmp_path / "in.srt"
    text.write_text("1\n00:00:00,000 --> 00:00:00,400\n{\\an8}above\n")
    film, source = make_clip("film.mkv"), tmp_path / "in.mkv"
    with av.open(str(film)) as one, av.open(str(text)) as two, av.open(str(source), "w") as out:
        copies = [out.add_stream_from_template(s) for s in (*one.streams, *two.streams)]
        for number, file in enumerate((one, two)):
            for packet in file.demux():
                if packet.size:
                    packet.stream = copies[number]
                    out.mux(packet)
    options = VideoOptions(precision="fp32")
    lost = derain_video(source, tmp_path / "out.mp4", options, model=identity)
    kept = derain_video(source, tmp_path / "out.mkv", options, model=identity)
    assert sum("place of their own" in notice for notice in lost.notices) == 1
    assert not any("place of their own" in notice for notice in kept.notices)
