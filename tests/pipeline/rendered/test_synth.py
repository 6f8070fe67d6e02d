"""Rain on video files: as much as asked, the same from the same seed, falling on between frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.models.errors import DerainError
from derain.pipeline.rendered.demo import read_8_bit
from derain.pipeline.rendered.scenes import demo_frames
from derain.pipeline.rendered.synth import SynthOptions, named_rain, rain_on, synthesize
from derain.pipeline.video import Encoding, read_rgb, write_rgb
from derain.stages.data.rain import render_rain

FRAMES = 4


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synth") / "clean.mp4"
    frames = (np.rint(f * 255).astype(np.uint8) for f in demo_frames(96, 128, FRAMES))
    write_rgb(path, frames, encoding=Encoding(crf=4))
    return path


def rained(clean: Path, target: Path, options: SynthOptions) -> np.ndarray:
    assert synthesize(clean, target, replace(options, encoding=Encoding(crf=4))) == FRAMES
    return np.stack(list(read_8_bit(target))).astype(float)


def test_rain_brightens_and_the_seed_decides(clean: Path, tmp_path: Path) -> None:
    before = np.stack(list(read_8_bit(clean))).astype(float)
    one = rained(clean, tmp_path / "1.mp4", SynthOptions(seed=1))
    same = rained(clean, tmp_path / "2.mp4", SynthOptions(seed=1))
    other = rained(clean, tmp_path / "3.mp4", SynthOptions(seed=2))
    assert (one - before).mean() > 2
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).mean() > 2
    thin = rained(clean, tmp_path / "4.mp4", SynthOptions(seed=1, density=0.1))
    assert np.abs(thin - before).mean() < 0.5 * np.abs(one - before).mean()


def test_layers_are_written(clean: Path, tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    synthesize(clean, tmp_path / "r.mp4", SynthOptions(haze=1.0, layers=layers))
    assert len(list(layers.glob("*.png"))) == 3 * FRAMES
    streaks = cv2.imread(str(layers / "streaks_000002.png"))
    haze = cv2.imread(str(layers / "transmission_000002.png"))
    assert streaks.max() > 30 > streaks.min()
    assert 20 < haze.mean() < 240


def test_rain_falls_on_from_frame_to_frame() -> None:
    frames = [np.full((64, 64, 3), 0.3, np.float32)] * 3
    settings = named_rain(SynthOptions(rain="storm"), 64)
    single = torch.cat([rain.rainy for rain in rain_on(frames, settings, seed=3)])
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    torch.testing.assert_close(single, render_rain(clip, settings, 3).rainy, atol=1e-5, rtol=0)


def test_random_rain_comes_from_the_seed() -> None:
    first, again, other = (
        named_rain(SynthOptions(rain="random", seed=s), 400) for s in (1, 1, 2)
    )  # fmt: skip
    assert first == again != other


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (SynthOptions(rain="frogs"), "no rain 'frogs'"),
        (SynthOptions(density=-1), "--density is 0 or more"),
    ],
)
def test_wrong_wishes_leave_no_file(
    clean: Path, tmp_path: Path, options: SynthOptions, sentence: str
) -> None:
    with pytest.raises(DerainError, match=sentence):
        synthesize(clean, tmp_path / "out.mp4", options)
    assert not list(tmp_path.iterdir())


def test_input_is_never_the_output(clean: Path) -> None:
    with pytest.raises(DerainError, match="input itself"):
        synthesize(clean, clean, SynthOptions(overwrite=True))
    with pytest.raises(DerainError, match="no file"):
        synthesize(clean.with_name("none.mp4"), clean.with_name("x.mp4"))


def test_rain_falls_down_in_the_film_of_a_turned_camera(
    tmp_path: Path, turned_film: Callable[..., Path]
) -> None:
    scene = np.full((80, 48, 3), 60, np.uint8)
    options = SynthOptions(seed=1, layers=tmp_path / "layers", encoding=Encoding(crf=4))
    shown = []
    for degrees in (0, 90):
        target = tmp_path / f"rainy_{degrees}.mp4"
        synthesize(turned_film(scene, degrees), target, options)
        shown.append(255 * next(read_rgb(target)))
    assert shown[0].std() > 4
    assert np.abs(shown[0] - shown[1]).mean() < 2
    assert cv2.imread(str(tmp_path / "layers" / "streaks_000000.png")).shape == scene.shape
