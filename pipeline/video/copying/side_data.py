"""What a decoded frame says of itself besides its samples: turning, light, and what is lost."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from functools import cache

import av
from av.sidedata.sidedata import Type as SideDataType

LOG = logging.getLogger(__name__)  # shown with --debug
CHROMATICITY, LUMINANCE = 50000, 10000  # steps of a unit in x265's words
# Side data of frames by FFmpeg's numbers, some of which PyAV has no names for.
LOST = {
    2: "the stereo mode",
    13: "the spherical projection",
    15: "the ICC profile",
    17: "HDR10+",
    23: "Dolby Vision",
    24: "Dolby Vision",
    25: "HDR Vivid",
    26: "the ambient light",
    28: "the reference displays",
    29: "the views of spatial video",
}


def _name_unknown_side_data(cls: type[Enum], value: int) -> Enum:
    return _unknown_kind(cls, value)


@cache
def _unknown_kind(cls: type[Enum], value: int) -> Enum:
    member = object.__new__(cls)
    member._name_, member._value_ = f"UNKNOWN_{value}", value
    LOG.debug("Side data of kind %d, for which PyAV has no name, is left alone.", value)
    return member


# PyAV's list of kinds is older than FFmpeg's: reading any side data of a frame would fail at the
# first kind that is not in it (EXIF, views of spatial video).
SideDataType._missing_ = classmethod(_name_unknown_side_data)


def side_data(frame: av.VideoFrame, name: str) -> bytes | None:
    """One kind of side data of a frame; the others have odd sizes and are left alone."""
    for item in frame.side_data:
        if item.type.name == name:
            return bytes(item)
    return None


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """How players must turn the frame, or None."""
    data = side_data(frame, "DISPLAYMATRIX")
    return struct.unpack("<9i", data[:36]) if data else None


def unkept(frame: av.VideoFrame) -> tuple[str, ...]:
    """What a frame says of itself that is not written again, as users call it."""
    names = [LOST[kind] for item in frame.side_data if (kind := int(item.type.value)) in LOST]
    return tuple(dict.fromkeys(names))


def light(frame: av.VideoFrame) -> dict[str, str]:
    """Mastering display and content light level, in the words of x265's parameters."""
    words = {}
    data = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if data and len(data) >= 88:
        numbers = struct.unpack("<20i2i", data[:88])
        pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
        value = [Fraction(n, d) if d else Fraction(0) for n, d in pairs]
        red, green, blue, white = (value[i : i + 2] for i in (0, 2, 4, 6))
        points = "".join(
            f"{letter}({round(x * 50000)},{round(y * 50000)})"
            for letter, (x, y) in zip(("G", "B", "R", "WP"), (green, blue, red, white), strict=True)
        )
        if numbers[20] and numbers[21]:
            low, high = value[8], value[9]
            words["master-display"] = f"{points}L({round(high * 10000)},{round(low * 10000)})"
    data = side_data(frame, "CONTENT_LIGHT_LEVEL")
    if data and len(data) >= 8:
        words["max-cll"] = "{},{}".format(*struct.unpack("<2I", data[:8]))
    return words


def svt_words(light: Mapping[str, str]) -> list[str]:
    """Mastering display and light level as SVT-AV1 wants them: in units, not in steps."""
    words = []
    for key, value in light.items():
        if key == "max-cll":
            words.append(f"content-light={value}")
            continue
        points, _, most = value.partition("L")
        points = re.sub(r"\d+", lambda step: f"{int(step[0]) / CHROMATICITY:.5f}", points)
        most = re.sub(r"\d+", lambda step: f"{int(step[0]) / LUMINANCE:.4f}", most)
        words.append(f"mastering-display={points}L{most}")
    return words
