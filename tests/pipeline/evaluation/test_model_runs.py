"""Networks by name and file, and rows of what they do."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from derain.models import create_model
from derain.models.errors import DerainError
from derain.models.output import Output
from derain.models.registry import weights_file
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import VideoModel
from derain.models.weights_io import save_model
from derain.pipeline.evaluation import clips, model_runs
from derain.pipeline.evaluation.model_runs import INPUT, Options, StatelessAblation

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


def test_weight_files_of_one_name_are_two_models(tmp_path: Path) -> None:
    weights = weights_file("swift")
    assert weights is not None
    mine = str(tmp_path / "swift.safetensors")
    shutil.copyfile(weights, mine)
    assert list(model_runs.load_models(["swift", mine])) == ["median", "swift", mine]
