"""Every figure against another implementation or a case whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from derain.models.errors import DerainError
from derain.stages.losses import metrics


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    """A smooth image and a damaged one, two frames of 3x37x52."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 8, 9, generator=generator)
    clean = torch.nn.functional.interpolate(coarse, (37, 52), mode="bicubic").clamp(0, 1)
    noise = 0.1 * torch.randn(clean.shape, generator=generator)
    return (clean + noise).clamp(0, 1), clean


def importable(name: str) -> None:
    """Skip where a package is missing or, as with a torchvision of another torch, broken."""
    try:
        import_module(name)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{name} does not import here: {error}")


def array(frame: Tensor) -> np.ndarray:
    return frame.double().permute(1, 2, 0).numpy()


def test_psnr_is_that_of_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    output, clean = pair
    for frame, reference, value in zip(output, clean, metrics.psnr(output, clean), strict=True):
        expected = peak_signal_noise_ratio(array(reference), array(frame), data_range=1)
        assert value.item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("convert", [lambda x: x, metrics.luma], ids=["rgb", "y"])
def test_ssim_is_that_of_scikit_image(
    pair: tuple[Tensor, Tensor], convert: Callable[[Tensor], Tensor]
) -> None:
    output, clean = (convert(x) for x in pair)
    for frame, reference, value in zip(output, clean, metrics.ssim(output, clean), strict=True):
        expected = structural_similarity(
            array(reference), array(frame), data_range=1, channel_axis=2,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )  # fmt: skip
        assert value.item() == pytest.approx(expected, abs=1e-5)


def test_luma_spans_the_limited_range() -> None:
    black_and_white = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    levels = metrics.luma(black_and_white).flatten() * 255
    torch.testing.assert_close(levels, torch.tensor([16.0, 235.0]))


def test_equal_images_reach_the_cap(pair: tuple[Tensor, Tensor]) -> None:
    _, clean = pair
    assert metrics.psnr(clean, clean).tolist() == [metrics.PSNR_CAP] * 2
    torch.testing.assert_close(metrics.ssim(clean, clean), torch.ones(2))
    assert metrics.temporal_error(clean, clean) == 0


def test_masks_split_the_error() -> None:
    clean = torch.full((1, 3, 12, 12), 0.5)
    rainy = clean.clone()
    rainy[..., :6] += 0.1
    mask = metrics.rainy_pixels(rainy, clean)
    assert mask.sum() == 72
    levels = torch.arange(256).float().view(1, 1, 1, 256).expand(1, 3, 1, 256) / 255
    assert metrics.rainy_pixels(levels[..., 1:], levels[..., :-1]).all()  # one level is rain
    assert not metrics.rainy_pixels(levels, levels).any()
    output = clean.clone()
    output[..., :6] += 0.01
    assert metrics.masked_psnr(output, clean, mask) == pytest.approx(40, abs=1e-3)
    assert metrics.masked_psnr(output, clean, ~mask) == metrics.PSNR_CAP
    assert metrics.masked_psnr(output, clean, mask & ~mask) is None


def scrolling(frames: int) -> Tensor:
    """A texture that moves 2 pixels to the right in each frame."""
    coarse = torch.rand(1, 3, 16, 40, generator=torch.Generator().manual_seed(1))
    wide = torch.nn.functional.interpolate(coarse, (64, 160), mode="bicubic").clamp(0, 1)[0]
    return torch.stack([wide[..., 40 - 2 * t : 120 - 2 * t] for t in range(frames)])


def test_flow_follows_the_motion() -> None:
    flows = metrics.clean_flows(scrolling(3))
    assert flows.shape == (2, 2, 64, 80)
    inner = flows[..., 16:-16, 16:-16]
    assert inner[:, 0].median().item() == pytest.approx(-2, abs=0.2)
    assert inner[:, 1].abs().median().item() < 0.2


def test_temporal_error_sees_flicker_but_no_constant_error() -> None:
    clean = scrolling(4)
    bias = torch.full_like(clean, 3 / 255)
    flicker = bias * torch.tensor([1.0, -1, 1, -1]).view(4, 1, 1, 1)
    assert metrics.temporal_error(clean + bias, clean) < 0.01
    assert metrics.temporal_error(clean + flicker, clean) == pytest.approx(6, abs=0.01)
    assert metrics.temporal_error(clean[:1], clean[:1]) == 0


def test_piq_figures_know_the_better_image(pair: tuple[Tensor, Tensor]) -> None:
    importable("piq")
    output, clean = (torch.nn.functional.interpolate(x, scale_factor=4) for x in pair)
    near, far = metrics.structural(clean * 0.99, clean), metrics.structural(output, clean)
    assert near["haarpsi"] > far["haarpsi"]
    assert near["gmsd"] < far["gmsd"]


def test_lpips_is_left_out_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="is not there"):
        metrics.load_lpips(tmp_path / "none.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(DerainError, match="does not hold AlexNet"):
        metrics.load_lpips(tmp_path / "wrong.pth")


def test_lpips_takes_a_named_backbone(tmp_path: Path) -> None:
    importable("lpips")
    import torchvision

    torch.manual_seed(0)
    backbone = torchvision.models.alexnet(weights=None).features
    state = {f"features.{k}": v for k, v in backbone.state_dict().items()}
    torch.save(state, tmp_path / "alexnet.pth")
    metric = metrics.load_lpips(tmp_path / "alexnet.pth")
    torch.testing.assert_close(metric.net.slice1[0].weight, backbone[0].weight)
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert metrics.lpips_distance(metric, clean, clean) == 0
    assert metrics.lpips_distance(metric, 1 - clean, clean) > 0
