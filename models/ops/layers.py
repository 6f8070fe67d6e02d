"""Small layers that several networks share. A network's own pieces stay in its own file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def leaky_relu(x: Tensor, slope: float = 0.1) -> Tensor:
    """`x`, times `slope` where it is negative; in place where no gradient needs the input."""
    return F.leaky_relu(x, slope, inplace=not torch.is_grad_enabled())


def start_at(
    layer: nn.Conv2d, bias: float, channels: slice = slice(None), *, weights: bool = True
) -> None:
    """Let a convolution give `bias` at first, whatever it is shown.

    Args:
        layer: one that has a bias.
        bias: of the chosen output channels.
        channels: which output channels; the biases of others stay as they are.
        weights: whether the weights of all channels become zero; else they stay as they are.
    """
    assert layer.bias is not None
    with torch.no_grad():
        if weights:
            layer.weight.zero_()
        layer.bias[channels] = bias


def convolutions(layers: nn.ModuleList) -> list[nn.Conv2d]:
    """The convolutions of a list, which torch's own types call modules."""
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]


class ResidualBlock(nn.Module):
    """x + conv(leaky_relu(conv(x))), 3x3, no normalisation; starts close to the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(leaky_relu(self.first(x)))


class Upsample(nn.Module):
    """1x1 convolution and pixel shuffle: (B, C, H, W) -> (B, out, 2H, 2W)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 4 * out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2)


class MinimalGatedUnit(nn.Module):
    """Convolutional minimal gated unit (Zhou et al., 2016): one gate f both forgets and resets.

    f = sigmoid(W [x; h]),  z = tanh(V [x; f h]),  h' = h + f (z - h)
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gate = nn.Conv2d(width + hidden, hidden, 3, padding=1)
        self.candidate = nn.Conv2d(width + hidden, hidden, 3, padding=1)
        start_at(self.gate, -1.0, weights=False)  # remember at first

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x (B, width, H, W), h (B, hidden, H, W) float32 -> the new h, float32."""
        f = torch.sigmoid(self.gate(torch.cat([x, h.to(x.dtype)], 1))).float()
        z = torch.tanh(self.candidate(torch.cat([x, (f * h).to(x.dtype)], 1))).float()
        return torch.lerp(h, z, f)
