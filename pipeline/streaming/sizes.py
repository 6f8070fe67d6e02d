"""Sizes as users write them."""

from __future__ import annotations

from derain.models.errors import UsageError


def parse_size(text: str, option: str, least: int, words: tuple[str, ...] = ()) -> tuple[int, int]:
    """`640x360` to (640, 360).

    Args:
        text: WIDTHxHEIGHT, both even.
        option: the option's name, for the error.
        least: pixels that each side has at least.
        words: what the option takes besides, for the error.

    Raises:
        UsageError: it is no such size.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        allowed = " or ".join((*words, "WIDTHxHEIGHT such as 640x360"))
        raise UsageError(f"{option} is {allowed}, not '{text}'.")
    width, height = map(int, parts)
    if width % 2 or height % 2 or min(width, height) < least:
        raise UsageError(f"{option} {text} must be even, and at least {least}x{least}.")
    return width, height
