"""SSIM's map: against scikit-image, its size with and without padding, its extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from derain.stages.losses.ssim import RADIUS, padded_ssim, ssim_map


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """Two images (2, 3, 24, 30) that are alike."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 24, 30, generator=generator, dtype=torch.float64)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def test_the_map_is_that_of_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    found = ssim_map(*pair)
    assert found.shape == (2, 3, 14, 20)
    for n, c in np.ndindex(2, 3):
        _, expected = structural_similarity(
            *(x[n, c].numpy() for x in pair),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        inner = expected[RADIUS:-RADIUS, RADIUS:-RADIUS]
        np.testing.assert_allclose(found[n, c].numpy(), inner, atol=1e-12)


def test_padding_gives_a_map_of_the_images_size_whose_middle_is_the_same(
    pair: tuple[Tensor, Tensor],
) -> None:
    padded = ssim_map(*pair, RADIUS)
    assert padded.shape == pair[0].shape
    inner = padded[..., RADIUS:-RADIUS, RADIUS:-RADIUS]
    torch.testing.assert_close(inner, ssim_map(*pair))
    torch.testing.assert_close(padded_ssim(*pair), padded.mean())


def test_equal_images_have_one_and_opposite_ones_less_than_nothing(
    pair: tuple[Tensor, Tensor],
) -> None:
    torch.testing.assert_close(padded_ssim(pair[0], pair[0]), torch.ones((), dtype=torch.float64))
    assert float(ssim_map(pair[0], 1 - pair[0]).mean()) < 0


def test_gradients_lead_to_the_other_image(pair: tuple[Tensor, Tensor]) -> None:
    image, truth = pair[0].clone().requires_grad_(), pair[1]
    before = padded_ssim(image, truth)
    (gradient,) = torch.autograd.grad(before, image)
    closer = image.detach() + 0.1 * gradient / gradient.abs().max()
    assert padded_ssim(closer, truth) > before
