"""Single-image networks under the contract of video: no state, no delay, numbers that break."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from derain.models.networks.per_frame import EmptyState, PerFrame
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel


class Halving(SingleImageModel):
    """Halves, and says what it took."""

    multiple, halo = 4, 3

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return rainy / 2, {"taken": rainy / 2}


def test_a_frame_goes_in_and_its_result_comes_out_at_once() -> None:
    model, frame = PerFrame(Halving()), torch.rand(1, 3, 8, 8)
    output, state = model.step(
        frame, model.initial_state(1, 8, 8, device=frame.device, dtype=frame.dtype)
    )
    assert output is not None
    torch.testing.assert_close(output.image, frame / 2)
    assert output.layers is not None and torch.equal(output.layers["taken"], frame / 2)
    assert state == EmptyState() and model.flush(state) == []
    assert (model.latency, model.multiple, model.halo) == (0, 4, 3)


def test_any_module_will_do() -> None:
    output, _ = PerFrame(nn.Identity()).step(torch.rand(1, 3, 5, 7), EmptyState())
    assert output is not None and output.image.shape == (1, 3, 5, 7)
    assert output.layers == {}


def test_values_are_clamped_but_broken_numbers_stay_seen() -> None:
    class Breaks(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            return rainy * torch.tensor([-1.0, 2.0, float("inf")]).view(3, 1, 1)

    output, _ = PerFrame(Breaks()).step(torch.ones(1, 3, 2, 2), EmptyState())
    assert output is not None
    low, high, broken = output.image[0].unbind(0)
    assert float(low.max()) == 0 and float(high.min()) == 1
    assert broken.isnan().all()
