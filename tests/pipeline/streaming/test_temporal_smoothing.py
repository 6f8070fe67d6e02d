"""`--steady`: less flicker, nothing worse where nothing flickers, and the laws of the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from derain.models import Derainer, DerainError, create_model
from derain.models.networks.per_frame import PerFrame
from derain.models.networks.rescan import Rescan
from derain.models.ops.layers import start_at
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel
from derain.models.weights_io import save_model
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.temporal_smoothing import TemporalSmoother, load_chosen
from derain.pipeline.video.encoders import Encoding
from derain.stages.losses.metrics import psnr, temporal_error


class Flickering(nn.Module):
    """Takes the rain off, and leaves errors that are new in every frame."""

    def __init__(self, clean: Tensor, noise: float = 0.03) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        coarse = torch.randn(
            len(clean), 3, *[n // 4 for n in clean.shape[-2:]], generator=generator
        )
        error = nn.functional.interpolate(coarse, clean.shape[-2:], mode="bilinear") * noise
        self.results = list((clean + error).clamp(0, 1))

    def forward(self, rainy: Tensor) -> Tensor:
        return self.results.pop(0)[None]


class Identity(nn.Module):
    def forward(self, rainy: Tensor) -> Tensor:
        return rainy


def texture(frames: int, speed: int, size: tuple[int, int] = (64, 80)) -> Tensor:
    """(T, 3, H, W): a texture that moves to the right."""
    generator = torch.Generator().manual_seed(1)
    height, width = size
    coarse = torch.rand(1, 3, height // 4, (width + frames * speed) // 4 + 2, generator=generator)
    wide = nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic")[0].clamp(0.1, 0.9)
    wide = wide[:, :height]
    start = [speed * (frames - 1 - t) for t in range(frames)]
    return torch.stack([wide[..., x : x + width] for x in start])


def derain(model: nn.Module, rainy: Tensor) -> Tensor:
    derainer = Derainer(model, "cpu", "fp32")
    outputs = [output for frame in rainy if (output := derainer.push(frame)) is not None]
    return torch.cat([o.image for o in outputs + derainer.flush()])


@pytest.mark.parametrize("speed", [0, 3])
def test_flicker_gets_less_and_the_frame_no_worse(speed: int) -> None:
    clean = texture(8, speed)
    rainy = (clean + 0.2).clamp(0, 1)
    plain = derain(PerFrame(Flickering(clean)), rainy)
    steady = derain(TemporalSmoother(PerFrame(Flickering(clean))), rainy)
    assert torch.equal(plain[0], steady[0])
    assert temporal_error(steady, clean) < 0.75 * temporal_error(plain, clean)
    assert psnr(steady, clean).mean() > psnr(plain, clean).mean()


def test_what_the_network_leaves_alone_stays_as_it_is() -> None:
    clip = texture(4, 3)
    assert torch.equal(derain(TemporalSmoother(PerFrame(Identity())), clip), clip)


def test_other_frames_are_not_mixed() -> None:
    """A cut that nobody noticed: two scenes share nothing."""
    generator = torch.Generator().manual_seed(0)
    scenes = [torch.full((3, 48, 48), 0.15), torch.full((3, 48, 48), 0.85)]
    clean = torch.stack([s + 0.02 * torch.rand(s.shape, generator=generator) for s in scenes])
    found = derain(TemporalSmoother(PerFrame(Flickering(clean, 0.0))), (clean + 0.1).clamp(0, 1))
    torch.testing.assert_close(found, clean, atol=1e-3, rtol=0)


def test_it_keeps_the_laws_of_the_contract() -> None:
    clip = texture(5, 2)[None]

    class Darker(SingleImageModel):
        multiple, halo = 4, 5

        def forward_layers(
            self, rainy: Tensor, mean: Mean = spatial_mean
        ) -> tuple[Tensor, dict[str, Tensor]]:
            return rainy * 0.8, {}

    model = TemporalSmoother(PerFrame(Darker()))
    assert model.multiple == 4
    with torch.inference_mode():
        whole, _ = model(clip)
        state = model.initial_state(1, 64, 80, device=clip.device, dtype=clip.dtype)
        first, state = model(clip[:, :2], state)
        second, _ = model(clip[:, 2:], state)
    torch.testing.assert_close(torch.cat([first.image, second.image], 1), whole.image)
    assert whole.image.shape == clip.shape


def test_broken_numbers_are_not_hidden() -> None:
    class Broken(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            return rainy * float("nan")

    with pytest.raises(DerainError, match="not finite"):
        derain(TemporalSmoother(PerFrame(Broken())), texture(2, 1))


def test_networks_that_compare_frames_are_refused() -> None:
    late = PerFrame(Identity())
    late.latency = 2
    with pytest.raises(DerainError, match="--steady is for networks"):
        TemporalSmoother(late)


def test_the_option_reaches_the_network(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = create_model("rescan", unit="conv", channels=4, depth=3, stages=1)
    assert isinstance(net, Rescan)
    start_at(net.rain, 0.2, weights=False)
    weights = tmp_path / "tiny.safetensors"
    save_model(net, weights)
    source = make_clip(frames=4)
    luma = {}
    for steady in (False, True):
        options = VideoOptions(
            model=str(weights),
            steady=steady,
            device="cpu",
            precision="fp32",
            encoding=Encoding("ffv1"),
        )
        assert isinstance(load_chosen(options), TemporalSmoother if steady else PerFrame)
        target = tmp_path / f"{steady}.mkv"
        assert derain_video(source, target, options).frames_out == 4
        luma[steady] = [planes[0].astype(int) for planes in contents(target).planes]
    assert np.abs(luma[True][0] - luma[False][0]).max() <= 1
    assert np.abs(luma[True][3] - luma[False][3]).max() > 1
    with pytest.raises(DerainError, match="--steady is for networks"):
        load_chosen(VideoOptions(model="median", steady=True))
