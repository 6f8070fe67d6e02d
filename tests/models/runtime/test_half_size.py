"""Half size: what has no rain stays to the last detail, and what a stream promises holds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models import Derainer, load_model
from derain.models.networks.per_frame import PerFrame
from derain.models.runtime.half_size import HalfSize
from derain.models.video_model import VideoModel


class Darker(nn.Module):
    """Takes 0.4 off where it is brighter than 0.75."""

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy - 0.4 * (rainy > 0.75).float()


def drifting(frames: int, height: int = 70, width: int = 90) -> Tensor:
    """(T, 3, H, W): fine texture that drifts."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 3, 20, 40, generator=generator)
    wide = F.interpolate(coarse, (height, width + 4 * frames), mode="bicubic").clamp(0, 1)
    wide = 0.6 * wide + 0.1 * torch.rand(wide.shape, generator=generator)
    return torch.cat([wide[..., 4 * t : 4 * t + width] for t in range(frames)])


def test_where_nothing_is_changed_every_detail_stays(identity: VideoModel) -> None:
    clip = drifting(3)
    images = [o.image[0] for o in Derainer(HalfSize(identity), "cpu", "fp32").stream(clip)]
    torch.testing.assert_close(torch.stack(images), clip, atol=1e-6, rtol=0)


def test_a_streak_goes_with_its_fine_detail() -> None:
    frame = drifting(1)
    rainy = frame.clone()
    rainy[..., 20:50, 41:44] = 1  # odd columns: at half size its borders are grey
    (output,) = Derainer(HalfSize(PerFrame(Darker())), "cpu", "fp32").stream(rainy)
    error = (output.image - frame).abs()
    assert float(error[..., 22:48, 41:44].mean()) < 0.4 * float((rainy - frame).abs().amax())
    away = torch.cat([error[..., :36], error[..., 52:]], -1)
    assert float(away.max()) < 1e-5


@pytest.mark.parametrize("name", ["swift", "median"])
@pytest.mark.parametrize("frames", [1, 2, 6])
def test_as_many_frames_out_as_in_prepared_ahead_or_not(name: str, frames: int) -> None:
    model, clip = HalfSize(load_model(name)), drifting(frames)
    plain, ahead = (Derainer(model, "cpu", "fp32", boldness=0.5) for _ in range(2))
    wanted = [output.image for output in plain.stream(clip)]
    preparer = ahead.preparer()
    outputs = [ahead.push(preparer.take(frame)) for frame in clip]
    found = [output.image for output in [*outputs, *ahead.flush()] if output is not None]
    assert len(found) == len(wanted) == frames
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.shape == clip[:1].shape and torch.equal(mine, theirs)


def test_tiles_and_dials_work_at_half_size_too() -> None:
    model, clip = HalfSize(load_model("swift")), drifting(3, 200, 400)
    whole = [o.image for o in Derainer(model, "cpu", "fp32", haze=0.5).stream(clip)]
    tiled = [o.image for o in Derainer(model, "cpu", "fp32", haze=0.5, tile="256").stream(clip)]
    for a, b in zip(whole, tiled, strict=True):
        assert float((a - b).abs().mean()) < 1e-3
