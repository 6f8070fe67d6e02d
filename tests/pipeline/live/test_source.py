"""Words for cameras, streams and films, on each system."""

from __future__ import annotations

import pytest

from derain.models.errors import DerainError
from derain.pipeline.live.source import find_source


@pytest.mark.parametrize(
    ("word", "platform", "name", "format", "lives"),
    [
        ("1", "linux", "/dev/video1", "v4l2", True),
        ("/dev/video3", "linux", "/dev/video3", "v4l2", True),
        ("0", "darwin", "0", "avfoundation", True),
        ("video=Camera", "win32", "video=Camera", "dshow", True),
        ("rtsp://host/a", "linux", "rtsp://host/a", None, True),
        ("lavfi:testsrc2", "linux", "lavfi:testsrc2", None, False),
    ],
)
def test_words_for_sources(
    word: str, platform: str, name: str, format: str | None, lives: bool
) -> None:
    source = find_source(word, size="320x240", fps=30, platform=platform)
    assert (source.name, source.format, source.lives) == (name, format, lives)
    camera = format in ("v4l2", "avfoundation", "dshow")
    assert source.options.get("video_size") == ("320x240" if camera else None)
    assert ("timeout" in source.options) == word.startswith("rtsp")


def test_windows_numbers_cameras_through_opencv_and_unknown_words_are_refused() -> None:
    assert find_source("0", platform="win32").opencv
    with pytest.raises(DerainError, match=r"no file or camera 'nothing\.mp4'"):
        find_source("nothing.mp4")
