"""The core of `swift`: its two trunks, from aligned frames to the derained one.

It is a function of tensors with no choice that depends on their values, so an engine may run it, or
an exported file. Alignment, haze and tiles are on the other side of `CoreInputs` (swift.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from derain.models.ops.frame_window import change_that_stays, rank, stillness
from derain.models.ops.layers import MinimalGatedUnit, ResidualBlock, Upsample, leaky_relu


class CoreInputs(NamedTuple):
    """What the core sees of one frame; float32, RGB in [0, 1].

    On the CPU images may be uint8, all but the gain.

    frame: (B, 3, H, W) as filmed. two_before, before, after, two_after: its neighbours, moved to
    it, (B, 3, H, W) each. still_two_before to still_two_after: the same as they are. previous:
    (B, 3, H, W) the last output, moved to it; the frame without haze where there is none. gain:
    (B, 1, H, W), 1 / transmission. airlight: (B, 3, 1, 1). caution: (B, 1, 1, 1), see `caution_of`
    in swift.py. standing: (B, 1, 1, 1), see `keep_standing` in restraint.py. memory1,
    memory2: (B, hidden, H / 8, W / 8) of the step before, moved.
    """

    frame: Tensor
    two_before: Tensor
    before: Tensor
    after: Tensor
    two_after: Tensor
    still_two_before: Tensor
    still_before: Tensor
    still_after: Tensor
    still_two_after: Tensor
    previous: Tensor
    gain: Tensor
    airlight: Tensor
    caution: Tensor
    standing: Tensor
    memory1: Tensor
    memory2: Tensor


class Compared(NamedTuple):
    """What is left of `CoreInputs` once the frame was compared with its neighbours.

    dark, low, high, bright: the moved neighbours sorted for each value, (B, 3, H, W) each. median:
    of all five. still, change: (B, 1, H, W), see `stillness` and `change_that_stays`. The rest as
    it was; uint8 stays uint8.
    """

    frame: Tensor
    dark: Tensor
    low: Tensor
    high: Tensor
    bright: Tensor
    median: Tensor
    still: Tensor
    change: Tensor
    previous: Tensor
    gain: Tensor
    airlight: Tensor
    caution: Tensor
    standing: Tensor
    memory1: Tensor
    memory2: Tensor


def compare(seen: CoreInputs) -> Compared:
    """The part of the core that has no weights: minima and maxima, which are exact in bytes."""
    frame, *neighbours = seen[:5]
    ranked, median = rank(frame, neighbours)
    unmoved = seen[5:9]
    still = stillness(frame, *unmoved[1:3])
    change = change_that_stays(frame, unmoved, still)
    return Compared(frame, *ranked, median, still, change, *seen[9:])


class CoreOutputs(NamedTuple):
    """What the core gives; float32. An engine may leave out what the next frame does not need.

    image: (B, 3, H, W) derained, in [0, 1]; in training not clamped. memory1, memory2: as they
    came. recovered: (B, 3, H, W) after the first stage. streaks: (B, 3, H, W). occlusion:
    (B, 1, H, W) in [0, 1].
    """

    image: Tensor
    memory1: Tensor
    memory2: Tensor
    recovered: Tensor | None = None
    streaks: Tensor | None = None
    occlusion: Tensor | None = None


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
