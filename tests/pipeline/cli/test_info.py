"""`derain info`, `derain models`, `derain --version`: what they say is so."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from derain.models import list_models, load_model
from derain.pipeline.cli.info import probe
from derain.pipeline.cli.main import app

run = CliRunner().invoke


def test_models_tells_the_size_of_the_weights_that_are_shipped() -> None:
    """The default network of a name may have another size than the one that was trained."""
    lines = {line.split()[0]: line for line in run(app, ["models"]).output.splitlines()}
    assert list(lines) == list_models()
    size = sum(parameter.numel() for parameter in load_model("rescan").parameters())
    assert f" {size / 1e3:.0f} k  ready" in lines["rescan"]
    assert "-  ready" in lines["median"]
    assert "needs --weights" in lines["remaen"]


def test_version() -> None:
    assert run(app, ["--version"]).output == f"derain {version('derain')}\n"


def test_machine_as_json() -> None:
    found = json.loads(run(app, ["info", "--json"]).output)
    assert set(found["devices"]) >= {"cpu"}
    assert "libx264" in found["encoders"]
    assert found["versions"]["torch"] != "not there"


def test_file(make_clip: Callable[..., Path]) -> None:
    clip = make_clip(size=(98, 66), audio="aac")
    text = run(app, ["info", str(clip)]).output
    assert "picture: 98x66 yuv420p" in text
    assert "12 frames" in text
    found = json.loads(run(app, ["info", str(clip), "--json"]).output)
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


def test_graphs_are_known_to_pyav_alone() -> None:
    text = run(app, ["info", "lavfi:testsrc2=size=64x48:rate=25"]).output
    assert "picture: 64x48" in text


def test_what_is_no_video_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    result = run(app, ["info", str(tmp_path / "notes.txt")])
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert "notes.txt" in result.output
