"""The background by voting: equality with its definition, quality, memory, warnings, pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.pipeline.background.command import BackgroundSettings, background_command, steadied
from derain.pipeline.background.estimate import (
    camera_shift,
    count_votes,
    elect,
    estimate_background,
    rank_value,
    sorted_luma,
)
from derain.pipeline.background.frames import FrameSample, Image
from derain.pipeline.background.pairs import LEAST_AGREEMENT, grid, rain_mask
from derain.pipeline.video import Encoding, write_rgb
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain

LOSSLESS = Encoding(codec="libx264rgb", crf=0, preset="ultrafast")


def scene(height: int, width: int, seed: int = 1) -> Image:
    """A coloured texture with detail of all sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for octave in range(2, 8):
        noise = rng.uniform(-1, 1, (2**octave, 2**octave + 1, 3))
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / octave
    image -= image.min()
    return np.rint(image / image.max() * 200 + 20).astype(np.uint8)


def rain_over(clean: Image, count: int, seed: int = 5, noise: float = 2.0) -> list[Image]:
    """Frames of a still scene under three layers of streaks and the noise of a sensor."""
    height, width = clean.shape[:2]
    layers = tuple(
        StreakLayer(c, length, breadth, bright, opaque=0.0, fall=2.0, blur=0.0)
        for c, length, breadth, bright in (
            (0.08, 20, 1.0, 0.5),
            (0.06, 40, 1.5, 0.6),
            (0.03, 70, 2.5, 0.8),
        )
    )
    still = torch.from_numpy(clean).permute(2, 0, 1)[None].float() / 255
    rng = np.random.default_rng(seed)
    frames: list[Image] = []
    for start in range(0, count, 10):
        clip = still.expand(min(10, count - start), -1, -1, -1)
        rainy = render_rain(clip, RainSettings(layers=layers), seed, start=start).rainy
        values = rainy.permute(0, 2, 3, 1).numpy() * 255
        values = values + rng.normal(0, noise, (len(clip), height, width, 1))
        frames += list(np.rint(values).clip(0, 255).astype(np.uint8))
    return frames


def psnr(a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="module")
def clean() -> Image:
    return scene(72, 128)


@pytest.fixture(scope="module")
def frames(clean: Image) -> list[Image]:
    return rain_over(clean, 100)


@pytest.mark.parametrize("count", [1, 2, 7, 100, 150])
def test_votes_are_those_of_the_definition(count: int) -> None:
    values = np.random.default_rng(count).binomial(12, 0.4, (count, 60)).astype(np.uint8)
    values = np.sort(values, axis=0)
    expected, voters = np.zeros(101, int), 0
    for pixel in values.T:
        numbers, often = np.unique(pixel, return_counts=True)
        places = np.flatnonzero(pixel == numbers[often.argmax()])
        steps = max(1, count - 1)
        for percentile in range(101):
            expected[percentile] += 100 * places[0] <= percentile * steps <= 100 * places[-1]
        voters += any(100 * places[0] <= p * steps <= 100 * places[-1] for p in range(101))
    votes, ours = count_votes(values)
    assert votes.tolist() == expected.tolist()
    assert ours == voters


def test_the_middle_of_the_first_plateau_is_elected() -> None:
    votes = np.zeros(101)
    votes[40:45] = votes[70] = 9.0
    assert elect(votes) == 42
    assert elect(np.ones(101)) == 50


@pytest.mark.parametrize("percentile", [0, 33, 50, 99, 100])
def test_ranks_are_percentiles_rounded(percentile: int) -> None:
    stack = np.random.default_rng(2).integers(0, 256, (38, 4, 5, 3)).astype(np.uint8)
    expected = np.floor(np.percentile(stack, percentile, axis=0) + 0.5 + 1e-9)
    assert np.array_equal(rank_value(stack, percentile), expected)


def test_luma_straddling_the_middle_keeps_its_order() -> None:
    frames = [np.full((2, 3, 3), value, np.uint8) for value in (130, 120, 127, 128)]
    assert sorted_luma(frames).T.tolist() == [[120, 127, 128, 130]] * 6


