"""Images between NumPy and torch: (…, H, W, C) as files have them, (…, C, H, W) as networks do."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(images: NDArray[np.uint8] | NDArray[np.float32]) -> Tensor:
    """(…, H, W, C) uint8, or float32 in [0, 1], to (…, C, H, W) float32 in [0, 1] on the CPU.

    Float images are not copied where they are contiguous and may be written to.
    """
    tensor = torch.from_numpy(np.require(images, requirements=("C", "W"))).movedim(-1, -3)
    return tensor.float() / 255 if images.dtype == np.uint8 else tensor


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(…, C, H, W) in [0, 1] on any device to (…, H, W, C) uint8, clipped, rounded, contiguous."""
    levels = (images.detach().float().clamp(0, 1) * 255).round().byte()
    return levels.movedim(-3, -1).contiguous().cpu().numpy()


def quantised(images: Tensor) -> Tensor:
    """Float in [0, 1], rounded to the 256 levels that 8 bits hold."""
    return (images * 255).round() / 255
