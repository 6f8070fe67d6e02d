"""The command: what it writes, refuses and says; memory; a camera that sways or is turned."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.pipeline.background.command import BackgroundSettings, background_command, steadied
from derain.pipeline.background.estimate import (
    estimate_background,
)
from derain.pipeline.background.frames import Image
from derain.pipeline.background.pairs import LEAST_AGREEMENT, rain_mask
from derain.pipeline.video import Encoding, write_rgb

LOSSLESS = Encoding(codec="libx264rgb", crf=0, preset="ultrafast")


def load(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image[..., ::-1] if image.ndim == 3 else image


def test_command_writes_background_and_pairs(
    tmp_path: Path, clean: Image, frames: list[Image]
) -> None:
    video, target = tmp_path / "my rain.mkv", tmp_path / "out" / "clean.png"
    frames = [*frames[:30], *[clean] * 2]
    write_rgb(video, frames, Fraction(25), LOSSLESS)
    notices: list[str] = []
    found = background_command(video, target, pairs=tmp_path / "pairs", notice=notices.append)
    assert np.array_equal(found.image, estimate_background(frames).image)
    assert np.array_equal(load(target), found.image)
    home = tmp_path / "pairs" / "my_rain"
    assert np.array_equal(load(home / "clean.png"), found.image)
    assert np.array_equal(load(home / "rain/my_rain-000003.png"), frames[3])
    mask = load(home / "mask/my_rain-000003.png")
    assert np.array_equal(mask > 0, rain_mask(frames[3], found.image))
    lines = (tmp_path / "pairs" / "my_rain.txt").read_text().splitlines()
    assert len(lines) == 30  # the two without rain teach nothing
    for line, frame in zip(lines, frames, strict=False):
        rainy, clear = line.split(" ")
        assert np.array_equal(load(tmp_path / "pairs" / rainy), frame)
        assert np.array_equal(load(tmp_path / "pairs" / clear), found.image)
    manifest = json.loads((home / "manifest.json").read_text())
    assert (manifest["pairs"], manifest["crops_without_rain"]) == (30, 2)
    assert manifest["chosen_by"] == "vote"
    assert [c["frames"] for c in manifest["candidates"]] == [20] * 3 + [32] * 3
    assert len(list((home / "candidates").iterdir())) == 6
    assert load(home / "sheet.png").shape == (2 * (72 + 24), 3 * 128, 3)
    assert any("only 32 frames" in n for n in notices)
    with pytest.raises(DerainError, match="exists"):
        background_command(video, target)
    with pytest.raises(DerainError, match="pairs already"):
        background_command(video, pairs=tmp_path / "pairs")
    again = background_command(
        video, target, pairs=tmp_path / "pairs", every=7, overwrite=True,
        settings=BackgroundSettings(frames=20, percentile=40),
    )  # fmt: skip
    assert (again.frames, again.percentile) == (16, 40)
    assert len(list((home / "rain").iterdir())) == 5
    assert json.loads((home / "manifest.json").read_text())["chosen_by"] == "person"


def test_memory_holds_however_long_the_video(tmp_path: Path, clean: Image) -> None:
    video = tmp_path / "long.mkv"
    write_rgb(video, [clean] * 90, Fraction(25), LOSSLESS)
    notices: list[str] = []
    settings = BackgroundSettings(memory=10 * clean.nbytes)
    found = background_command(
        video, tmp_path / "clean.png", settings=settings, notice=notices.append
    )
    assert found.frames <= 10
    assert "room for 10 frames" in notices[0]


def test_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="nothing to write"):
        background_command("rain.mp4")
    with pytest.raises(DerainError, match="read twice"):
        background_command("-", pairs=tmp_path)
    with pytest.raises(DerainError, match="no file"):
        background_command(tmp_path / "none.mp4", tmp_path / "clean.png")


def test_a_camera_that_sways_is_put_right_first(
    scene: Any, rain_over: Any, psnr: Any, tmp_path: Path
) -> None:
    """Frames shifted and turned a little come back to one of them, and so do their pairs."""
    clean = scene(96, 160)
    frames = []
    for i, frame in enumerate(rain_over(clean, 24)):
        frames.append(cv2.warpAffine(frame, turns(i), (160, 96), borderMode=cv2.BORDER_REFLECT_101))
    notices = list[str]()
    still, sways = steadied(frames, notices.append)
    assert sways
    assert "put onto one of them" in notices[0]
    found, shaken = estimate_background(still), estimate_background(frames)
    middle = cv2.warpAffine(clean, turns(12), (160, 96), borderMode=cv2.BORDER_REFLECT_101)
    inner = np.s_[10:-10, 10:-10]
    assert psnr(found.image[inner], middle[inner]) > psnr(shaken.image[inner], middle[inner]) + 5
    assert found.shift < 0.4 * shaken.shift
    video = tmp_path / "sway.mkv"
    write_rgb(video, frames, Fraction(25), LOSSLESS)
    background_command(video, pairs=tmp_path / "pairs", notice=notices.append)
    manifest = json.loads((tmp_path / "pairs/sway/manifest.json").read_text())
    assert manifest["pairs"] > 12
    assert min(manifest["agreement"]) >= LEAST_AGREEMENT


def turns(i: int) -> NDArray[np.float64]:
    turn = cv2.getRotationMatrix2D((80, 48), 0.4 * np.sin(i), 1.0)
    turn[:, 2] += 2.5 * np.sin(i), 1.5 * np.cos(i)
    return np.asarray(turn)


def test_frames_of_another_scene_make_no_pairs(
    tmp_path: Path, clean: Image, frames: list[Image]
) -> None:
    other = [np.ascontiguousarray(frame[::-1, ::-1]) for frame in frames[20:26]]
    video, notices = tmp_path / "two.mkv", list[str]()
    write_rgb(video, [*frames[:20], *other], Fraction(25), LOSSLESS)
    background_command(video, pairs=tmp_path / "pairs", notice=notices.append)
    manifest = json.loads((tmp_path / "pairs/two/manifest.json").read_text())
    assert (manifest["pairs"], manifest["crops_that_disagree"]) == (20, 6)
    lines = (tmp_path / "pairs/two.txt").read_text().splitlines()
    assert all("-0000" in line and int(line.split("-")[1][:6]) < 20 for line in lines)
    assert len(manifest["agreement"]) == 20
    assert any("6 in which less than 50%" in notice for notice in notices)


def test_a_turned_camera_gives_an_upright_background(
    psnr: Any, tmp_path: Path, clean: Image
) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6  # turned by a quarter
    for index in range(4):
        PIL.Image.fromarray(clean).save(tmp_path / f"{index:04d}.jpg", exif=exif, quality=95)
    found = background_command(tmp_path / "%04d.jpg", tmp_path / "clean.png")
    assert found.image.shape == (128, 72, 3)
    assert psnr(found.image, np.ascontiguousarray(np.rot90(clean, -1))) > 25
