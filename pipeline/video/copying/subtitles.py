"""Text subtitles from one container's form to another's, packet by packet.

A packet's payload in, its payload out; the packets themselves are muxer.py's.
"""

from __future__ import annotations

import html

import pysubs2

TEXT = {"subrip", "srt", "text", "mov_text", "ass", "ssa", "webvtt"}
TIMES = "1\n00:00:00,000 --> 00:00:01,000\n"  # pysubs2 parses whole files alone


def target_codec(codec: str, supported: set[str]) -> str | None:
    """The codec a container takes text subtitles of `codec` in: itself, another, or None."""
    if codec in supported or (codec == "subrip" and "srt" in supported):
        return codec
    if codec not in TEXT:
        return None
    return next((c for c in ("subrip", "mov_text", "webvtt") if c in supported), None)


def to_text(payload: bytes, codec: str) -> str:
    """The plain text of a packet: lines, without positions and styles of ASS."""
    if codec == "mov_text":
        length = int.from_bytes(payload[:2], "big")
        payload = payload[2 : 2 + length]
    text = payload.decode("utf-8", "replace").strip("\r\n\0")
    if codec in ("ass", "ssa"):
        # ReadOrder, Layer, Style, Name, three margins, Effect, and then the text.
        event = pysubs2.SSAEvent(text=text.split(",", 8)[-1])
        return "" if event.is_drawing else event.plaintext.strip("\n")
    if codec == "mov_text" or not text:
        return text
    # A blank line would end the caption, and with it the file's entry.
    lines = "\n".join(line or " " for line in text.splitlines())
    events = pysubs2.SSAFile.from_string(TIMES + lines, format_="srt", keep_unknown_html_tags=False)
    return html.unescape("\n".join(event.plaintext for event in events)).strip("\n")


def from_text(text: str, codec: str) -> bytes:
    """The payload of a packet in the form of `codec`."""
    data = text.encode("utf-8")
    return len(data).to_bytes(2, "big") + data if codec == "mov_text" else data


def convert(payload: bytes, source: str, target: str) -> bytes | None:
    """A packet's payload in another form; None where there is no text in it.

    Args:
        payload: of a packet.
        source: the codec it has.
        target: the codec it is to have.
    """
    text = to_text(payload, source)
    return from_text(text, target) if text else None
