"""Frames on their way through the network and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from derain.models.networks.per_frame import PerFrame
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding, Frame, Video, VideoReader, VideoWriter, read_rgb

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


def _turned_film(path: Path, degrees: int, flipped: bool) -> Path:
    """SCENE as a camera that is turned stores it, with the matrix that says how."""
    turned = SCENE[:, ::-1] if flipped else SCENE  # a player turns first and flips then
    stored = np.ascontiguousarray(np.rot90(turned, -degrees // 90))
    unit = 1 << 16
    a, b = {0: (1, 0), 90: (0, -1), 180: (-1, 0), 270: (0, 1)}[degrees]
    across = -1 if flipped else 1
    matrix = (a * unit * across, b * unit, 0, -b * unit * across, a * unit, 0, 0, 0, 1 << 30)
    video = Video(stored.shape[1], stored.shape[0], display_matrix=matrix)
    with VideoWriter(path, video, Encoding("libx264", crf=4)) as writer:
        for index in range(3):
            writer.write_rgb(stored, index)
    return path


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("flipped", [False, True])
def test_the_network_sees_a_turned_film_upright(
    tmp_path: Path, degrees: int, flipped: bool
) -> None:
    film = _turned_film(tmp_path / "turned.mp4", degrees, flipped)
    with VideoReader(film) as reader:
        size = (reader.video.height, reader.video.width)
    seen = next(read_rgb(film)) * 255
    assert np.abs(seen - SCENE).mean() < 4
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
