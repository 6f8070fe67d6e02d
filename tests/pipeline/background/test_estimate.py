"""The background by voting: equality with its definition, quality, memory, warnings, pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from derain.models.errors import DerainError
from derain.pipeline.background.estimate import (
    camera_shift,
    count_votes,
    elect,
    estimate_background,
    rank_value,
    sorted_luma,
)
from derain.pipeline.background.frames import FrameSample, Image


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


def test_three_layers_of_rain_are_gone(psnr: Any, clean: Image, frames: list[Image]) -> None:
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
def test_a_large_scene_comes_back_to_50_decibels(scene: Any, rain_over: Any, psnr: Any) -> None:
    clean = scene(360, 640)
    assert psnr(estimate_background(rain_over(clean, 100)).image, clean) >= 50


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


def test_edges_of_what_is_possible(scene: Any) -> None:
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
