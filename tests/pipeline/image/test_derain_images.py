"""`derain image`: the default network takes streaks off a single picture."""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.models.registry import weights_file
from derain.pipeline.cli import main
from derain.pipeline.image.derain_images import derain_images, read_picture
from derain.pipeline.streaming.options import VideoOptions
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain
from derain.stages.losses.metrics import psnr

DEFAULT = inspect.signature(main.image).parameters["model"].default


def scene(height: int = 96, width: int = 128) -> torch.Tensor:
    """(3, H, W): soft hills of colour, and a dark box."""
    y, x = np.mgrid[:height, :width] / 20
    picture = np.stack([np.sin(x + k) * np.cos(y - k) for k in range(3)]) * 0.15 + 0.45
    picture[:, 30:60, 40:90] -= 0.2
    return torch.from_numpy(picture.astype(np.float32))


def save(path: Path, picture: torch.Tensor) -> None:
    cv2.imwrite(str(path), (picture.permute(1, 2, 0).numpy()[..., ::-1] * 255).round())


def test_streaks_go_from_a_single_picture(tmp_path: Path) -> None:
    if weights_file(DEFAULT) is None:
        pytest.skip(f"the trained weights of {DEFAULT} are not in models/weights")
    clean = scene()
    layers = (StreakLayer(0.06, 14, 1.0, 0.5, 0.0, 2.0, 0.0),)
    rainy = render_rain(clean[None], RainSettings(layers=layers, angle=8), 3).rainy[0]
    save(tmp_path / "in.png", rainy)
    options = VideoOptions(model=DEFAULT, device="cpu", precision="fp32")
    assert derain_images([str(tmp_path / "in.png")], str(tmp_path / "out.png"), options) == 0
    found = torch.from_numpy(read_picture(tmp_path / "out.png").rgb).permute(2, 0, 1)
    gain = float(psnr(found[None], clean[None]) - psnr(rainy[None], clean[None]))
    assert gain > 2


def test_says_when_a_network_needs_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "in.png", scene())
    options = VideoOptions(model="median", device="cpu")
    assert derain_images([str(tmp_path / "in.png")], str(tmp_path / "out.png"), options) == 0
    assert "--model rescan" in capsys.readouterr().err
