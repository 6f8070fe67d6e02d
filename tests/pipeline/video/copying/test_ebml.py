"""Elements of EBML: written, read again, found in one another."""

from __future__ import annotations

import pytest

from derain.pipeline.video.copying.ebml import element, elements, find, number


def test_an_element_has_its_length_in_eight_bytes() -> None:
    assert element("ec", b"abc").hex() == "ec" + "0100000000000003" + "616263"


@pytest.mark.parametrize(
    ("value", "content"), [(0, "00"), (255, "ff"), (256, "0100"), (1 << 32, "0100000000")]
)
def test_a_number_takes_as_few_bytes_as_it_can(value: int, content: str) -> None:
    assert list(elements(number("4286", value))) == [("4286", bytes.fromhex(content))]


@pytest.mark.parametrize("length", ["85", "4005", "200005", "0100000000000005"])
def test_lengths_may_be_written_in_any_number_of_bytes(length: str) -> None:
    data = bytes.fromhex("1a45dfa3" + length) + b"hello" + element("ec", b"")
    assert list(elements(data)) == [("1a45dfa3", b"hello"), ("ec", b"")]


def test_elements_are_found_in_one_another() -> None:
    inner = number("d7", 1) + element("e0", number("b0", 640)) + number("d7", 2)
    data = element("ec", b"x") + element("ae", inner) + element("ae", number("d7", 3))
    assert [int.from_bytes(found) for found in find(data, "ae", "d7")] == [1, 2, 3]
    assert list(find(data, "ae", "e0", "b0")) == [b"\x02\x80"]
    assert list(find(data, "ae", "b0")) == []
