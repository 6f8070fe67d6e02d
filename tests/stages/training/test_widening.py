"""A larger network that starts as what a smaller one is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from derain.configs.training import TrainingConfig
from derain.models import DerainError, create_model
from derain.models.weights_io import save_model
from derain.stages.training.learner import make_network
from derain.stages.training.widening import widen

SMALL = {"widths": (8, 10, 12), "blocks": (1, 1), "hidden": 6}
LARGE = {"widths": (10, 16, 14), "blocks": (2, 2), "hidden": 8}


def trained(**settings: object) -> nn.Module:
    """A network whose every weight matters, as after training."""
    torch.manual_seed(3)
    model = create_model("swift", **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    torch.manual_seed(4)
    return torch.rand(1, 6, 3, 48, 64)


def test_a_widened_network_gives_what_the_smaller_one_gives(clip: torch.Tensor) -> None:
    small, large = trained(**SMALL), create_model("swift", **LARGE).eval()
    widen(large, small)
    with torch.no_grad():
        torch.testing.assert_close(large(clip)[0].image, small(clip)[0].image, atol=1e-5, rtol=0)


def test_every_new_weight_of_a_widened_network_learns(clip: torch.Tensor) -> None:
    large = create_model("swift", **LARGE).train()
    widen(large, trained(**SMALL))
    optimiser = torch.optim.SGD(large.parameters(), lr=0.01)
    for _ in range(2):  # what listens to new channels has no weight in the first step
        optimiser.zero_grad()
        large(clip)[0].image.square().mean().backward()
        optimiser.step()
    still = [
        name
        for name, value in large.named_parameters()
        if not name.startswith("haze_estimator.") and (value.grad is None or not value.grad.any())
    ]
    assert not still


def test_a_run_starts_from_a_smaller_network_only_if_told_so(tmp_path: Path) -> None:
    start = tmp_path / "small.safetensors"
    save_model(trained(**SMALL), start)
    config = TrainingConfig(model="swift", settings=LARGE, init=str(start), widen=True)
    fresh = create_model("swift", **LARGE)
    told = make_network(config, fresh=True)
    assert told.rain.weight[:, :8].eq(trained(**SMALL).rain.weight.half().float()).all()
    assert not told.rain.weight[:, 8:].any()
    assert told.rain.weight.shape == fresh.rain.weight.shape
    with pytest.raises(DerainError, match="do not fit"):
        make_network(config.model_copy(update={"widen": False}), fresh=True)
    with pytest.raises(DerainError, match="name them with --init"):
        make_network(config.model_copy(update={"init": None}), fresh=True)
    make_network(config.model_copy(update={"init": None}), fresh=False)  # resumed: it has its own


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"widths": (8, 8, 12)}, "fewer channels, not more"),
        ({"blocks": (1, 0)}, "lacks '0'"),
        ({"hidden": 0, "recurrent": False}, "lacks 'memory'"),
    ],
)
def test_a_network_that_is_not_larger_is_a_sentence(change: dict[str, object], said: str) -> None:
    with pytest.raises(DerainError, match=said):
        widen(create_model("swift", **SMALL | change), trained(**SMALL))