def test_three_layers_of_rain_are_gone(clean: Image, frames: list[Image]) -> None:
    found = estimate_background(frames)
    assert np.mean([psnr(f, clean) for f in frames[:5]]) < 26
    median = np.rint(np.median(np.stack(frames), axis=0)).astype(np.uint8)
    assert psnr(found.image, clean) > max(50.0, psnr(median, clean) + 5)
    assert found.warnings == []
    assert found.share > 0.4
    assert found.shift < 0.3
    # A person's choice overrules the vote.
    assert estimate_background(frames, 90).percentile == 90
    assert psnr(estimate_background(frames, 90).image, clean) < 40


@pytest.mark.slow
def test_a_large_scene_comes_back_to_50_decibels() -> None:
    clean = scene(360, 640)
    assert psnr(estimate_background(rain_over(clean, 100)).image, clean) >= 50


def test_sample_is_spread_evenly_and_bounded() -> None:
    for length in (1, 7, 8, 9, 100, 1000):
        sample = FrameSample(8)
        most = 0
        for i in range(length):
            if sample.due():
                sample.add(np.full((2, 2, 3), i % 251, np.uint8))
            most = max(most, len(sample.frames))
        kept = [int(f[0, 0, 0]) for f in sample.frames]
        assert kept == [i % 251 for i in range(0, length, sample.stride)]
        assert most <= 8
        assert len(kept) >= min(length, 4)


def move(frames: list[Image], path: Callable[[int], float]) -> list[Image]:
    height, width = frames[0].shape[:2]
    return [
        cv2.warpAffine(f, np.array([[1, 0, path(i)], [0, 1, 0]]), (width, height), borderMode=4)
        for i, f in enumerate(frames)
    ]


@pytest.mark.parametrize(
    "path",
    [lambda i: 0.05 * i, lambda i: 3.0 * (i >= 50), lambda i: 2.0 * np.sin(i)],
    ids=["drift", "jerk", "shake"],
)
def test_a_moving_camera_is_noticed(frames: list[Image], path: Callable[[int], float]) -> None:
    assert camera_shift(frames) < 0.3
    found = estimate_background(move(frames, path)[::2])
    assert found.shift > 0.5
    assert any("camera moves" in warning for warning in found.warnings)


def test_moving_things_darkness_and_few_frames_are_noticed(frames: list[Image]) -> None:
    walked = [f.copy() for f in frames[:48]]
    for i, frame in enumerate(walked):
        if i % 5 < 2:
            frame[10:50, 20:60] = 0
    found = estimate_background(walked)
    assert found.unsteady[12:48, 22:58].mean() > 0.9
    assert found.unsteady[:, 70:].mean() < 0.02
    text = " ".join(found.warnings)
    assert "not still" in text
    assert "only 48 frames" in text
    dimmed = [(f * (0.7 + 0.3 * (i % 2))).astype(np.uint8) for i, f in enumerate(frames)]
    assert any("light changes" in warning for warning in estimate_background(dimmed).warnings)


def test_edges_of_what_is_possible() -> None:
    one = scene(1, 1)
    assert np.array_equal(estimate_background([one]).image, one)
    dark = np.zeros((20, 30, 3), np.uint8)
    assert not estimate_background([dark] * 3).image.any()
    with pytest.raises(DerainError, match="no frames"):
        estimate_background([])
    with pytest.raises(DerainError, match="percentile"):
        estimate_background([one], 101)
    sample = FrameSample(4)
    sample.add(dark)
    with pytest.raises(DerainError, match="size changes"):
        sample.add(one)


def test_grid_covers_a_side() -> None:
    assert grid(256) == [0]
    assert grid(100) == [0]
    assert grid(360) == [0, 104]
    assert grid(768) == [0, 256, 512]


def test_mask_sees_one_channel() -> None:
    clean = np.full((2, 2, 3), 100, np.uint8)
    rainy = clean.copy()
    rainy[0, 0, 2], rainy[1, 1, 0] = 109, 92
    assert rain_mask(rainy, clean).tolist() == [[True, False], [False, False]]


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


def test_a_camera_that_sways_is_put_right_first(tmp_path: Path) -> None:
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


def test_a_turned_camera_gives_an_upright_background(tmp_path: Path, clean: Image) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6  # turned by a quarter
    for index in range(4):
        PIL.Image.fromarray(clean).save(tmp_path / f"{index:04d}.jpg", exif=exif, quality=95)
    found = background_command(tmp_path / "%04d.jpg", tmp_path / "clean.png")
    assert found.image.shape == (128, 72, 3)
    assert psnr(found.image, np.ascontiguousarray(np.rot90(clean, -1))) > 25
