"""Training: data made from a seed, losses that fall, runs that stop and go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.models import DerainError, create_model, load_model
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import RainyClips, find_clips
from derain.stages.losses.losses import temporal_difference
from derain.stages.losses.recovery import training_loss
from derain.stages.training.loop import train

Runs = Callable[[TrainingConfig, int], tuple[Path, Path]]
pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}


def test_temporal_difference_sees_flicker_and_not_motion() -> None:
    moving = torch.stack([torch.rand(3, 8, 8) for _ in range(4)])[None]
    flicker = moving + torch.tensor([0.0, 0.1, 0.0, 0.1]).view(1, 4, 1, 1, 1)
    assert float(temporal_difference(moving + 0.2, moving)) < 1e-6
    assert float(temporal_difference(flicker, moving)) == pytest.approx(0.1, abs=1e-5)


def test_a_run_that_stops_goes_on_bit_for_bit(
    config: TrainingConfig, whole_and_resumed: Runs
) -> None:
    whole, resumed = whole_and_resumed(config, 5)
    assert resumed.read_bytes() == whole.read_bytes()
    rows = {
        run: [json.loads(x) for x in (run.parent / "metrics.jsonl").open()]
        for run in (whole, resumed)
    }
    assert [row["step"] for row in rows[whole]] == [2, 4, 6]
    # The resumed run has the same figures, though it went on between two lines of the log.
    for a, b in zip(rows[whole], rows[resumed], strict=True):
        measured = dict.fromkeys(("minutes", "samples a second", "waiting", "memory"))
        assert a["samples a second"] > 0
        assert 0 <= a["waiting"] <= 1
        assert a | measured == b | measured
    assert load_model(whole).description.note["steps"] == 6


def test_a_folder_in_use_is_not_overwritten(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(DerainError, match="resume from"):
        train(config, tmp_path / "run", device="cpu", resume=True)
    (tmp_path / "run" / "last.pt").touch()
    with pytest.raises(DerainError, match="holds a run already"):
        train(config, tmp_path / "run", device="cpu")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    config: TrainingConfig, tmp_path: Path
) -> None:
    wild = config.model_copy(update={"learning_rate": 1e30, "warmup": 0, "save_every": 1})
    with pytest.raises(DerainError, match="no longer finite"):
        train(wild, tmp_path / "run", device="cpu")
    assert (tmp_path / "run" / "last.pt").exists()


@pytest.mark.slow
def test_training_lowers_the_loss(config: TrainingConfig, files: list[Path]) -> None:
    """200 steps on one fixed batch."""
    samples = [RainyClips(files, config.data, 1, 10)[i] for i in range(2)]
    batch = Batch(*(torch.stack(x) for x in zip(*samples, strict=True)))
    model = create_model("swift", **TINY).train()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(200):
        loss, _ = training_loss(model(batch.rainy)[0], batch, config.loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.02


def test_no_clips_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="no videos"):
        find_clips(tmp_path)
    with pytest.raises(DerainError, match="no folder"):
        find_clips(tmp_path / "missing")
