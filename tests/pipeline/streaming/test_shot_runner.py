"""Frames on their way through the network and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from derain.models.errors import UsageError
from derain.models.networks.per_frame import PerFrame
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.sizes import protected_mask
from derain.pipeline.video import Encoding, Frame, VideoReader, read_rgb

SCENE = np.kron(
    np.array([[[60, 60, 60], [90, 60, 60]], [[60, 90, 60], [60, 60, 90]]], np.uint8),
    np.ones((40, 24, 1), np.uint8),
)  # upright: 48 wide, 80 high


class BrightTop(SingleImageModel):
    """Makes the upper left quarter of what it sees white."""

    multiple, halo = 1, 0

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        height, width = rainy.shape[-2:]
        self.sizes.append((height, width))
        image = rainy.clone()
        image[..., : height // 2, : width // 2] = 1
        return image, {}


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flipped", [False, True])
def test_the_network_sees_a_turned_film_upright(
    tmp_path: Path,
    turned_film: Callable[..., Path],
    degrees: int,
    flipped: bool,
) -> None:
    film = turned_film(SCENE, degrees, flipped)
    with VideoReader(film) as reader:
        size = (reader.video.height, reader.video.width)
    seen = next(read_rgb(film))
    assert seen.flags.c_contiguous  # torch takes no array that is mirrored
    assert np.abs(seen * 255 - SCENE).mean() < 4
    network = BrightTop()
    target = tmp_path / "clean.mp4"
    options = VideoOptions(precision="fp32", encoding=Encoding(crf=4), scene_reset="off")
    derain_video(film, target, options, model=PerFrame(network))
    assert set(network.sizes) == {SCENE.shape[:2]}
    with VideoReader(target) as reader:
        assert (reader.video.height, reader.video.width) == size
        frames: list[Frame] = list(reader.frames())
    assert len(frames) == 3
    shown = next(read_rgb(target)) * 255
    assert shown[6:34, 6:18].min() > 235
    assert np.abs(shown[46:, 30:] - SCENE[46:, 30:]).mean() < 6


def test_what_is_protected_stays_bit_for_bit(
    tmp_path: Path, turned_film: Callable[..., Path]
) -> None:
    film = turned_film(SCENE, 90)
    mask = np.zeros(SCENE.shape[:2], np.uint8)
    mask[60:80, 30:48] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = VideoOptions(
        precision="fp32",
        encoding=Encoding("ffv1"),
        scene_reset="off",
        protect=("0,0,16,20", str(tmp_path / "mask.png")),
    )
    target = tmp_path / "clean.mkv"
    derain_video(film, target, options, model=PerFrame(BrightTop()))
    before, after = next(read_rgb(film)), next(read_rgb(target))
    assert np.array_equal(before[:20, :16], after[:20, :16])
    assert np.array_equal(before[60:, 30:], after[60:, 30:])
    assert after[24:36, 4:20].min() > 0.9


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("0,0,50,20", "does not lie in frames of 48x80"),
        ("0,0,0,20", "does not lie"),
        ("nothing.png", "neither"),
        ("1,2,3", "neither"),
    ],
)
def test_regions_that_do_not_fit_are_a_sentence(region: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        protected_mask([region], 48, 80)


def test_a_mask_of_another_size_is_a_sentence(tmp_path: Path) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "mask.png")
    with pytest.raises(UsageError, match="10x10"):
        protected_mask([str(tmp_path / "mask.png")], 48, 80)
