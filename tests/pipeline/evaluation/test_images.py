"""`derain eval --images`: known models on a known set give known figures."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from torch import Tensor, nn
from typer.testing import CliRunner

from derain.models import DerainError, create_model
from derain.models.networks.per_frame import PerFrame
from derain.models.weights_io import save_model
from derain.pipeline.cli import lab
from derain.pipeline.evaluation.images import evaluate_images, image_table
from derain.pipeline.evaluation.model_runs import Options

FP32 = Options(device="cpu", precision="fp32")


class Minus(nn.Module):
    """Takes a constant off, which no 8-bit image holds exactly."""

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy - 10.3 / 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs; rain adds 20 grey levels to all of one image and 10 to the other."""
    for name in ("rain", "norain"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for i, rain in ((1, 20), (2, 10)):
        clean = np.random.default_rng(i).integers(30, 200, (20, 24, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"set/norain/{i}.png"), clean)
        cv2.imwrite(str(tmp_path / f"set/rain/{i}.png"), clean + np.uint8(rain))
    return tmp_path / "set"


def decibels(levels: float) -> float:
    return float(20 * np.log10(255 / levels))


def test_figures_are_of_8_bit_images_and_averaged(folder: Path) -> None:
    result = evaluate_images({"minus": PerFrame(Minus())}, folder, "folders", None, FP32)
    psnr = {(r["row"], r["clip"]): r["psnr"] for r in result.records}
    assert psnr["input", "1"] == pytest.approx(decibels(20), abs=1e-3)
    assert psnr["minus", "1"] == pytest.approx(decibels(10), abs=1e-3)
    assert psnr["minus", "2"] == 100  # rounded, it is the truth
    y = next(r for r in result.records if r["row"] == "input" and r["clip"] == "1")
    share = (65.481 + 128.553 + 24.966) / 255  # of a grey level that reaches MATLAB's Y
    assert y["psnr_y"] == pytest.approx(decibels(20 * share), abs=1e-3)
    assert 0 < y["ssim"] < 1
    assert 0 < y["ssim_y"] < 1
    console = Console(width=120, record=True, file=StringIO())
    console.print(image_table(result))
    text = console.export_text()
    assert "folders, 2 images" in text
    gain = (decibels(10) + 100 - decibels(20) - decibels(10)) / 2
    assert f"{gain:+.2f}" in text
    assert f"{decibels(10) - decibels(20):+.2f}" in text  # the worst image's


def test_images_without_truth_are_refused(folder: Path) -> None:
    with pytest.raises(DerainError, match="derain image"):
        evaluate_images({}, folder / "rain", "alone", None, FP32)


def test_the_command_prints_both_protocols(folder: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    lab.add_commands(app)
    torch.manual_seed(0)
    weights, found = tmp_path / "tiny.safetensors", tmp_path / "found.json"
    save_model(create_model("rescan", unit="conv", channels=4, depth=3, stages=1), weights)
    arguments = ["eval", str(weights), "--images", "folders", str(folder), "--json", str(found)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    for words in ("PSNR-Y", "SSIM-Y", "11x11 Gaussian", "MATLAB's Y", "tiny"):
        assert words in result.output
    records = json.loads(found.read_text())["images"]["records"]
    assert {r["row"] for r in records} == {"input", "tiny"}
