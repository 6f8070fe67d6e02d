"""The commands of the workshop: demo, eval, synth and bench."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from derain.pipeline.cli import lab
from derain.pipeline.video import read_rgb

Command = Callable[..., Any]  # conftest.py


def test_a_demo_is_rendered_derained_and_measured(derain: Command, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    words = ["demo", "-o", folder, "--size", "64x48", "--frames", "6", "-m", "median"]
    answer = derain(*words)
    assert answer.code == 0, answer.err
    first, *files = answer.out.splitlines()
    assert first.startswith("PSNR over 6 frames: ") and first.endswith(" dB)")
    assert {Path(file).name for file in files} == {path.name for path in folder.iterdir()}
    assert "-y" in derain(*words).err  # nothing is written over
    wrong = derain("demo", "-o", tmp_path / "x", "--size", "63x48")
    assert wrong.code == 2 and "--size" in wrong.err


def test_rain_is_put_on_a_film(
    derain: Command, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip, target = make_clip(frames=4), tmp_path / "rainy.mkv"
    answer = derain("synth", clip, "-o", target, "--rain", "storm", "--crf", "4")
    assert (answer.code, answer.out) == (0, f"{target}: 4 frames\n"), answer.err
    before, after = (np.array(list(read_rgb(path))) for path in (clip, target))
    assert (after - before).mean() > 0.005  # streaks are bright
    assert derain("synth", clip, "-o", target, "--rain", "nosuch").code == 2


def test_a_bench_is_told_kept_and_compared_with_an_earlier_one(
    derain: Command, tmp_path: Path
) -> None:
    words = ["bench", "-m", "median", "--size", "64x48", "--frames", "2", "--rounds", "1"]
    kept = tmp_path / "before.json"
    answer = derain(*words, "--json", kept)
    assert answer.code == 0, answer.err
    assert "ms a frame, CPU time" in answer.out
    assert list(json.loads(kept.read_text())) == ["64x48"]
    again = derain(*words, "--against", kept)
    assert again.code == 0 and f" of {kept}" in again.out


def test_models_are_measured_on_images(derain: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side in ("rainy", "clean"):
        (tmp_path / "set" / side).mkdir(parents=True)
    clean = cv2.GaussianBlur(rng.integers(0, 200, (40, 48, 3), np.uint8), (0, 0), 3)
    rainy = clean.copy()
    rainy[5:30, ::9] = 255
    cv2.imwrite(str(tmp_path / "set/clean/1.png"), clean)
    cv2.imwrite(str(tmp_path / "set/rainy/1.png"), rainy)
    kept = tmp_path / "found.json"
    words = ["eval", "rescan", "--images", "folders", tmp_path / "set", "--quick", "--json", kept]
    answer = derain(*words)
    assert answer.code == 0, answer.err
    assert "rescan" in answer.out and "median" not in answer.out  # of one image: the image
    assert "PSNR" in answer.out
    assert "images" in kept.read_text()


def test_wrong_use_of_eval(
    derain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERAIN_DATA", str(tmp_path))
    missing = derain("eval", "median")
    assert missing.code == 1 and str(tmp_path / "val") in missing.err
    assert derain("eval", "median", "--level", "nosuch").code == 2
    assert derain("eval", "nosuch", "--scenes").code in (1, 2)


def test_clips_are_looked_for_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERAIN_DATA", "films")
    assert lab.default_clips() == Path("films/val")
    monkeypatch.delenv("DERAIN_DATA")
    assert lab.default_clips() == Path("data/val")
