"""The gated median: rain goes, and what stands still, moves or is dark stays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from derain.models.networks.median import AlignedMedian


def scene(frames: int = 5) -> Tensor:
    """(T, 1, 3, 48, 64): a soft texture that stands still."""
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    still = torch.nn.functional.interpolate(coarse, (48, 64), mode="bicubic").clamp(0.2, 0.7)
    return still.expand(frames, -1, -1, -1)[:, None].clone()


@torch.no_grad()
def derain(clip: Tensor, model: AlignedMedian | None = None) -> Tensor:
    model = model or AlignedMedian()
    state = model.initial_state(1, 48, 64, device=clip.device, dtype=clip.dtype)
    outputs = []
    for frame in clip:
        output, state = model.step(frame, state)
        outputs += [] if output is None else [output.image]
    return torch.stack([*outputs, *(output.image for output in model.flush(state))])


def test_a_streak_of_one_frame_goes() -> None:
    clean = scene()
    rainy = clean.clone()
    rainy[2, ..., 10:22, 30] = 0.95
    found = derain(rainy)
    assert float((found - clean)[2, ..., 10:22, 30].abs().mean()) < 0.05  # 0.5 before
    assert float((found - clean).abs().mean()) < 0.002


def test_what_is_darker_or_stands_still_stays() -> None:
    clip = scene()
    clip[2, ..., 10:22, 30] = 0.0  # a dark thing that passes
    clip[..., 40:44, 8:24] = 0.95  # a caption
    torch.testing.assert_close(derain(clip), clip, atol=0.01, rtol=0)


def test_what_the_neighbours_do_not_agree_on_stays() -> None:
    clip = scene()
    clip[..., 20:40, 20:40] = torch.rand(
        5, 1, 3, 20, 20, generator=torch.Generator().manual_seed(1)
    )
    found, inner = derain(clip), (..., slice(24, 36), slice(24, 36))
    assert float((found - clip)[2][inner].abs().mean()) < 0.1


@pytest.mark.parametrize("brighter", [0.012, 0.9])
def test_how_much_brighter_rain_is_can_be_set(brighter: float) -> None:
    rainy = scene()
    rainy[2, ..., 10:22, 30] = 0.95
    changed = float((derain(rainy, AlignedMedian(brighter)) - rainy).abs().max())
    assert changed > 0.2 if brighter < 0.1 else changed == 0
