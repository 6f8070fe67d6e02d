"""The two-stage network over aligned neighbours, and stage 1 over all frames of a clip at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models import create_model
from derain.models.errors import DerainError
from derain.models.networks.two_stage import AlignedTwoStage, TwoStage
from derain.models.networks.two_stage.aligned import slots
from derain.models.ops.frame_window import empty_window, fetch, push
from derain.models.ops.optical_flow import dis_flow
from derain.models.output import Output
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import run_clip

Net = TwoStage | AlignedTwoStage


def lively(align: bool) -> Net:
    """A network whose last layers are not zero, so that nothing is the identity."""
    torch.manual_seed(3)
    model = create_model("two_stage", width=4, blocks=1, align=align)
    assert isinstance(model, (TwoStage, AlignedTwoStage))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 4 and not weight.any():
                weight.normal_(std=0.1 if "refine" in name else 0.05)
    return model.eval()


def drifting(frames: int, height: int = 48, width: int = 64) -> Tensor:
    """(1, T, 3, H, W): a smooth texture that moves two pixels a frame."""
    coarse = torch.rand(1, 3, 12, 18, generator=torch.Generator().manual_seed(0))
    size = (height, width + 2 * frames)
    texture = F.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    return torch.stack([texture[..., 2 * t : 2 * t + width] for t in range(frames)], 1)


def gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_steps_and_flush_are_forward_and_pieces_are_the_whole(length: int) -> None:
    model, clip = lively(align=True), drifting(length)
    with torch.no_grad():
        whole, _ = model(clip)
        assert whole.image.shape == clip.shape
        if length == 6:
            fresh = model.initial_state(1, 48, 64, device=clip.device, dtype=clip.dtype)
            first, carried = model(clip[:, :4], fresh)
            second, carried = model(clip[:, 4:], carried)
            assert torch.equal(torch.cat([first.image, second.image], 1), whole.image[:, :4])
            assert torch.equal(model.flush(carried)[1].image, whole.image[:, 5])


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("length", [1, 4])
def test_all_frames_at_once_give_what_step_by_step_gives_gradients_too(
    align: bool, length: int
) -> None:
    model, clip = lively(align).train(), drifting(length)

    def gradients(output: Output) -> list[Tensor]:
        assert output.recovered is not None and output.hazy is not None
        loss = (output.image - 0.5).square().mean() + output.recovered.mean() - output.hazy.mean()
        return list(torch.autograd.grad(loss, list(model.parameters())))

    together, after = model(clip)
    singly, _ = run_clip(model, clip)
    for name in ("image", "recovered", "streaks", "occlusion", "transmission", "airlight", "hazy"):
        one, other = getattr(together, name), getattr(singly, name)
        assert one.shape == other.shape and gap(one, other) < 1e-5, name
    for one, other in zip(gradients(together), gradients(singly), strict=True):
        assert gap(one, other) < 1e-4 * max(1.0, float(other.abs().max()))
    assert int(after.remembered) == length


def test_neighbours_are_fetched_along_the_motion() -> None:
    clip = drifting(5, 96, 128)
    window = empty_window(1, 96, 128, clip.device)
    for frame in clip.unbind(1):
        window = push(window, frame, dis_flow)
    fetched = slots(fetch(window, 2))
    inside = (..., slice(16, -16), slice(24, -24))
    assert torch.equal(fetched[:, 2], clip[:, 2])
    moved = (clip - clip[:, 2:3]).abs()[inside].mean((0, 2, 3, 4))
    left = (fetched - fetched[:, 2:3]).abs()[inside].mean((0, 2, 3, 4))
    assert (left[[0, 1, 3, 4]] < 0.3 * moved[[0, 1, 3, 4]].min()).all()


def test_earlier_outputs_and_hidden_states_move_along() -> None:
    model, clip = lively(align=True), drifting(6)
    with torch.no_grad():
        _, state = model(
            clip[:, :5], model.initial_state(1, 48, 64, device=clip.device, dtype=clip.dtype)
        )
        kept, _ = model.step(clip[:, 5], state)
        still = state._replace(
            window=state.window._replace(
                backward=tuple(torch.zeros_like(flow) for flow in state.window.backward)
            )
        )
        unmoved, _ = model.step(clip[:, 5], still)
        forgot, _ = model.step(clip[:, 5], model.reset_hidden_state(state))
    assert kept is not None and unmoved is not None and forgot is not None
    assert gap(kept.image, unmoved.image) > 1e-3 and gap(kept.image, forgot.image) > 1e-3


def test_tiles_give_the_frame() -> None:
    model, clip = lively(align=True), drifting(4, 64, 128)
    tiles = Tiles(64, 48, model.multiple)
    with torch.no_grad():
        whole = tiled = model.initial_state(1, 64, 128, device=clip.device, dtype=clip.dtype)
        for frame in clip.unbind(1):
            one, whole = model.step(frame, whole)
            other, tiled = model.step(frame, tiled, tiles)
            if one is not None and other is not None:
                assert (one.image - other.image).abs().mean() < 1e-3
                assert gap(one.image[..., 24:40], other.image[..., 24:40]) < 0.02
    assert one is not None and not torch.equal(one.image, other.image)


def test_half_precision_stays_close() -> None:
    model, clip = lively(align=True), drifting(12)
    with torch.no_grad():
        exact, _ = model(clip)
        with torch.autocast("cpu", torch.bfloat16):
            half, state = model(clip)
    assert state.memory.dtype == half.image.dtype == torch.float32
    error = (half.image - exact.image).square().mean((0, 2, 3, 4))
    assert float(-10 * torch.log10(error).max()) > 45


def test_the_reference_is_not_aligned() -> None:
    with pytest.raises(DerainError, match="aligns its neighbours in the variant 'corrected' alone"):
        create_model("two_stage", variant="reference", unshuffle=1, align=True)
