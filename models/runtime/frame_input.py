"""Frames as users have them, NumPy or torch, rows or channels first, as what a network takes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from derain.models.errors import DerainError

FrameLike = Tensor | NDArray[np.uint8] | NDArray[np.floating]

LARGEST = 2.0  # above it, floats are taken for levels of 255; a filter may overshoot 1


def as_frame(frame: FrameLike, check_range: bool = False) -> Tensor:
    """One RGB frame as (B, 3, H, W), uint8 or float32 in [0, 1], on the device it is on.

    Args:
        frame: (3, H, W), (H, W, 3), or either with a batch before it; uint8, or float in [0, 1].
            Where both ends are 3, torch has its channels first and NumPy last.
        check_range: look for floats that go up to 255, which costs a pass over the frame.

    Raises:
        DerainError: it is none of these.
    """
    if isinstance(frame, Tensor):
        tensor, channels_first = frame, True
    elif isinstance(frame, np.ndarray):
        if frame.dtype.kind not in "fu" or (frame.dtype.itemsize > 1 and frame.dtype.kind == "u"):
            raise DerainError(_wrong_type(str(frame.dtype)))
        # A view that was turned round, such as BGR to RGB, has strides that torch does not take.
        tensor, channels_first = torch.from_numpy(np.ascontiguousarray(frame)), False
    else:
        raise DerainError(
            f"A frame is a NumPy array or a torch tensor, not {type(frame).__name__}; "
            "numpy.asarray(image) makes an array of a Pillow image."
        )
    if tensor.ndim not in (3, 4):
        raise DerainError(_wrong_shape(tensor))
    first, last = tensor.shape[-3] == 3, tensor.shape[-1] == 3
    if not first and not last:
        raise DerainError(_wrong_shape(tensor))
    if last and not (first and channels_first):
        tensor = tensor.movedim(-1, -3)
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise DerainError(_wrong_type(str(tensor.dtype)))
    if check_range and tensor.numel() and float(tensor.max()) > LARGEST:
        raise DerainError(
            f"A frame of floats lies in [0, 1], and this one goes up to {float(tensor.max()):g}; "
            "divide it by 255, or give uint8."
        )
    return tensor.float()


def _wrong_type(dtype: str) -> str:
    return f"A frame is uint8, or float in [0, 1], not {dtype.removeprefix('torch.')}; convert it."


def _wrong_shape(tensor: Tensor) -> str:
    return (
        f"A frame is RGB, (H, W, 3) or (3, H, W), not {tuple(tensor.shape)}; "
        "give three channels, without alpha."
    )
