"""Text subtitles from one container's form to another's, packet by packet.

A packet's payload in, its payload out; the packets themselves are mux.py's.
"""

from __future__ import annotations

import re

TEXT = {"subrip", "srt", "text", "mov_text", "ass", "ssa", "webvtt"}
OVERRIDE = re.compile(r"\{\\[^}]*\}")


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
    text = payload.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):
        # ReadOrder, Layer, Style, Name, three margins, Effect, and then the text.
        text = text.split(",", 8)[-1]
        text = OVERRIDE.sub("", text).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return text.strip("\r\n\0")


def from_text(text: str, codec: str) -> bytes:
    """The payload of a packet in the form of `codec`."""
    data = text.encode("utf-8")
    return len(data).to_bytes(2, "big") + data if codec == "mov_text" else data


def convert(payload: bytes, source: str, target: str) -> bytes | None:
    """A packet's payload in another form; None where there is no text in it."""
    text = to_text(payload, source)
    return from_text(text, target) if text else None
