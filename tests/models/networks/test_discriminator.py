"""The discriminators: golden numbers of the original, and what training needs of the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.networks.discriminator import (
    PatchDiscriminator,
    ReferenceDiscriminator,
    convert_reference,
    recognises,
)

Read = Callable[[str], Any]
NUMBERS = "two_stage/discriminator_w8"


def original(weights: dict[str, Tensor]) -> ReferenceDiscriminator:
    settings, state = convert_reference(weights)
    model = ReferenceDiscriminator(**settings)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 2e-6)])
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("size", ["128", "64x96"])
def test_original_reproduces_the_golden_scores(
    golden: Read, mode: str, size: str, dtype: torch.dtype, bound: float
) -> None:
    found = golden(NUMBERS)
    numbers = {k: v.to(dtype) for k, v in found.tensors.items()}
    model, other = (original(found.part("w.")).to(dtype).train(mode == "train") for _ in range(2))
    with torch.no_grad():
        scores = model(numbers[f"x_{size}"])
        logits = other.logits(numbers[f"x_{size}"])  # of a fresh one: batch norms learn
    after = model.state_dict()
    assert (logits - numbers[f"{mode}.logit_map_{size}"]).abs().max() < bound
    assert (scores - numbers[f"{mode}.y_{size}"]).abs().max() < bound
    if mode == "train" and size == "128":
        for layer in range(2, 9):
            for kind in ("running_mean", "running_var", "num_batches_tracked"):
                wanted = numbers[f"train.after.bn{layer}.{kind}"]
                assert (after[f"norms.{layer - 2}.{kind}"] - wanted).abs().max() < bound


def test_original_has_its_size_and_takes_clips_frame_by_frame() -> None:
    assert sum(p.numel() for p in ReferenceDiscriminator().parameters()) == 4_689_601
    model = ReferenceDiscriminator(4).eval()
    clip = torch.rand(2, 3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(clip)[4], model(clip[1])[1])


def test_weights_of_the_authors_are_recognised(golden: Read) -> None:
    found = golden(NUMBERS)
    weights = found.part("w.")
    model = original(weights)
    assert recognises(weights)
    assert not recognises(model.state_dict())
    _, turned = convert_reference(weights, channel_order="bgr")
    flipped = ReferenceDiscriminator(8)
    flipped.load_state_dict(turned)
    x = found.tensors["x_128"]
    with torch.no_grad():
        assert torch.allclose(flipped.eval()(x.flip(1)), model.eval()(x), atol=1e-6)
    with pytest.raises(DerainError, match="discriminator"):
        convert_reference(model.state_dict())


def test_patches_see_seventy_pixels_and_no_more() -> None:
    torch.manual_seed(0)
    model = PatchDiscriminator(width=4).eval()
    clip = torch.rand(1, 3, 3, 128, 128, requires_grad=True)
    scores = model(clip)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    assert clip.grad is not None
    touched = clip.grad.abs().sum((0, 1, 2)).nonzero()
    reach = touched.amax(0) - touched.amin(0) + 1
    assert reach.tolist() == [70, 70]


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    model = PatchDiscriminator(width=8)
    with torch.no_grad():
        for conv in (*model.convs, model.score):
            conv.parametrizations.weight.original.mul_(50)
        for _ in range(20):
            model(torch.rand(1, 3, 3, 32, 32))
        model.eval()
        for conv in (*model.convs, model.score):
            largest = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
            assert largest == pytest.approx(1, abs=0.05)


def test_patches_tell_wet_from_dry_and_the_generator_pass_leaves_them_alone() -> None:
    torch.manual_seed(0)
    model = PatchDiscriminator(width=8, layers=2)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3, betas=(0.0, 0.9))
    clean = torch.rand(4, 1, 3, 8, 8).repeat_interleave(4, 3).repeat_interleave(4, 4)
    clean = 0.2 + 0.5 * clean.expand(-1, 3, -1, -1, -1)
    for _ in range(40):
        rain = 0.4 * (torch.rand(4, 3, 1, 32, 32) > 0.9)
        real, fake = model(clean), model(clean + rain)
        loss = (1 - real).relu().mean() + (1 + fake).relu().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert real.mean() - fake.mean() > 0.5
    model.requires_grad_(False)
    image = (clean + rain).requires_grad_()
    model.zero_grad()
    model(image).mean().backward()
    assert image.grad is not None
    assert all(p.grad is None for p in model.parameters())


def test_a_clip_of_another_length_is_refused() -> None:
    with pytest.raises(DerainError, match="3 frames, not 2"):
        PatchDiscriminator(width=4)(torch.rand(1, 2, 3, 32, 32))
