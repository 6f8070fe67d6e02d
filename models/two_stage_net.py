"""Building blocks of the two-stage network: encoder over five pictures, body, memory and decoder.

From Yang et al., "Recurrent Multi-Frame Deraining: Combining Physics Guidance and Adversarial
Learning" (TPAMI 2022). How the blocks become stages is in two_stage.py.

The encoder sees five pictures ("slots") and joins neighbours level by level, 5 -> 4 -> 3 -> 2 -> 1
slices. The paper does it with three-dimensional convolutions of two taps; here slices lie one after
another in the batch axis, so that a pair is one concatenation and everything is an ordinary
convolution: the same numbers, several times faster on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOTS = 5
SLOPE = 0.2  # of the leaky rectifier; the paper's, not the one of layers.py


def activate(x: Tensor) -> Tensor:
    """Leaky rectifier, in place where no gradient needs the input."""
    return F.leaky_relu(x, SLOPE, inplace=not torch.is_grad_enabled())


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3, zero padding."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


class ResidualBlock(nn.Module):
    """x + conv(activate(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(activate(self.first(x)))


class PerSlice(nn.Module):
    """A layer with its own weights for each slice: (slices * B, …) -> (slices * B, …)."""

    def __init__(self, make: Callable[[], nn.Module], slices: int) -> None:
        super().__init__()
        self.slices = nn.ModuleList(make() for _ in range(slices))

    def forward(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.slices))
        return torch.cat([layer(part) for layer, part in zip(self.slices, parts, strict=True)])


class Tap(nn.Module):
    """Join each slice with the next one: (G * B, inputs, H, W) -> ((G - 1) * B, outputs, …)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = convolution(2 * inputs, outputs, stride)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        return self.conv(torch.cat([x[:-batch], x[batch:]], 1))


class Features(NamedTuple):
    """What an encoder gives, with n its width, for the middle of its five slots.

    full: (B, n, H, W). half: (B, 2n, H/2, W/2). deep: (B, 4n, H/4, W/4) of all five.
    """

    full: Tensor
    half: Tensor
    deep: Tensor


class Encoder(nn.Module):
    """Five pictures to features at three scales.

    Args:
        channels: of a picture.
        width: n.
        shared: residual blocks have the same weights for every slice; in the paper each slice has
            its own, which costs twice the parameters.
    """

    def __init__(self, channels: int, width: int, *, shared: bool) -> None:
        super().__init__()
        n = width
        steps = [(n, 2 * n, 2), (2 * n, 2 * n, 1), (2 * n, 4 * n, 2), (4 * n, 4 * n, 1)]
        self.stem = PerSlice(partial(convolution, channels, n), SLOTS)
        self.taps = nn.ModuleList(Tap(*step) for step in steps)
        self.blocks = nn.ModuleList()
        for level, wide in enumerate([n, *(outputs for _, outputs, _ in steps)]):
            own = not shared and level < SLOTS - 1
            make = partial(ResidualBlock, wide)
            self.blocks.append(PerSlice(make, SLOTS - level) if own else make())

    def forward(self, slots: Tensor) -> Features:
        """slots (B, 5, channels, H, W), H and W multiples of 4."""
        batch = slots.shape[0]
        x = slots.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        levels = [self.blocks[0](activate(self.stem(x)))]
        for tap, block in zip(self.taps, self.blocks[1:], strict=True):
            levels.append(block(activate(tap(levels[-1], batch))))
        return Features(levels[0].chunk(5)[2], levels[2].chunk(3)[1], levels[4])


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
        """All (B, width, H, W); `hidden` and `cell` keep their own precision."""
        gates = self.gates(torch.cat([x, hidden.to(x.dtype)], 1)).to(cell.dtype)
        i, f, o, g = gates.chunk(4, 1)
        cell = self.decay * torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell


class Body(nn.Module):
    """Residual blocks and a memory at the deepest scale; the memory's reading is added."""

    def __init__(self, width: int, blocks: int, decay: float = 1.0) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.memory = ConvLSTM(width, decay)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, width, H, W), memory (B, 2, width, H, W): hidden and cell. The same come back."""
        x = self.blocks(x)
        hidden, cell = self.memory(x, memory[:, 0], memory[:, 1])
        return x + hidden.to(x.dtype), torch.stack([hidden, cell], 1)


class Up(nn.Module):
    """Nearest neighbour to twice the size, then 3x3 with mirrored borders."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(F.interpolate(x, scale_factor=2), (1, 1, 1, 1), mode="reflect"))


class Decoder(nn.Module):
    """Deep features to a picture: (B, 4n, H/4, W/4) -> (B, outputs, H, W)."""

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
    """A body with its memory, and a decoder. With `skips`, they are added at all three scales."""

    def __init__(self, width: int, blocks: int, outputs: int, decay: float = 1.0) -> None:
        super().__init__()
        self.body = Body(4 * width, blocks, decay)
        self.decoder = Decoder(width, outputs)

    def forward(
        self, deep: Tensor, memory: Tensor, skips: Features | None = None
    ) -> tuple[Tensor, Tensor]:
        """deep (B, 4n, H/4, W/4), memory as in `Body` -> (B, outputs, H, W) and the new memory."""
        x, memory = self.body(deep, memory)
        return self.decoder(x if skips is None else x + skips.deep, skips), memory


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
