"""Networks and optimisers: rates, batches that are added up, frozen parts, first weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.models import DerainError, create_model
from derain.models.weights_io import read_weights, save_model
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import RainyClips
from derain.stages.losses.recovery import video_objective
from derain.stages.training.distributed import Processes
from derain.stages.training.learner import learning_rate, make_learners, make_network
from derain.stages.training.loop import train

pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}


def test_learning_rate_warms_up_and_falls(config: TrainingConfig) -> None:
    rates = [learning_rate(step, config) for step in range(config.steps)]
    assert rates[0] == pytest.approx(config.learning_rate / 2)
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates[-1] < 0.2 * config.learning_rate


def test_accumulated_gradients_are_those_of_the_larger_batch(
    files: list[Path], config: TrainingConfig
) -> None:
    samples = [RainyClips(files, config.data, 1, 4)[i] for i in range(4)]
    gradients = []
    for size in (4, 2):
        torch.manual_seed(0)
        model = make_network(config, fresh=True).train()
        processes = Processes(torch.device("cpu"))
        (learner,) = make_learners(config, model, video_objective(config.loss), processes)
        for start in range(0, 4, size):
            columns = zip(*samples[start : start + size], strict=True)
            batch = Batch(*(torch.stack(x) for x in columns))
            learner.backward(batch, 4 // size, last=start + size == 4)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_accumulation_takes_the_samples_of_larger_batches(
    config: TrainingConfig, tmp_path: Path
) -> None:
    """The same samples in the same steps, however they are divided."""
    small = config.data.model_copy(update={"batch": 1})
    rows = []
    for changes in ({"data": small, "accumulate": 2}, {}):
        folder = tmp_path / f"{len(rows)}"
        changes |= {"steps": 2, "log_every": 1}
        train(config.model_copy(update=changes), folder, device="cpu")
        rows.append(json.loads((folder / "metrics.jsonl").read_text().splitlines()[0]))
    for name in ("loss", "image", "gradient"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-4)


def test_frozen_parts_stay_as_they_are(config: TrainingConfig, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    torch.manual_seed(5)
    save_model(create_model("swift", **TINY), start, dtype=torch.float32)
    changes = {"init": str(start), "freeze": ("trunk1", "rain"), "steps": 2}
    train(config.model_copy(update=changes), tmp_path / "run", device="cpu")
    before, _ = read_weights(start)
    after = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    for name, value in before.items():
        kept = name.split(".")[0] in ("trunk1", "rain")
        assert torch.equal(value, after[name]) == kept, name


def test_weights_that_do_not_fit_and_unknown_parts_are_a_sentence(
    config: TrainingConfig, tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    save_model(create_model("swift", **TINY | {"hidden": 6}), start)
    with pytest.raises(DerainError, match="do not fit; set model and settings"):
        make_network(config.model_copy(update={"init": str(start)}), fresh=True)
    with pytest.raises(
        DerainError, match=r"no part 'trunk' to freeze; it has haze_estimator, trunk1, "
    ):
        make_network(config.model_copy(update={"freeze": ("trunk",)}), fresh=True)


def test_a_misspelt_setting_of_the_network_names_the_nearest() -> None:
    config = TrainingConfig(model="swift", settings={"hiden": 4})
    with pytest.raises(DerainError, match="no setting hiden; did you mean 'hidden'"):
        make_network(config, fresh=True)
