"""Text subtitles from one container's form to another's, packet by packet.

A packet's payload in, its payload out; the packets themselves are muxer.py's.
"""

from __future__ import annotations

import html
import re
import struct
from dataclasses import dataclass, replace
from itertools import groupby

import pysubs2
from pysubs2.formats.substation import parse_tags

TEXT = {"subrip", "srt", "text", "mov_text", "ass", "ssa", "webvtt"}
# A run of letters in mov_text: first letter, the one behind its last, font, face, size, colour.
STYLE = struct.Struct(">HHHBBI")
FACES = BOLD, ITALIC, UNDERLINE = 1, 2, 4
LONGEST = 0xFFFF  # bytes, and letters, that mov_text can count
FONT_SIZE = 18  # what players take where nothing is said
PLACE = re.compile(rb"\\(?:an[13-9]|a(?:[135679]|1[01])\b|pos\(|move\()")  # 2: below in the middle
TIMES = "1\n00:00:00,000 --> 00:00:01,000\n"  # pysubs2 parses whole files alone


def target_codec(codec: str, supported: set[str]) -> str | None:
    """The codec a container takes text subtitles of `codec` in: itself, another, or None."""
    if codec in supported or (codec == "subrip" and "srt" in supported):
        return codec
    if codec not in TEXT:
        return None
    return next((c for c in ("subrip", "mov_text", "webvtt") if c in supported), None)


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of letters of one style."""

    text: str
    bold: bool = False
    italic: bool = False
    underline: bool = False

    @property
    def face(self) -> int:
        """The style as a set of bits of mov_text."""
        return self.bold * BOLD + self.italic * ITALIC + self.underline * UNDERLINE


def has_place(payload: bytes, codec: str) -> bool:
    """Whether a caption says where on the screen it stands, other than below in the middle."""
    if codec == "mov_text":
        return b"tbox" in payload
    return PLACE.search(payload) is not None


def to_pieces(payload: bytes, codec: str) -> list[Piece]:
    """The text of a packet with its styles, without places, colours and drawings."""
    if codec == "mov_text":
        return _from_mov_text(payload)
    text = payload.decode("utf-8", "replace").strip("\r\n\0")
    if codec in ("ass", "ssa"):
        # ReadOrder, Layer, Style, Name, three margins, Effect, and then the text.
        return _from_ass([text.split(",", 8)[-1]])
    if not text:
        return []
    # A blank line would end the caption, and with it the file's entry.
    lines = "\n".join(line or " " for line in text.splitlines())
    events = pysubs2.SSAFile.from_string(TIMES + lines, format_="srt", keep_unknown_html_tags=False)
    return [
        replace(piece, text=html.unescape(piece.text))
        for piece in _from_ass([event.text for event in events])
    ]


def _from_ass(texts: list[str]) -> list[Piece]:
    pieces = []
    for text, style in parse_tags("\\N".join(texts)):
        plain = text.replace("\\h", " ").replace("\\n", "\n").replace("\\N", "\n")
        if plain and not style.drawing:
            pieces.append(Piece(plain, style.bold, style.italic, style.underline))
    return pieces


def _from_mov_text(payload: bytes) -> list[Piece]:
    length = int.from_bytes(payload[:2], "big")
    text = payload[2 : 2 + length].decode("utf-8", "replace")
    faces = [0] * len(text)
    at = 2 + length
    while at + 8 <= len(payload):
        size = int.from_bytes(payload[at : at + 4], "big")
        if payload[at + 4 : at + 8] == b"styl":
            for start, end, _, face, _, _ in STYLE.iter_unpack(
                _whole(payload[at + 10 : at + size])
            ):
                faces[start:end] = [face] * len(faces[start:end])
        at += max(8, size)
    runs = groupby(zip(text, faces, strict=True), key=lambda pair: pair[1])
    return [
        Piece("".join(letter for letter, _ in run), *(bool(face & bit) for bit in FACES))
        for face, run in runs
    ]


def _whole(records: bytes) -> bytes:
    return records[: len(records) // STYLE.size * STYLE.size]


def from_pieces(pieces: list[Piece], codec: str) -> bytes:
    """The payload of a packet in the form of `codec`."""
    if codec != "mov_text":
        return "".join(map(_tagged, pieces)).strip("\n").encode("utf-8")
    records, at = [], 0
    for piece in pieces:
        end = at + len(piece.text)
        if piece.face and end <= LONGEST:
            records.append(STYLE.pack(at, end, 1, piece.face, FONT_SIZE, 0xFFFFFFFF))
        at += len(piece.text)
    data = "".join(piece.text for piece in pieces).encode("utf-8")[:LONGEST]
    data = data.decode("utf-8", "ignore").encode("utf-8")  # no half of a letter at its end
    payload = len(data).to_bytes(2, "big") + data
    if not records:
        return payload
    box = len(records).to_bytes(2, "big") + b"".join(records)
    return payload + (8 + len(box)).to_bytes(4, "big") + b"styl" + box


def _tagged(piece: Piece) -> str:
    """A piece in the markup that SubRip and WebVTT share."""
    text = piece.text
    for there, tag in ((piece.bold, "b"), (piece.italic, "i"), (piece.underline, "u")):
        text = f"<{tag}>{text}</{tag}>" if there else text
    return text


def convert(payload: bytes, source: str, target: str) -> bytes | None:
    """A packet's payload in another form; None where there is no text in it.

    Args:
        payload: of a packet.
        source: the codec it has.
        target: the codec it is to have.
    """
    pieces = to_pieces(payload, source)
    if pieces:
        pieces[0] = replace(pieces[0], text=pieces[0].text.lstrip("\n"))
        pieces[-1] = replace(pieces[-1], text=pieces[-1].text.rstrip("\n"))
    if not any(piece.text for piece in pieces):
        return None
    return from_pieces(pieces, target)
