"""What frames say of themselves: turning, light, and what is lost."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest

from derain.pipeline.video.copying.side_data import display_matrix, light, unkept


class Item:
    """Side data as PyAV gives it."""

    def __init__(self, name: str, data: bytes = b"", number: int = 0) -> None:
        self.type, self.data = SimpleNamespace(name=name, value=number), data

    def __bytes__(self) -> bytes:
        return self.data


def frame(*items: Item) -> Any:
    return SimpleNamespace(side_data=items)


def test_the_matrix_is_nine_numbers() -> None:
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data = struct.pack("<9i", *turned)
    assert display_matrix(frame(Item("OTHER"), Item("DISPLAYMATRIX", data + b"more"))) == turned
    assert display_matrix(frame()) is None


def mastering(colours: int = 1, luminance: int = 1) -> bytes:
    """Display P3, 0.005 to 1000 cd/m2, as FFmpeg lays it out."""
    points = [(34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450)]  # R G B, white
    numbers = [x for pair in points for value in pair for x in (value, 50000)]
    numbers += [50, 10000, 1000 * 10000, 10000]
    return struct.pack("<20i2i", *numbers, colours, luminance)


def test_light_is_told_in_the_words_of_x265() -> None:
    level = struct.pack("<2I", 1000, 400)
    found = light(
        frame(Item("MASTERING_DISPLAY_METADATA", mastering()), Item("CONTENT_LIGHT_LEVEL", level))
    )
    assert found["max-cll"] == "1000,400"
    assert found["master-display"] == (
        "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )


@pytest.mark.parametrize(
    "data", [mastering(colours=0), mastering(luminance=0), mastering()[:40], b""]
)
def test_half_of_a_mastering_display_is_none(data: bytes) -> None:
    assert light(frame(Item("MASTERING_DISPLAY_METADATA", data))) == {}
    assert light(frame(Item("CONTENT_LIGHT_LEVEL", b"123"))) == {}


def test_what_no_new_frame_says_is_named_once() -> None:
    kinds = [Item("X", number=number) for number in (20, 23, 24, 13)]
    assert unkept(frame(*kinds)) == ("Dolby Vision", "the spherical projection")
