"""Evaluation end to end on clips made here, with models whose figures are known beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor, nn

from derain.models import load_model
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.registry import weights_file
from derain.models.video_model import VideoModel
from derain.pipeline.evaluation import clips, model_runs
from derain.pipeline.evaluation.model_runs import INPUT, Options, StatelessAblation
from derain.pipeline.rendered.scenes import SCENES, render_scene
from derain.stages.losses import metrics

FP32 = Options(device="cpu", precision="fp32")


def test_a_model_that_does_nothing_has_the_figures_of_the_input(folder: Path) -> None:
    models = {"nothing": PerFrame(nn.Identity())}
    result = clips.evaluate_pairs(models, folder / "pairs.yaml", folder, FP32)
    rows = {(r["row"], r["clip"], r["level"]): r for r in result.records}
    assert len(rows) == 6
    for clip, level in (("a", "light"), ("b", "light"), ("b", "heavy")):
        before, after = rows[INPUT, clip, level], rows["nothing", clip, level]
        for name in ("psnr", "psnr_y", "ssim", "ssim_y", "psnr_rainy", "psnr_clean", "temporal"):
            assert after[name] == pytest.approx(before[name], abs=1e-5)
    assert rows[INPUT, "b", "heavy"]["psnr"] == pytest.approx(22, abs=1)
    assert rows[INPUT, "b", "heavy"]["psnr_rainy"] < rows[INPUT, "b", "heavy"]["psnr_clean"]
    assert clips.worst_gain(result.records, "nothing") == pytest.approx(0, abs=1e-5)
    assert any("LPIPS" in text for text in result.notices)


def test_clean_clips_and_scenes_show_harm(folder: Path) -> None:
    class Fade(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0.99

    options = replace(FP32, frames=2)
    models: dict[str, VideoModel] = {"fade": PerFrame(Fade()), "nothing": PerFrame(nn.Identity())}
    result = clips.evaluate_clean(models, folder / "pairs.yaml", folder, options)
    psnr = {(r["row"], r["clip"]): r["psnr"] for r in result.records}
    assert psnr["nothing", "a.mp4"] == 100
    assert 40 < psnr["fade", "a.mp4"] < 60
    scenes = clips.evaluate_scenes({"nothing": models["nothing"]}, options, size=(160, 96))
    assert {r["clip"] for r in scenes.records} == set(SCENES)
    assert all(r["psnr"] == 100 and r["psnr_focus"] == 100 for r in scenes.records)


def test_wrong_wishes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="one model"):
        model_runs.load_models(["median", "swift"], tmp_path / "w.safetensors")
    with pytest.raises(DerainError, match="named twice"):
        model_runs.load_models(["swift", "swift"])
    with pytest.raises(DerainError, match="no hidden state"):
        StatelessAblation(PerFrame(nn.Identity()))
    with pytest.raises(DerainError, match="no scene"):
        render_scene("fog")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_trained_network_leaves_alone_what_is_no_rain(name: str) -> None:
    if weights_file("swift") is None:
        pytest.skip("the trained weights of swift are not in models/weights")
    scene = render_scene(name)
    image = model_runs.run_model(load_model("swift"), scene.clean, FP32)["image"]
    assert metrics.psnr(image, scene.clean).mean() >= 38
