"""Markup of one kind of captions in another."""

from __future__ import annotations

import pytest

from derain.pipeline.video.copying.subtitles import convert


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
