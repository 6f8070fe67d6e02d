"""The directional recurrence of SPANet: four ReLU scans over a feature map, and their gradients.

The scan is one opaque operator, `derain::directional_scan`, so that neither autograd nor
`torch.compile` ever sees its thousands of steps. Here is the sequential version, exact on every
device; irnn_triton.py holds the same as GPU kernels. The attention around it is in spanet.py.

Source: Wang et al., "Spatial Attentive Single-Image Deraining with a High Quality Real Rain
Dataset", CVPR 2019, with the border rule of the released code.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

DIRECTIONS = ("up", "right", "down", "left")  # the order of the output's channels
# For an array (B, H, W, C): the axis each direction walks along, and whether from its far end.
_WALKS = ((1, True), (2, False), (1, False), (2, True))


class DirectionalRecurrence(nn.Module):
    """Scan (B, C, H, W) in four directions to (B, 4 C, H, W): up, right, down, left.

    Along each line, h_0 = max(0, x_0) and h_i = max(0, w h_{i-1} + b + x_i), with one w and one b
    for every channel and direction. A direction is named by where it walks to: "up" starts at the
    bottom border. Computed in float32 (or float64), also under autocast: w reaches 0.998, and half
    precision would pile up its rounding along the line.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4, channels), 0.2))
        self.bias = nn.Parameter(torch.zeros(4, channels))

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        return directional_scan(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))


@torch.library.custom_op("derain::directional_scan", mutates_args=())
def directional_scan(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Scan x (B, C, H, W) with weight and bias (4, C); returns (B, 4 C, H, W), channels last.

    Args:
        x: (B, C, H, W).
        weight: (4, C), of up, right, down and left.
        bias: (4, C).
    """
    kernels = _kernels_for(x)
    return (kernels.scan if kernels else scan_sequentially)(x, weight, bias)


@torch.library.custom_op("derain::directional_scan_backward", mutates_args=())
def directional_scan_backward(
    grad: Tensor, out: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias from those of the output (B, 4 C, H, W).

    Args:
        grad: (B, 4 C, H, W), of the output.
        out: (B, 4 C, H, W), the output.
        weight: (4, C).
    """
    kernels = _kernels_for(grad)
    return (kernels.scan_backward if kernels else scan_backward_sequentially)(grad, out, weight)


def scan_sequentially(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Line after line along each axis, vectorised over everything else; as `directional_scan`.

    Args:
        x: (B, C, H, W).
        weight: (4, C), of up, right, down and left.
        bias: (4, C).
    """
    batch, channels, height, width = x.shape
    out = x.new_empty(batch, height, width, 4, channels)
    for direction, w, b in zip(range(4), weight, bias, strict=True):
        lines = _lines(x.permute(0, 2, 3, 1), direction)
        results = _lines(out[..., direction, :], direction)
        # Contiguous rows, w and b spread over them once: several times as fast to compute with.
        w, b = w.expand_as(lines[0]).contiguous(), b.expand_as(lines[0]).contiguous()
        h = lines[0].clamp_min(0).contiguous()
        results[0].copy_(h)
        for line, result in zip(lines[1:], results[1:], strict=True):
            torch.addcmul(b, h, w, out=h).add_(line).clamp_min_(0)
            result.copy_(h)
    return out.flatten(3).permute(0, 3, 1, 2)


def scan_backward_sequentially(
    grad: Tensor, out: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk every line backwards: delta_i = [h_i > 0] (g_i + w delta_{i+1}).

    Args:
        grad: (B, 4 C, H, W), of the output.
        out: (B, 4 C, H, W), the output.
        weight: (4, C).
    """
    g, h = (t.permute(0, 2, 3, 1).unflatten(3, (4, -1)) for t in (grad, out))
    deltas = torch.empty_like(h, memory_format=torch.contiguous_format)
    grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(weight)
    for direction, w in enumerate(weight):
        gradients, states, results = (
            _lines(t[..., direction, :], direction) for t in (g, h, deltas)
        )
        w = w.expand_as(results[0]).contiguous()
        delta = torch.zeros_like(w)
        for gradient, state, result in zip(
            gradients[::-1], states[::-1], results[::-1], strict=True
        ):
            delta.mul_(w).add_(gradient).mul_(state > 0)
            result.copy_(delta)
        # The first of a line has no predecessor and no bias.
        axis, reverse = _WALKS[direction]
        length = h.shape[axis]
        later = deltas[..., direction, :].narrow(axis, 0 if reverse else 1, length - 1)
        earlier = h[..., direction, :].narrow(axis, 1 if reverse else 0, length - 1)
        grad_weight[direction] = (later * earlier).sum((0, 1, 2))
        grad_bias[direction] = later.sum((0, 1, 2))
    return deltas.sum(3).permute(0, 3, 1, 2), grad_weight, grad_bias


def _lines(array: Tensor, direction: int) -> list[Tensor]:
    """The lines of (B, H, W, C), each (B, H or W, C), in the order in which they are walked."""
    axis, reverse = _WALKS[direction]
    lines = list(array.unbind(axis))
    return lines[::-1] if reverse else lines


@directional_scan.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.new_empty(batch, height, width, 4 * channels).permute(0, 3, 1, 2)


@directional_scan_backward.register_fake
def _(grad: Tensor, out: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, height, width = grad.shape
    grad_x = grad.new_empty(batch, height, width, channels // 4).permute(0, 3, 1, 2)
    return grad_x, torch.empty_like(weight), torch.empty_like(weight)


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, inputs[1])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return directional_scan_backward(grad, *ctx.saved_tensors)


directional_scan.register_autograd(_backward, setup_context=_remember)


def _kernels_for(x: Tensor) -> ModuleType | None:
    """The module of the GPU kernels if they can run on this tensor."""
    return _triton() if x.is_cuda and x.dtype == torch.float32 else None


@cache
def _triton() -> ModuleType | None:
    try:
        from derain.models.networks import irnn_triton
    except ImportError:
        return None
    return irnn_triton
