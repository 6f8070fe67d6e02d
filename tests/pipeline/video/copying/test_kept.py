"""The table of what containers keep, against what is in the files they make."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.copying.kept import has_free_tags, lasting
from derain.pipeline.video.copying.side_data import _unknown_kind, unkept

OPTIONS = VideoOptions(precision="fp32")
WORDS = {"title": "Rain", "artist": "Cloud", "comment": "Wet", "lens": "Fifty"}
SUFFIXES = [".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg"]
SUFFIXES += [".vob", ".nut", ".flv", ".wmv", ".mxf", ".gif", ".y4m"]


def found_in(path: Path) -> tuple[set[str], int]:
    """All values of tags of a file and its streams, and its chapters, as ffprobe sees them."""
    show = ["-show_format", "-show_streams", "-show_chapters", "-of", "json"]
    command = ["ffprobe", "-v", "error", *show, str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    parts = [found["format"], *found["streams"]]
    return {v for part in parts for v in part.get("tags", {}).values()}, len(found["chapters"])


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs the ffprobe program")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_not_in_the_output_is_named_and_the_rest_is_there(
    make_clip: Callable[..., Path], identity: nn.Module, suffix: str
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        container.metadata.update(WORDS)
        marks = {"time_base": Fraction(1, 100), "metadata": {"title": "one"}}
        container.set_chapters([{"id": 1, "start": 0, "end": 40} | marks])

    source = make_clip("in.mkv", frames=3, prepare=prepare)
    target = source.with_name(f"out{suffix}")
    notices = derain_video(source, target, OPTIONS, model=identity).notices
    said = " ".join(notices).lower()
    values, chapters = found_in(target)
    for key, value in WORDS.items():
        assert (value in values) != (key in said), (key, notices)
    assert (chapters == 1) != ("1 chapters" in said), notices


def test_statistics_of_the_old_stream_are_not_copied(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        stream.metadata.update({"BPS-eng": "4711", "NUMBER_OF_BYTES": "4712", "lens": "Fifty"})
        stream.metadata["_STATISTICS_TAGS"] = "BPS NUMBER_OF_BYTES"

    source = make_clip("in.mkv", frames=3, prepare=prepare)
    target = source.with_name("out.mkv")
    derain_video(source, target, OPTIONS, model=identity)
    with av.open(str(target)) as container:
        tags = {k.upper(): v for k, v in container.streams.video[0].metadata.items()}
    assert tags["LENS"] == "Fifty"
    assert not {"BPS-ENG", "NUMBER_OF_BYTES", "_STATISTICS_TAGS"} & set(tags)
    assert lasting({"BPS": "1", "Title": "Rain", "ENCODER": "x"}) == {"Title": "Rain"}


def test_tags_with_a_place_of_their_own_keep_it() -> None:
    assert not has_free_tags(["title", "location-eng", "creation_time"])
    assert has_free_tags(["title", "com.apple.quicktime.model"])


def test_side_data_of_unknown_kinds_is_named_for_debugging(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """EXIF of a camera's JPEG is newer than PyAV's list."""
    exif = Image.Exif()
    exif[271] = "Cam"
    Image.new("RGB", (32, 32)).save(tmp_path / "in.jpg", exif=exif)
    _unknown_kind.cache_clear()
    with (
        caplog.at_level("DEBUG", logger="derain"),
        av.open(str(tmp_path / "in.jpg")) as file,
    ):
        unkept(next(file.decode(video=0)))
    assert caplog.messages == ["Side data of kind 31, for which PyAV has no name, is left alone."]
