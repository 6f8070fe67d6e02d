"""Evaluation end to end on clips made here, with models whose figures are known beforehand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from derain.configs.validation import ValidationSet, write_validation
from derain.models import create_model, load_model
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.output import Output
from derain.models.registry import weights_file
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import VideoModel
from derain.models.weights_io import save_model
from derain.pipeline.evaluation import clips, model_runs, tables
from derain.pipeline.evaluation.model_runs import INPUT, Options, StatelessAblation
from derain.pipeline.rendered.scenes import SCENES, demo_frames, render_scene
from derain.pipeline.video import Encoding, write_rgb
from derain.stages.data.validation_pairs import calibrate
from derain.stages.losses import metrics

FP32 = Options(device="cpu", precision="fp32")


class Counted(NamedTuple):
    """Remembers how many frames were seen; the window is the frame before."""

    before: Tensor | None
    memory: Tensor


class Remembering(VideoModel[Counted]):
    """Latency 1; adds a thousandth for every frame it remembers."""

    latency, multiple, halo = 1, 1, 0
    has_hidden_state = True

    def initial_state(self, batch: int, height: int, width: int, **_: Any) -> Counted:
        return Counted(None, torch.zeros(batch, 1, 1, 1))

    def reset_hidden_state(self, state: Counted) -> Counted:
        return state._replace(memory=torch.zeros_like(state.memory))

    def step(
        self, frame: Tensor, state: Counted, tiles: Tiles | None = None
    ) -> tuple[Output | None, Counted]:
        done = None if state.before is None else self._output(state)
        return done, Counted(frame, state.memory + 0.001)

    def flush(self, state: Counted, tiles: Tiles | None = None) -> list[Output]:
        return [self._output(state)]

    def _output(self, state: Counted) -> Output:
        assert state.before is not None
        return Output(image=state.before + state.memory, recovered=state.before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of six frames, 96x64, and pairs calibrated on them."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [np.rint(f * 255).astype(np.uint8) for f in demo_frames(64, 96, 6)]
    write_rgb(folder / "a.mp4", frames, encoding=Encoding(crf=4))
    write_rgb(folder / "b.mp4", frames[::-1], encoding=Encoding(crf=4))
    layer = {"coverage": 0.2, "length": 8, "width": 1.0, "brightness": 0.4}
    layer |= {"opaque": 0.2, "fall": 1.5, "blur": 0.0}
    entry = {"rain": "test", "seed": 5}
    pairs = ValidationSet.model_validate(
        {
            "levels": {
                "light": {"psnr": 28, "tolerance": 1},
                "heavy": {"psnr": 22, "tolerance": 1},
            },
            "rains": {"test": {"layers": [layer]}},
            "clips": [
                {"file": "a.mp4", "camera": "static", "pairs": {"light": entry}},
                {"file": "b.mp4", "camera": "moving", "pairs": {"light": entry, "heavy": entry}},
            ],
        }
    )
    write_validation(calibrate(pairs, folder, model_runs.read_clip), folder / "pairs.yaml")
    return folder


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


def test_rows_for_stage_1_and_for_a_reset_hidden_state(folder: Path) -> None:
    options = replace(FP32, levels=("heavy",), quick=True, reset_hidden_state=True)
    models: dict[str, VideoModel] = {"m": Remembering()}
    result = clips.evaluate_pairs(models, folder / "pairs.yaml", folder, options)
    psnr = {r["row"]: r["psnr"] for r in result.records}
    assert list(psnr) == [INPUT, "m, stage 1", "m", "m, hidden state reset"]
    assert psnr["m, stage 1"] == pytest.approx(psnr[INPUT], abs=1e-5)
    clip = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5
    kept = model_runs.run_model(models["m"], clip, FP32)["image"] - clip
    wiped = model_runs.run_model(StatelessAblation(models["m"]), clip, FP32)["image"] - clip
    torch.testing.assert_close(kept.mean((1, 2, 3)), torch.arange(1, 6) * 0.001, atol=1e-6, rtol=0)
    # Each output was made by a step or flush that had seen nothing before it.
    torch.testing.assert_close(wiped.mean((1, 2, 3)), torch.zeros(5), atol=1e-6, rtol=0)


def test_rows_of_a_network_and_of_itself_steadied(folder: Path) -> None:
    torch.manual_seed(0)
    net = create_model("rescan", unit="conv", channels=4, depth=3, stages=1)
    save_model(net, folder / "tiny.safetensors")
    models = model_runs.load_models([str(folder / "tiny.safetensors")], steady=True)
    options = replace(FP32, levels=("heavy",))
    result = clips.evaluate_pairs(models, folder / "pairs.yaml", folder, options)
    temporal = {r["row"]: r["temporal"] for r in result.records}
    assert list(temporal) == [INPUT, "median", "tiny", "tiny, steady"]
    assert temporal["tiny, steady"] < temporal["tiny"]
    with pytest.raises(DerainError, match="--steady is for networks"):
        model_runs.load_models(["median"], steady=True)


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


@pytest.mark.parametrize("name", SCENES)
def test_scenes_move_and_have_a_focus(name: str) -> None:
    scene = render_scene(name, frames=5, size=(160, 96))
    assert scene.clean.shape == (5, 3, 96, 160)
    assert 0 <= scene.clean.min() < scene.clean.max() <= 1
    assert scene.focus.dtype == torch.bool
    assert 0.005 < scene.focus.float().mean() < 0.99
    assert (scene.clean[4] - scene.clean[0]).abs().mean() > 0.005
    again = render_scene(name, frames=5, size=(160, 96))
    torch.testing.assert_close(again.clean, scene.clean, atol=0, rtol=0)


def test_captions_stand_still_while_the_scene_moves() -> None:
    scene = render_scene("captions", frames=4, size=(320, 180))
    still = scene.focus.all(0)[0]
    letters = still & (scene.clean[0].amin(0) > 0.97)
    change = (scene.clean[3] - scene.clean[0]).abs().amax(0)
    assert letters.sum() > 50
    assert change[letters].mean() < 0.1 * change[~still].mean() + 0.02


def test_report_shows_and_writes_everything(folder: Path, tmp_path: Path) -> None:
    models: dict[str, VideoModel] = {"nothing": PerFrame(nn.Identity())}
    result = clips.evaluate_pairs(models, folder / "pairs.yaml", folder, FP32)
    console = Console(width=200, record=True, file=StringIO())
    for table in tables.pair_tables(result):
        console.print(table)
    text = console.export_text()
    for word in ("static (1)", "moving (1)", "all (2)", "nothing", "clean px", "+0.00"):
        assert word in text
    assert "Gaussian" in tables.definitions(result)
    tables.write_json(tables.as_json({"pairs": result}, FP32), tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert len(content["pairs"]["records"]) == 6
    assert content["pairs"]["pairs_sha256"] == result.pairs_sha256 != ""
    mean = next(
        m for m in content["pairs"]["averages"]
        if (m["level"], m["camera"], m["row"]) == ("light", "all", INPUT)
    )  # fmt: skip
    expected = [r["psnr"] for r in result.records if r["row"] == INPUT and r["level"] == "light"]
    assert mean["psnr"] == pytest.approx(np.mean(expected))
    with pytest.raises(DerainError, match="cannot be written"):
        tables.write_json({}, tmp_path / "no" / "folder.json")


def test_weight_files_of_one_name_are_two_models(tmp_path: Path) -> None:
    weights = weights_file("swift")
    assert weights is not None
    mine = str(tmp_path / "swift.safetensors")
    shutil.copyfile(weights, mine)
    assert list(model_runs.load_models(["swift", mine])) == ["median", "swift", mine]


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
