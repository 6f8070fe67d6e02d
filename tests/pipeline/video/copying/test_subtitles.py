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
    assert converted[2:].decode() == said
    assert int.from_bytes(converted[:2], "big") == len(said.encode())


def test_drawings_are_no_text() -> None:
    assert convert(b"0,0,Default,,0,0,0,,{\\p1}m 0 0 l 9 9{\\p0}", "ass", "mov_text") is None
