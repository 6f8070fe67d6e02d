"""What names mean: sequences of images, and local files that look like a protocol."""

from __future__ import annotations

import pytest

from derain.pipeline.video.paths import is_sequence, local


@pytest.mark.parametrize("name", ["%05d.png", "out/%d.jpg", "a%3d.tif", "50% %06d.png"])
def test_a_pattern_of_numbers_is_a_sequence(name: str) -> None:
    assert is_sequence(name)


@pytest.mark.parametrize(
    "name",
    [
        "100%.mp4",
        "50% rain.mp4",
        "my%20dog.mp4",
        "rain%2dshot.mp4",
        "%05d.mkv",
        "http://x/%05d.png",
        "-",
        "a.mp4",
    ],
)
def test_other_percents_are_not(name: str) -> None:
    assert not is_sequence(name)


@pytest.mark.parametrize("name", ["12:30.mp4", "12:%05d.png", "at 12:30.mp4", ":0.mp4"])
def test_a_colon_does_not_make_a_protocol_of_a_file(name: str) -> None:
    assert local(name) == f"file:{name}"


@pytest.mark.parametrize(
    "name",
    [
        "a.mp4",
        "./12:30.mp4",
        "rtsp://x:8/y",
        "lavfi:testsrc2",
        "pipe:1",
        "file:a.mp4",
        "concat:a.ts|b.ts",
        "subfile,,start,0,end,9,,:a.ts",
        "-",
    ],
)
def test_names_with_a_protocol_or_none_stay(name: str) -> None:
    assert local(name) == name
