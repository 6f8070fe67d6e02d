"""`derain train` as users run it: from clips to weights that `derain video` takes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from derain.pipeline.cli.main import app
from derain.pipeline.streaming.derain_video import VideoOptions, derain_video

CONFIG = Path(__file__).parents[3] / "configs" / "swift.yaml"
SMALL = (
    "steps=2",
    "settings={widths: [8, 8, 8], blocks: [1, 1], hidden: 4}",
    "data.validation=null",
    "data.crop=32",
    "data.frames=3",
    "data.batch=1",
    "data.workers=0",
)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "clips" / "walk").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "clips" / "walk" / f"{number}.png"), picture)
    found = ["train", str(CONFIG), "-o", str(tmp_path / "run")]
    for setting in (*SMALL, f"data.clips={tmp_path / 'clips'}"):
        found += ["--set", setting]
    return found


def test_a_run_leaves_weights_that_derain_a_film(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run" / "swift.safetensors"
    assert result.stdout == f"{weights}\n"
    report = derain_video(
        "lavfi:testsrc2=size=64x48:rate=5,trim=end_frame=4",
        tmp_path / "clean.mkv",
        VideoOptions(weights=str(weights)),
    )
    assert report.frames_out == 4


def test_a_folder_of_another_run_is_not_written_over(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 0
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code != 0
    assert "add --resume" in str(again.exception)
    assert CliRunner().invoke(app, [*arguments, "--resume"]).exit_code == 0


def test_resuming_keeps_the_settings_of_the_run(arguments: list[str], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 0
    began = (tmp_path / "run" / "config.yaml").read_text()
    plain = ["train", str(CONFIG), "-o", str(tmp_path / "run"), "--resume"]
    assert CliRunner().invoke(app, plain).exit_code == 0
    assert (tmp_path / "run" / "config.yaml").read_text() == began
    assert CliRunner().invoke(app, [*plain, "--set", "steps=3"]).exit_code == 0
    assert "steps: 3" in (tmp_path / "run" / "config.yaml").read_text()
