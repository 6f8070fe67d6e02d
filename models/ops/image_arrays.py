"""Images between NumPy and torch: (…, H, W, C) as files have them, (…, C, H, W) as networks do."""

from __future__ import annotations

import cv2
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


def as_float(images: Tensor) -> Tensor:
    """Levels of 255 (uint8) or floats in [0, 1] as floats in [0, 1]; floats as they are."""
    return images if images.is_floating_point() else images.float() / 255


def as_levels(images: Tensor) -> Tensor:
    """Floats in [0, 1] as levels of 255 (uint8), clipped and rounded, in the same layout.

    OpenCV does it in one pass, for an image (1, 3, H, W) with its channels last.
    """
    if images.dtype == torch.uint8:
        return images
    rows = images[0].permute(1, 2, 0)
    if len(images) > 1 or images.device.type != "cpu" or not rows.is_contiguous():
        return (images.clamp(0, 1) * 255).round().byte()
    levels = cv2.multiply(rows.numpy().reshape(len(rows), -1), 255.0, dtype=cv2.CV_8U)
    return torch.from_numpy(levels.reshape(rows.shape)).permute(2, 0, 1)[None]


def as_kind(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images as levels where `dtype` is uint8, else as floats in [0, 1]."""
    return as_levels(images) if dtype == torch.uint8 else as_float(images)


def single(images: Tensor) -> Tensor:
    """Levels as they are, floats of any precision as float32."""
    return images if images.dtype == torch.uint8 else images.float()


def quantised(images: Tensor) -> Tensor:
    """Float in [0, 1], rounded to the 256 levels that 8 bits hold."""
    return (images * 255).round() / 255
