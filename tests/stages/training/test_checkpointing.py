"""Checkpointing changes what is held in memory, not what is learned."""

from __future__ import annotations

import pytest
import torch

from derain.models import create_model
from derain.stages.training.checkpointing import Checkpointed

pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("swift", TINY), ("two_stage", {"width": 4, "blocks": 1, "unshuffle": 2})],
)
def test_checkpointing_changes_no_gradient(name: str, settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create_model(name, **settings).train()
    clip = torch.rand(1, 5, 3, 64, 64)
    gradients = []
    for run in (model, Checkpointed(model)):
        torch.manual_seed(1)
        output, _ = run(clip)
        model.zero_grad()
        parts = (output.image, output.recovered, output.transmission)
        sum((x * torch.randn_like(x)).sum() for x in parts).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    for a, b in zip(*gradients, strict=True):
        # two_stage takes all frames at once where nothing is computed again.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
