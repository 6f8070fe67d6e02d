"""Dolby Vision, HDR10+ and the ambient light: units of H.265 that go along with their frames.

No encoder here writes them, but they lie beside the coded samples: units taken from a source's
packet belong as they are to the new packet of the same frame.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

import av
from av.video.codeccontext import VideoCodecContext

from derain.models.log import Log
from derain.pipeline.video.demuxing import copy_of

START = b"\0\0\0\1"
CODED = 32  # kinds below it hold samples
SEI, RPU = 39, 62
REGISTERED, AMBIENT = 4, 148  # kinds of messages of SEI
# How registered messages begin: country, provider, and what of theirs it is.
REGISTERED_NAMES = {
    bytes.fromhex("b5003c000104"): "HDR10+",
    bytes.fromhex("2600040005"): "HDR Vivid",
}
DOLBY_VISION, AMBIENT_LIGHT = "Dolby Vision", "the ambient light"
IN_UNITS = frozenset([*REGISTERED_NAMES.values(), DOLBY_VISION])
LUX, CHROMATICITY = 10000, 50000  # steps of a unit
SINGLE_LAYER = {5, 8}  # profiles of Dolby Vision


class UnitReader:
    """Takes the units of HDR from the packets of an H.265 stream.

    Args:
        context: of the decoder; any other codec has none.
    """

    def __init__(self, context: VideoCodecContext) -> None:
        self.active = context.name == "hevc"
        header = context.extradata or b""
        stored = header[:1] == b"\1" and len(header) > 22
        self._length_size = (header[21] & 3) + 1 if stored else 0

    def read(self, packet: bytes) -> tuple[bytes, ...]:
        """The units of a packet that go along with its frame, without start codes."""
        return tuple(unit for nal in self._nals(packet) for unit in _wanted(nal))

    def _nals(self, packet: bytes) -> Iterator[bytes]:
        if not self._length_size:
            yield from _after_start_codes(packet)
            return
        at = 0
        while at + self._length_size < len(packet):
            start = at + self._length_size
            at = start + int.from_bytes(packet[at:start], "big")
            yield packet[start:at]


class UnitWriter:
    """Puts the units of frames into the packets that an encoder makes of them.

    Args:
        names: of what is put there.
        told: names of what is known to be lost.
        ambient: the unit of the ambient light, for every key frame.
        notice: told what else is lost.
    """

    def __init__(
        self, names: frozenset[str], told: Iterable[str], ambient: bytes | None, notice: Log
    ) -> None:
        self.names, self.notice, self._told = names, notice, {*names, *told}
        self._ambient = (ambient,) if ambient and AMBIENT_LIGHT in names else ()

    def attach(self, image: av.VideoFrame, units: tuple[bytes, ...]) -> None:
        """Let an image's units come out with its packet."""
        kept = tuple(unit for unit in units if name_of(unit) in self.names)
        for name in {name_of(unit) for unit in units} - self._told:
            self._told.add(name)
            self.notice(f"The new film does not keep {name}, which later frames have.")
        image.opaque = kept or None

    def put_into(self, packet: av.Packet) -> av.Packet:
        """An encoder's packet with the units of its frame."""
        units = packet.opaque or ()
        if packet.is_keyframe:
            units = self._ambient + units
        return with_units(packet, units) if units else packet


def name_of(unit: bytes) -> str:
    """What a unit is, as users call it."""
    if kind_of(unit) == RPU:
        return DOLBY_VISION
    _, payload = next(_messages(unit))
    return _registered(payload) or AMBIENT_LIGHT


def kind_of(unit: bytes) -> int:
    """The number that the standard has for a kind of unit."""
    return (unit[0] >> 1) & 63 if unit else -1


def is_single_layer(record: bytes | None) -> bool:
    """Whether a configuration record is of a kind of Dolby Vision without a second film.

    Args:
        record: as of a `SourceHeader`, the code of its box in front.
    """
    return record is not None and len(record) > 6 and record[6] >> 1 in SINGLE_LAYER


def ambient_unit(side_data: bytes | None) -> bytes | None:
    """The unit for FFmpeg's side data of the ambient light: illuminance, x and y as fractions."""
    if side_data is None or len(side_data) < 24:
        return None
    numbers = struct.unpack("<6i", side_data[:24])
    if 0 in numbers[1::2]:
        return None
    lux, x, y = (top / bottom for top, bottom in zip(numbers[::2], numbers[1::2], strict=True))
    steps = round(lux * LUX), round(x * CHROMATICITY), round(y * CHROMATICITY)
    return _sei(AMBIENT, struct.pack(">I2H", *steps))


def with_units(packet: av.Packet, units: Iterable[bytes]) -> av.Packet:
    """An encoder's packet with units among its own, where the standard wants each.

    Args:
        packet: with start codes.
        units: without.
    """
    before = b"".join(START + unit for unit in units if kind_of(unit) != RPU)
    behind = b"".join(START + unit for unit in units if kind_of(unit) == RPU)
    data = bytes(packet)
    places = (match.start() for match in re.finditer(b"\0\0\1", data))
    at = next((place for place in places if kind_of(data[place + 3 :][:1]) < CODED), 0)
    if data[at - 1 : at] == b"\0":
        at -= 1  # start codes have three bytes, or four
    copy = copy_of(packet, data[:at] + before + data[at:] + behind)
    copy.stream = packet.stream
    return copy


def _after_start_codes(data: bytes) -> Iterator[bytes]:
    return (nal for nal in data.split(b"\0\0\1")[1:] if nal)


def _wanted(nal: bytes) -> Iterator[bytes]:
    if kind_of(nal) == RPU:
        yield nal.rstrip(b"\0")
    elif kind_of(nal) == SEI:
        for kind, payload in _messages(nal):
            if kind == REGISTERED and _registered(payload):
                yield _sei(kind, payload)


def _registered(payload: bytes) -> str | None:
    names = (name for begin, name in REGISTERED_NAMES.items() if payload.startswith(begin))
    return next(names, None)


def _messages(nal: bytes) -> Iterator[tuple[int, bytes]]:
    """The kinds and payloads of the messages in a unit of SEI."""
    data, at = nal[2:].replace(b"\0\0\3", b"\0\0"), 0
    while at + 2 < len(data):
        numbers = []
        for _ in range(2):
            value = 0
            while at < len(data) - 1 and data[at] == 255:
                value, at = value + 255, at + 1
            numbers.append(value + data[at])
            at = min(at + 1, len(data) - 1)
        kind, size = numbers
        yield kind, data[at : at + size]
        at += size


def _sei(kind: int, payload: bytes) -> bytes:
    """A unit of SEI of one message."""
    size = b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255])
    content = bytes([kind]) + size + payload + b"\x80"
    # Nothing in a unit may look like a start code.
    return bytes([SEI << 1, 1]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", content)
