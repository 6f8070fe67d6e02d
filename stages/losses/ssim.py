"""Structural similarity (Wang et al., IEEE TIP 13(4), 2004), for losses and for figures.

11x11 Gaussian of sigma 1.5, population variances, values in [0, 1], K1 0.01, K2 0.03.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 5  # pixels from the middle of the window to its border
SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2


def ssim_map(a: Tensor, b: Tensor, padding: int = 0) -> Tensor:
    """SSIM at every place where the window fits, (B, C, H', W') of two (B, C, H, W).

    Args:
        a: (B, C, H, W) in [0, 1].
        b: of the same size.
        padding: zeros around both, in pixels; `RADIUS` gives a map of their size.
    """
    moments = _blur(torch.cat([a, b, a * a, b * b, a * b], 1), padding)
    mean_a, mean_b, aa, bb, ab = moments.chunk(5, 1)
    var_a, var_b, cov = aa - mean_a**2, bb - mean_b**2, ab - mean_a * mean_b
    light = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return light * (2 * cov + C2) / (var_a + var_b + C2)


def padded_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of (B, C, H, W) images, padded with zeros to give a map of their size.

    The single-image networks' originals train with it; figures are of the map without its borders
    (metrics.ssim).
    """
    return ssim_map(a, b, RADIUS).mean()


def _blur(x: Tensor, padding: int) -> Tensor:
    """Means of (B, C, H, W) under the window, rows first."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, device=x.device, dtype=x.dtype)
    gauss = torch.exp(-offsets.square() / (2 * SIGMA**2))
    channels = x.shape[1]
    row = (gauss / gauss.sum()).expand(channels, 1, 1, -1)
    x = F.conv2d(x, row, padding=(0, padding), groups=channels)
    return F.conv2d(x, row.transpose(2, 3), padding=(padding, 0), groups=channels)
