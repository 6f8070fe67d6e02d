"""Building blocks of the two-stage network: encoder of five images, body, hidden state, decoder.

From Yang et al., "Recurrent Multi-Frame Deraining: Combining Physics Guidance and Adversarial
Learning" (TPAMI 2022). How the blocks become stages is in stages.py.

The encoder sees five frames ("slots") and joins neighbours level by level, 5 -> 4 -> 3 -> 2 -> 1
slices. The paper does it with three-dimensional convolutions of two taps; here a pair of slices is
one concatenation and everything is an ordinary convolution: the same numbers in less time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.ops.layers import leaky_relu

SLOTS = 5
SLOPE = 0.2  # of the leaky rectifier, as in the paper


def activate(x: Tensor) -> Tensor:
    """The leaky rectifier of every layer."""
    return leaky_relu(x, SLOPE)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3, zero padding.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: 1 keeps the size, 2 halves it.
    """
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


class ResidualBlock(nn.Module):
    """x + conv(activate(conv(x))); with `groups`, each group of channels by itself."""

    def __init__(self, width: int, groups: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.second = nn.Conv2d(width, width, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(activate(self.first(x)))


# Moves what belongs to the frame before, (B, …, h, w), to frame `index` of a clip.
Move = Callable[[Tensor, int], Tensor]


class Features(NamedTuple):
    """What an encoder gives, with n its width, for the middle of its five slots.

    full: (B, n, H, W). half: (B, 2n, H/2, W/2). deep: (B, 4n, H/4, W/4) of all five.
    """

    full: Tensor
    half: Tensor
    deep: Tensor


def _levels(width: int) -> list[tuple[int, int, int]]:
    """Channels of a slice before and after each joining of pairs, and its stride."""
    n = width
    return [(n, 2 * n, 2), (2 * n, 2 * n, 1), (2 * n, 4 * n, 2), (4 * n, 4 * n, 1)]


class Encoder(nn.Module):
    """Five frames to features at three scales; after the first layer all slices share weights.

    Slices lie one after another in the batch axis: (slices * B, channels, H, W).
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        levels = _levels(width)
        wide = [width, *(outputs for _, outputs, _ in levels)]
        self.stem = nn.Conv2d(SLOTS * channels, SLOTS * width, 3, padding=1, groups=SLOTS)
        self.joins = nn.ModuleList(
            convolution(2 * inputs, outputs, stride) for inputs, outputs, stride in levels
        )
        self.blocks = nn.ModuleList(ResidualBlock(channels) for channels in wide)

    def forward(self, slots: Tensor) -> Features:
        """slots (B, 5, channels, H, W), H and W multiples of 4."""
        batch = slots.shape[0]
        x = activate(self.stem(_channels_last(slots.flatten(1, 2))))
        x = _channels_last(x.unflatten(1, (SLOTS, -1)).transpose(0, 1).flatten(0, 1))
        levels = [self.blocks[0](x)]
        for join, block in zip(self.joins, self.blocks[1:], strict=True):
            pairs = torch.cat([levels[-1][:-batch], levels[-1][batch:]], 1)
            levels.append(block(activate(join(pairs))))
        return Features(levels[0].chunk(5)[2], levels[2].chunk(3)[1], levels[4])


class ReferenceEncoder(nn.Module):
    """The paper's encoder: residual blocks with weights of their own for each slice.

    Slices lie one after another in the channels: (B, slices * channels, H, W).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        levels = _levels(width)
        wide = [width, *(outputs for _, outputs, _ in levels)]
        self.stem = nn.Conv2d(SLOTS * 3, SLOTS * width, 3, padding=1, groups=SLOTS)
        self.joins = nn.ModuleList(
            convolution(2 * inputs, outputs, stride) for inputs, outputs, stride in levels
        )
        self.blocks = nn.ModuleList(
            ResidualBlock(slices * channels, slices)
            for slices, channels in zip(range(SLOTS, 0, -1), wide, strict=True)
        )

    def forward(self, slots: Tensor) -> Features:
        """slots (B, 5, 3, H, W), H and W multiples of 4."""
        x = activate(self.stem(_channels_last(slots.flatten(1, 2))))
        levels = [self.blocks[0](x)]
        for join, block in zip(self.joins, self.blocks[1:], strict=True):
            pairs = _in_pairs(levels[-1], SLOTS + 1 - len(levels))
            levels.append(block(activate(_shared(join, pairs, SLOTS - len(levels)))))
        return Features(levels[0].chunk(5, 1)[2], levels[2].chunk(3, 1)[1], levels[4])


def _in_pairs(x: Tensor, slices: int) -> Tensor:
    """Every slice of the channels and the next one: (B, n C, …) -> (B, (n - 1) 2 C, …)."""
    pairs = pairwise(x.chunk(slices, 1))
    return torch.cat([part for pair in pairs for part in pair], 1)


def _shared(layer: nn.Module, x: Tensor, groups: int) -> Tensor:
    """One convolution over each group of channels, with the same weights for all of them."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    weight, bias = layer.weight.repeat(groups, 1, 1, 1), layer.bias.repeat(groups)
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, groups=groups)


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


class ConvLSTM(nn.Module):
    """Convolutional LSTM, gates in the order input, forget, output, candidate.

    c' = decay f c + i g,  h' = o tanh(c'). With `decay` below 1 the cell stays within
    1 / (1 - decay) however long the film is; the paper has 1.
    """

    def __init__(self, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.gates = convolution(2 * width, 4 * width)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """All (B, width, H, W); `hidden` and `cell` keep their own precision.

        Args:
            x: (B, width, H, W).
            hidden: (B, width, H, W).
            cell: (B, width, H, W).
        """
        gates = self.gates(torch.cat([x, hidden.to(x.dtype)], 1)).to(cell.dtype)
        i, f, o, g = gates.chunk(4, 1)
        cell = self.decay * torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell


class Body(nn.Module):
    """Residual blocks and a ConvLSTM at the deepest scale, whose reading is added."""

    def __init__(self, width: int, blocks: int, decay: float = 1.0) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.memory = ConvLSTM(width, decay)

    def forward(self, x: Tensor, hidden: Tensor, move: Move | None = None) -> tuple[Tensor, Tensor]:
        """One reading a frame, with the hidden state of the one before.

        Args:
            x: (B * T, width, H, W), the T frames of a stream one after another.
            hidden: (B, 2, width, H, W), hidden and cell. The same come back.
            move: what moves the hidden state to each frame.
        """
        x = self.blocks(x)
        read = []
        for index, each in enumerate(x.unflatten(0, (hidden.shape[0], -1)).unbind(1)):
            hidden = hidden if move is None else move(hidden, index)
            h, cell = self.memory(each, hidden[:, 0], hidden[:, 1])
            hidden = torch.stack([h, cell], 1)
            read.append(h)
        h = read[0] if len(read) == 1 else torch.stack(read, 1).flatten(0, 1)
        return x + h.to(x.dtype), hidden


class Up(nn.Module):
    """Nearest neighbour to twice the size, then 3x3 with mirrored borders."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(F.interpolate(x, scale_factor=2), (1, 1, 1, 1), mode="reflect"))


class Decoder(nn.Module):
    """Deep features to an image: (B, 4n, H/4, W/4) -> (B, outputs, H, W)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        n = width
        self.up1, self.block1 = Up(4 * n, 2 * n), ResidualBlock(2 * n)
        self.up2, self.block2 = Up(2 * n, n), ResidualBlock(n)
        self.conv1, self.conv2 = convolution(n, n), convolution(n, n)
        self.out = nn.Conv2d(n, outputs, 1)

    def forward(self, x: Tensor, skips: Features | None = None) -> Tensor:
        x = self.block1(activate(self.up1(x)))
        x = x if skips is None else x + skips.half
        x = self.block2(activate(self.up2(x)))
        x = x if skips is None else x + skips.full
        return self.out(activate(self.conv2(activate(self.conv1(x)))))


class Head(nn.Module):
    """A body and a decoder. With `skips`, they are added at all three scales."""

    def __init__(self, width: int, blocks: int, outputs: int, decay: float = 1.0) -> None:
        super().__init__()
        self.body = Body(4 * width, blocks, decay)
        self.decoder = Decoder(width, outputs)

    def forward(
        self,
        deep: Tensor,
        hidden: Tensor,
        skips: Features | None = None,
        move: Move | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B * T, outputs, H, W) and the new hidden state.

        Args:
            deep: (B * T, 4n, H/4, W/4).
            hidden: as in `Body`.
            skips: features of the encoder, added at all three scales.
            move: as in `Body`.
        """
        x, hidden = self.body(deep, hidden, move)
        return self.decoder(x if skips is None else x + skips.deep, skips), hidden


def initialise(module: nn.Module) -> None:
    """He's rule for the leaky rectifier; residual blocks start close to the identity."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan = layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (1 + SLOPE**2) / fan))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    for block in module.modules():
        if isinstance(block, ResidualBlock):
            with torch.no_grad():
                block.second.weight.mul_(0.1)
        if isinstance(block, ConvLSTM):
            with torch.no_grad():
                block.gates.weight.mul_(0.5)  # sigmoids and tanh start in their linear part
