"""What is rain, and what is motion, grain, drops on glass or foliage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from derain.models import Derainer, load_model
from derain.pipeline.preview.rain_kind import (
    HAZY,
    Transients,
    is_repeat,
    measure_haze,
    measure_transients,
    shows_drops,
    small,
)
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain

Image = NDArray[np.float32]


def scene(count: int, speed: float = 2.0, height: int = 120, width: int = 200) -> list[Image]:
    """Soft coloured hills and sharp boards that move to the left."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    frames = []
    for index in range(count):
        u = x + speed * index
        planes = [0.35 + 0.1 * np.sin(u / 17 + k) * np.cos(y / 13 - k) for k in range(3)]
        image = np.stack(planes, -1)
        image[(u // 40 % 2 == 0) & (y > height / 2)] -= 0.15
        frames.append(image.astype(np.float32))
    return frames


def rain_on(frames: list[Image], coverage: float, haze: float = 0.0) -> list[Image]:
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    layers = (StreakLayer(coverage, 14, 1.5, 0.5, 0.0, 2.0, 0.0),) if coverage else ()
    rainy = render_rain(clip, RainSettings(layers=layers, angle=8, haze=haze), 3).rainy
    return list(rainy.permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("coverage", [0.03, 0.1])
def test_streaks_that_fall_are_rain(coverage: float) -> None:
    found = measure_transients(*rain_on(scene(3), coverage))
    assert found.is_rain
    assert found.rain > 0.01


@pytest.mark.parametrize("speed", [0.0, 2.0, 6.0])
def test_motion_and_grain_are_none(speed: float) -> None:
    rng = np.random.default_rng(0)
    grain = [x + rng.normal(0, 4 / 255, x.shape).astype(np.float32) for x in scene(3, speed)]
    assert not measure_transients(*scene(3, speed)).is_rain
    assert not measure_transients(*grain).is_rain


def test_few_bright_streaks_are_rain_where_all_else_is_still() -> None:
    assert Transients(0.006, 0.002, 0.004, 0.001).is_rain
    assert not Transients(0.05, 0.048, 0.02, 0.018).is_rain
    assert Transients(0.1, 0.12, 0, 0).rain == 0


def test_repeats_are_known_by_their_pixels() -> None:
    first, second = scene(2)
    assert is_repeat(first, first.copy())
    assert not is_repeat(first, second)


def through_glass(frames: list[Image], drops: int = 260) -> list[Image]:
    """Drops that stand still: each shows a small bright rim and a dark upper side."""
    rng = np.random.default_rng(5)
    height, width = frames[0].shape[:2]
    y, x = np.mgrid[:height, :width]
    glass = np.zeros((height, width), np.float32)
    for cy, cx, r in rng.uniform((0, 0, 2), (height, width, 4), (drops, 3)):
        near = ((y - cy) / r) ** 2 + ((x - cx) / r) ** 2
        glass += np.where(near < 2, 0.25 * np.sign(y - cy) * np.exp(-near), 0).astype(np.float32)
    return [np.clip(frame + glass[..., None], 0, 1) for frame in frames]


def test_drops_on_glass_stand_still_before_a_moving_scene() -> None:
    smooth = [small(x, 480) for x in scene(12, 12.0, 270, 480)]
    smooth = [np.float32(0.4) + 0.3 * (x - x.mean()) for x in smooth]
    assert shows_drops(through_glass(smooth))
    assert not shows_drops(smooth)
    assert not shows_drops(through_glass(smooth, drops=12))
    assert not shows_drops(through_glass(smooth)[:2])


def test_foliage_is_no_glass() -> None:
    rng = np.random.default_rng(1)
    leaves = np.repeat(np.repeat(rng.uniform(0.1, 0.6, (68, 120, 3)), 4, 0), 4, 1)
    assert not shows_drops([leaves.astype(np.float32)] * 6)


def test_haze_is_measured_by_the_network_that_estimates_it() -> None:
    estimator = Derainer(load_model("swift"), device="cpu", precision="fp32")
    clear, hazy = scene(1)[0] ** 2, rain_on([scene(1)[0] ** 2], 0, haze=1.5)[0]
    found = [measure_haze(estimator, image) for image in (clear, hazy, clear)]
    assert all(value is not None for value in found)
    assert found[0] == found[2]
    assert found[1] < found[0]  # type: ignore[operator]
    assert found[0] > HAZY
    median = Derainer(load_model("median"), device="cpu")
    assert measure_haze(median, clear) is None
