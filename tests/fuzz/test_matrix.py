"""A slice of matrix.py that runs with the other tests."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from torch import nn


def load() -> ModuleType:
    path = Path(__file__).with_name("matrix.py")
    spec = importlib.util.spec_from_file_location("matrix", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs the ffmpeg programs")
@pytest.mark.parametrize(
    ("film", "suffix"),
    [
        ("audio-ac3", ".mp4"),
        ("audio-vorbis", ".ts"),
        ("text-webvtt", ".ts"),
        ("images-pgs", ".m2ts"),
        ("cover-png-mp4", ".mkv"),
        ("timecode", ".mov"),
        ("words-mkv", ".mp4"),
        ("video-theora", ".mp4"),
    ],
)
def test_slice(identity: nn.Module, tmp_path: Path, film: str, suffix: str) -> None:
    matrix = load()
    source = matrix.FILMS[film](tmp_path)
    target = tmp_path / "out" / f"out{suffix}"
    target.parent.mkdir()
    faults, notices = matrix.run_pair(source, target, identity, None)
    before, after = (matrix.Seen(matrix.probe(path)) for path in (source, target))
    assert faults + matrix.compare(before, after, suffix, notices) == []


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs the ffmpeg programs")
def test_losses_are_found(tmp_path: Path) -> None:
    """What a careless program loses: the slice above can fail."""
    matrix = load()
    source = matrix.FILMS["words-mkv"](tmp_path)
    target = tmp_path / "bad.mp4"
    drop = ["-an", "-map_metadata", "-1", "-map_chapters", "-1", "-frames:v", "9"]
    sys.modules["sources"].ffmpeg("-i", source, *drop, target)
    before, after = (matrix.Seen(matrix.probe(path)) for path in (source, target))
    faults = " ".join(matrix.compare(before, after, ".mp4", []))
    for what in ("9 of 13 frames", "audio stream 1", "tag title", "chapters"):
        assert what in faults
