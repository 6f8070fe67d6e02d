"""The laws of the model contract, for every registered model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from derain.models import Derainer, create_model, list_models, load_model
from derain.models.networks.per_frame import PerFrame
from derain.models.networks.swift import Swift
from derain.models.registry import ENTRIES, is_ready
from derain.models.runtime.derainer import DEVICES
from derain.models.runtime.engines import Engine
from derain.models.runtime.preparation import pad_to_multiple
from derain.models.video_model import VideoModel

Run = Callable[[Derainer, Tensor], Tensor]

# The laws are the same at every size; full-size single-image networks would take minutes.
SMALL: dict[str, dict[str, int]] = {
    "dcsfn": {"channels": 4, "blocks": 1},
    "remaen": {"channels": 8, "stages": 1},
    "rescan": {"channels": 8, "stages": 2},
    "spanet": {"channels": 8},
    "two_stage": {"width": 8},
}


def moving_clip(frames: int, height: int = 48, width: int = 64, seed: int = 0) -> Tensor:
    """(1, T, 3, H, W): a smooth texture that drifts, with bright specks that do not."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 16, generator=generator)
    size = (height + 16, width + 16)
    texture = nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    clip = torch.stack([texture[..., t : t + height, t : t + width] for t in range(frames)], 1)
    specks = torch.rand(clip.shape[0], frames, 1, height, width, generator=generator) < 0.02
    return (clip * 0.8 + 0.5 * specks).clamp(0, 1)


@pytest.fixture(scope="module", params=list_models())
def model(request: pytest.FixtureRequest) -> nn.Module:
    """Every model, with weights away from the identity where none are shipped."""
    name = request.param
    if is_ready(name):
        return load_model(name)
    torch.manual_seed(0)
    net = create_model(name, **SMALL.get(name, {}))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return (PerFrame(net) if ENTRIES[name].per_frame else net).eval()


@torch.inference_mode()
def stream(model: nn.Module, clip: Tensor) -> list[Tensor]:
    state = model.initial_state(
        clip.shape[0], *clip.shape[-2:], device=clip.device, dtype=clip.dtype
    )
    images = []
    for frame in clip.unbind(1):
        output, state = model.step(frame, state)
        if output is not None:
            images.append(output.image)
    return images + [output.image for output in model.flush(state)]


def padded(model: nn.Module, clip: Tensor) -> Tensor:
    return pad_to_multiple(clip[0], model.multiple)[None]


def test_has_the_contract(model: nn.Module) -> None:
    assert isinstance(model, VideoModel)
    assert model.latency >= 0
    assert model.multiple >= 1
    assert model.halo >= 0
    assert model.supports_tiles
    assert tuple(model.memory_profile) == ENTRIES[model.description.name].memory


@pytest.mark.parametrize("frames", [1, 2, 3, 6])
def test_as_many_frames_out_as_in_and_steps_equal_forward(model: nn.Module, frames: int) -> None:
    clip = padded(model, moving_clip(frames))
    images = stream(model, clip)
    assert len(images) == frames
    with torch.inference_mode():
        whole, _ = model(clip)
    torch.testing.assert_close(torch.stack(images, 1), whole.image, atol=1e-6, rtol=0)
    assert float(whole.image.min()) >= 0
    assert float(whole.image.max()) <= 1


@torch.inference_mode()
def test_cutting_a_stream_with_the_state_carried_changes_nothing(model: nn.Module) -> None:
    clip = padded(model, moving_clip(7))
    whole = torch.stack(stream(model, clip), 1)
    first, state = model(
        clip[:, :4],
        model.initial_state(1, *clip.shape[-2:], device=clip.device, dtype=clip.dtype),
    )
    second, state = model(clip[:, 4:], state)
    rest = [output.image for output in model.flush(state)]
    pieces = torch.cat([first.image, second.image, *(x[:, None] for x in rest)], 1)
    torch.testing.assert_close(pieces, whole, atol=0, rtol=0)


def test_streams_that_share_a_model_do_not_meet(run: Run, model: nn.Module) -> None:
    clips = [moving_clip(5, seed=s)[0] for s in (1, 2)]
    alone = [run(Derainer(model, device="cpu", precision="fp32"), clip) for clip in clips]
    both = [Derainer(model, device="cpu", precision="fp32") for _ in clips]
    together: list[list[Tensor]] = [[], []]
    for t in range(5):
        for k in (0, 1):
            output = both[k].push(clips[k][t])
            together[k] += [] if output is None else [output.image]
    for k in (0, 1):
        together[k] += [output.image for output in both[k].flush()]
        torch.testing.assert_close(torch.cat(together[k]), alone[k], atol=0, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (37, 53), (64, 65)])
def test_any_size(run: Run, model: nn.Module, size: tuple[int, int]) -> None:
    clip = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(3))
    assert run(Derainer(model, device="cpu", precision="fp32"), clip).shape == clip.shape


def decibels_in_half(
    run: Run, model: nn.Module, device: str, ways: list[tuple[str, Engine]]
) -> list[float]:
    """PSNR of the worst of 40 frames in each precision and engine, to float32 on the CPU.

    Of a network that carries nothing from frame to frame, four say as much.
    """
    clip = moving_clip(10, 48, 56)[0]
    clip = torch.cat([clip, clip.flip(0), clip, clip.flip(0)])
    if not model.has_hidden_state and not model.latency:
        clip = clip[:4]
    exact = run(Derainer(model, device="cpu", precision="fp32", engine="torch"), clip)
    found = []
    for precision, engine in ways:
        half = run(Derainer(model, device=device, precision=precision, engine=engine), clip).cpu()
        error = (exact - half).square().mean((1, 2, 3))
        found.append(float(-10 * torch.log10(error.max().clamp_min(1e-12))))
    return found


def test_half_precision_stays_near_float32_over_40_frames(run: Run, model: nn.Module) -> None:
    ways: list[tuple[str, Engine]] = [("bf16", "torch")]
    if isinstance(model, Swift):
        ways.append(("auto", "auto"))  # only swift has a core for other engines
    assert min(decibels_in_half(run, model, "cpu", ways)) > 45


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda", "mps", "xpu"])
def test_other_devices_stay_near_cpu_float32(run: Run, model: nn.Module, device: str) -> None:
    if not DEVICES[device]():
        pytest.skip(f"no {device} device")
    precision = "fp16" if device == "cuda" else "auto"
    assert decibels_in_half(run, model, device, [(precision, "torch")])[0] > 45
