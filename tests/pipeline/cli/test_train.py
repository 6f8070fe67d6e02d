"""`derain train` as users run it: from clips to weights that `derain video` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from derain.pipeline.cli.train import find_preset
from derain.pipeline.streaming.derain_video import VideoOptions, derain_video

Command = Callable[..., Any]  # conftest.py
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
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "clips" / "walk").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "clips" / "walk" / f"{number}.png"), image)
    found = ["train", "swift", "-o", str(tmp_path / "run")]
    for setting in (*SMALL, f"data.clips={tmp_path / 'clips'}"):
        found += ["--set", setting]
    return found


def test_a_run_leaves_weights_that_derain_a_film(
    derain: Command, arguments: list[str], tmp_path: Path
) -> None:
    result = derain(*arguments)
    assert result.code == 0, result.err
    weights = tmp_path / "run" / "swift.safetensors"
    assert result.out == f"{weights}\n"
    report = derain_video(
        "lavfi:testsrc2=size=64x48:rate=5,trim=end_frame=4",
        tmp_path / "clean.mkv",
        VideoOptions(weights=str(weights)),
    )
    assert report.frames_out == 4


def test_a_folder_of_another_run_is_not_written_over(derain: Command, arguments: list[str]) -> None:
    assert derain(*arguments).code == 0
    again = derain(*arguments)
    assert again.code != 0
    assert "add --resume" in again.err
    assert derain(*arguments, "--resume").code == 0


def test_resuming_keeps_the_settings_of_the_run(
    derain: Command, arguments: list[str], tmp_path: Path
) -> None:
    assert derain(*arguments).code == 0
    began = (tmp_path / "run" / "config.yaml").read_text()
    plain = ["train", "swift", "-o", str(tmp_path / "run"), "--resume"]
    assert derain(*plain).code == 0
    assert (tmp_path / "run" / "config.yaml").read_text() == began
    assert derain(*plain, "--set", "steps=3").code == 0
    assert "steps: 3" in (tmp_path / "run" / "config.yaml").read_text()


def test_presets_come_by_name(derain: Command, tmp_path: Path) -> None:
    """For people who installed a wheel and have no folder of them."""
    assert find_preset("rescan").name == "rescan.yaml"
    own = tmp_path / "own.yaml"
    own.write_text("steps: 1\n")
    assert find_preset(str(own)) == own
    answer = derain("train", "swfit", "-o", tmp_path / "run")
    assert answer.code == 2
    assert "There is no preset 'swfit'; did you mean 'swift'?" in answer.err


def test_start_and_resume_exclude_each_other(derain: Command, tmp_path: Path) -> None:
    words = ["-o", tmp_path / "run", "--resume", "--init", "x"]
    answer = derain("train", "swift", *words)
    assert answer.code == 2


def test_a_dry_run_leaves_a_sheet_alone(
    derain: Command, arguments: list[str], tmp_path: Path
) -> None:
    answer = derain(*arguments, "--dry-run", "--steps", "200")
    assert answer.code == 0, answer.err
    for words in ("weights learn", "rainy 1x3x3x32x32", "GiB", "s a step", "200 steps: about"):
        assert words in answer.out
    assert cv2.imread(str(tmp_path / "run.png")).shape[1] == 5 * 160
    assert not (tmp_path / "run").exists()


def test_samples_are_drawn_with_their_layers_and_augmentations(
    derain: Command, arguments: list[str], tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["data", str(sheet), "--count", "2", *arguments[4:]]
    answer = derain(*words)
    assert answer.code == 0, answer.err
    assert answer.out.count("brightness") == 2
    height = cv2.imread(str(sheet)).shape[0]
    assert height == (2 + 7) * 178  # two samples; clean, haze, still, overlay, noise, jpeg, restore
    again = derain(*words)
    assert again.code == 2
    assert "-y" in again.err
    assert derain(*words, "-y", "--count", "99").code == 1


def test_curves_of_runs_go_into_one_image(
    derain: Command, arguments: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    assert derain(*arguments).code == 0
    image = tmp_path / "curves.png"
    answer = derain("plot", tmp_path / "run", tmp_path / "run", "-o", image)
    assert answer.code == 0, answer.err
    assert cv2.imread(str(image)) is not None
    missing = derain("plot", tmp_path / "nothing", "-o", tmp_path / "other.png")
    assert missing.code == 1
    assert "holds no figures of a run" in missing.err


def test_a_run_has_a_folder_and_steps_without_being_told(
    derain: Command, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = derain("train", "swift", *arguments[4:], "--steps", "1")
    assert answer.out == "runs/swift/swift.safetensors\n"
    assert "steps: 1\n" in (tmp_path / "runs/swift/config.yaml").read_text()
