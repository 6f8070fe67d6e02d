"""The core of `swift`: its two trunks, from aligned frames to the derained one.

It is a function of tensors with no choice that depends on their values, so an engine may run it, or
an exported file. Alignment, haze and tiles are on the other side of `CoreInputs` (swift.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from derain.models.ops.layers import MinimalGatedUnit, ResidualBlock, Upsample, leaky_relu


class CoreInputs(NamedTuple):
    """What the core sees of one frame; float32, haze taken off, RGB about [0, 1].

    clear: (B, 3, H, W) the frame. previous: (B, 3, H, W) the last output, moved to it; the frame
    itself where there is none. darkest, darker, brighter, brightest: (B, 3, H, W) each, the ranked
    neighbours minus the frame. median: (B, 3, H, W) of the frame and its neighbours. stillness:
    (B, 1, H, W), see `Aligned`. memory1, memory2: (B, hidden, H / 8, W / 8) of the step before,
    moved.
    """

    clear: Tensor
    previous: Tensor
    darkest: Tensor
    darker: Tensor
    brighter: Tensor
    brightest: Tensor
    median: Tensor
    stillness: Tensor
    memory1: Tensor
    memory2: Tensor


class CoreOutputs(NamedTuple):
    """What the core gives; float32.

    image: (B, 3, H, W) derained, not clamped. recovered: (B, 3, H, W) after the first stage.
    streaks: (B, 3, H, W). occlusion: (B, 1, H, W) in [0, 1]. memory1, memory2: as they came.
    """

    image: Tensor
    recovered: Tensor
    streaks: Tensor
    occlusion: Tensor
    memory1: Tensor
    memory2: Tensor


Core = Callable[[CoreInputs], CoreOutputs]


def concatenate(inputs: list[Tensor], like: Tensor) -> Tensor:
    """Inputs one after another on the channel axis, in the type that convolutions will use.

    Converting before joining moves half the bytes in half precision, with the same result.

    Args:
        inputs: (B, any, H, W) each.
        like: weights of the convolution, whose type holds where autocast does not choose one.
    """
    device = inputs[0].device.type
    chosen = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if chosen else like.dtype
    return torch.cat([x.to(dtype) for x in inputs], 1)


class Trunk(nn.Module):
    """A U-shaped body at 1/2, 1/4 and 1/8 size with a hidden state at the bottom."""

    def __init__(
        self, channels: int, widths: tuple[int, int, int], blocks: tuple[int, int], hidden: int
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.head = nn.Conv2d(channels, a, 4, stride=2, padding=1)
        self.down1 = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.body1 = nn.Sequential(*[ResidualBlock(b) for _ in range(blocks[0])])
        self.down2 = nn.Conv2d(b, c, 3, stride=2, padding=1)
        self.body2 = nn.Sequential(*[ResidualBlock(c) for _ in range(blocks[1])])
        self.memory = MinimalGatedUnit(c, hidden) if hidden else None
        self.recall = nn.Conv2d(hidden, c, 1) if hidden else None
        self.up2 = Upsample(c, b)
        self.body3 = nn.Sequential(*[ResidualBlock(b) for _ in range(blocks[0])])
        self.up1 = Upsample(b, a)
        self.tail = nn.Conv2d(a, a, 3, padding=1)

    def forward(self, x: Tensor, h: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features of one stage.

        Args:
            x: (B, channels, H, W).
            h: the warped hidden state.
            extra: (B, a, H/2, W/2), added after the head.

        Returns:
            Features at 1/2 size, and the new hidden state.
        """
        half = self.head(x)
        half = leaky_relu(half if extra is None else half + extra)
        quarter = self.body1(leaky_relu(self.down1(half)))
        eighth = self.body2(leaky_relu(self.down2(quarter)))
        if self.memory is not None and self.recall is not None:
            h = self.memory(eighth, h)
            eighth = eighth + self.recall(h.to(eighth.dtype))
        quarter = self.body3(quarter + self.up2(eighth))
        return leaky_relu(self.tail(half + self.up1(quarter))), h
