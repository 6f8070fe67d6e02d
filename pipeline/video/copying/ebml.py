"""Elements of EBML, which Matroska's headers are made of."""

from __future__ import annotations

from collections.abc import Iterator


def element(code: str, content: bytes) -> bytes:
    """An element, with its length in eight bytes.

    Args:
        code: its number, in hexadecimal digits.
        content: what it holds.
    """
    return bytes.fromhex(code) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def number(code: str, value: int) -> bytes:
    """An element that holds a number of 0 or more."""
    return element(code, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def elements(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The numbers, in small hexadecimal digits, and contents of elements one behind the other."""
    at = 0
    while at < len(data):
        start, at = at, at + _length(data[at])
        code = data[start:at].hex()
        start, at = at, at + _length(data[at])
        size = int.from_bytes(data[start:at], "big") & ((1 << 7 * (at - start)) - 1)
        yield code, data[at : at + size]
        at += size


def _length(first: int) -> int:
    """Bytes of a number that has its own length in the leading zeros of its first byte."""
    return 9 - first.bit_length()


def find(data: bytes, *path: str) -> Iterator[bytes]:
    """The contents of all elements at a path of numbers, each within the one before."""
    for code, content in elements(data):
        if code == path[0]:
            if len(path) == 1:
                yield content
            else:
                yield from find(content, *path[1:])
