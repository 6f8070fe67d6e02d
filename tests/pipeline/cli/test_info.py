"""`derain info`, `derain models`, `derain --version`: what they say is so."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from derain.models import list_models, load_model
from derain.pipeline.cli.info import probe

Command = Callable[..., Any]  # conftest.py


def test_models_tells_the_size_of_the_weights_that_are_shipped(derain: Command) -> None:
    """The default network of a name may have another size than the one that was trained."""
    lines = {line.split()[0]: line for line in derain("models").out.splitlines()}
    assert list(lines) == list_models()
    size = sum(parameter.numel() for parameter in load_model("rescan").parameters())
    assert f" {size / 1e3:.0f} k  ready" in lines["rescan"]
    assert "-  ready" in lines["median"]
    assert "needs --weights" in lines["remaen"]


def test_version(derain: Command) -> None:
    assert derain("--version").out == f"derain {version('derain')}\n"


def test_machine_as_json(derain: Command) -> None:
    found = json.loads(derain("info", "--json").out)
    assert set(found["devices"]) >= {"cpu"}
    assert "libx264" in found["encoders"]
    assert found["versions"]["torch"] != "not there"


def test_file(derain: Command, make_clip: Callable[..., Path]) -> None:
    clip = make_clip(size=(98, 66), audio="aac")
    text = derain("info", str(clip)).out
    assert "video: 98x66 yuv420p" in text
    assert "12 frames" in text
    found = json.loads(derain("info", str(clip), "--json").out)
    assert [stream["codec_type"] for stream in found["streams"]] == ["video", "audio"]


def test_file_without_the_ffmpeg_program(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = str(make_clip(audio="aac"))
    full = probe(clip)
    monkeypatch.setenv("PATH", "")
    assert [(s["codec_type"], s["codec_name"]) for s in probe(clip)["streams"]] == [
        (s["codec_type"], s["codec_name"]) for s in full["streams"]
    ]


@pytest.mark.parametrize("name", ["-x.mp4", "12:30.mp4"])
def test_names_that_look_like_something_else(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_clip("a.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert probe(name)["streams"][0]["codec_name"] == "h264"


def test_graphs_are_known_to_pyav_alone(derain: Command) -> None:
    text = derain("info", "lavfi:testsrc2=size=64x48:rate=25").out
    assert "video: 64x48" in text


def test_what_is_no_video_is_told_in_a_sentence(derain: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    answer = derain("info", tmp_path / "notes.txt")
    assert answer.code == 1
    assert answer.err.startswith("error: ")
    assert "notes.txt" in answer.err


def test_frames_duration_and_size_are_told(derain: Command, make_clip: Callable[..., Path]) -> None:
    """Of files that declare no count, whose rate times duration would be far more."""
    stamps = [index * 4 for index in range(7)]
    for name in ("a.mkv", "a.ts", "a.mp4"):
        clip = make_clip(name, frames=7, pts=stamps)
        text = derain("info", clip).out
        assert " 7 frames," in text
        assert "duration: 0:00:0" in text
        assert f"{clip.stat().st_size / 1000:.1f} kB" in text


def test_a_pattern_that_fits_no_network_is_wrong_use(derain: Command) -> None:
    answer = derain("models", "xyz")
    assert answer.code == 2
    assert "No network is called 'xyz'" in answer.err
    assert "did you mean 'rescan'" in derain("models", "rescam").err
