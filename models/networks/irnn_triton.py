"""The directional recurrence as Triton kernels: `scan` and `scan_backward` on CUDA, float32.

One program walks a block of lines from end to end and keeps the running value in registers, so the
work is one read and one write a pixel; all four directions go in one launch and write straight
into the concatenated result. The equations and the version for every device are in irnn.py, which
imports this file only where Triton is installed.
"""

# mypy: disallow-untyped-defs=False
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128  # neighbouring (line, channel) pairs in a program


def scan(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As `irnn.scan_sequentially`: x (B, C, H, W), weight and bias (4, C) -> (B, 4 C, H, W).

    Args:
        x: (B, C, H, W).
        weight: (4, C), of up, right, down and left.
        bias: (4, C).
    """
    batch, channels, height, width = x.shape
    x = x.permute(0, 2, 3, 1).contiguous()
    out = x.new_empty(batch, height, width, 4 * channels)
    grid = (triton.cdiv(max(height, width) * channels, BLOCK), 4, batch)
    with torch.cuda.device_of(x):
        _scan_kernel[grid](
            x, weight.contiguous(), bias.contiguous(), out, height, width, channels, BLOCK
        )
    return out.permute(0, 3, 1, 2)


def scan_backward(grad: Tensor, out: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `irnn.scan_backward_sequentially`: gradients of x, weight and bias.

    Args:
        grad: (B, 4 C, H, W), of the output.
        out: (B, 4 C, H, W), the output.
        weight: (4, C).
    """
    batch, channels, height, width = grad.shape
    channels //= 4
    grad = grad.permute(0, 2, 3, 1).contiguous()
    out = out.permute(0, 2, 3, 1).contiguous()
    deltas = torch.empty_like(grad)
    # Each line adds up its own share; the shares are summed in a fixed order afterwards.
    shares = grad.new_zeros(2, 4, batch, max(height, width), channels)
    grid = (triton.cdiv(max(height, width) * channels, BLOCK), 4, batch)
    with torch.cuda.device_of(grad):
        _scan_backward_kernel[grid](
            grad, out, weight.contiguous(), deltas, shares[0], shares[1],
            height, width, channels, BLOCK,
        )  # fmt: skip
    grad_x = deltas.unflatten(3, (4, channels)).sum(3).permute(0, 3, 1, 2)
    grad_weight, grad_bias = shares.sum((2, 3)).unbind(0)
    return grad_x, grad_weight, grad_bias


@triton.jit
def _walk(height, width, channels, BLOCK: tl.constexpr):
    """Where this program walks: lane, channel, mask, first pixel, step in pixels, length.

    Directions are up, right, down, left: the even ones walk along columns of the image, and
    0 and 3 start at the far end.
    """
    direction = tl.program_id(1)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    line, channel = lane // channels, lane % channels
    vertical = direction % 2 == 0
    length = tl.where(vertical, height, width)
    inside = line < tl.where(vertical, width, height)
    step = tl.where(vertical, width, 1)
    backwards = (direction == 0) | (direction == 3)
    first = line * tl.where(vertical, 1, width) + tl.where(backwards, (length - 1) * step, 0)
    # 64 bits: a batch of large images has more numbers than 32 bits count.
    first = tl.program_id(2).to(tl.int64) * height * width + first
    return lane, channel, inside, first, tl.where(backwards, -step, step), length


@triton.jit
def _scan_kernel(x, weight, bias, out, height, width, channels, BLOCK: tl.constexpr):
    """h_0 = max(0, x_0), h_i = max(0, w h_{i-1} + b + x_i) along each line."""
    direction = tl.program_id(1)
    _, channel, inside, pixel, step, length = _walk(height, width, channels, BLOCK)
    w = tl.load(weight + direction * channels + channel)
    b = tl.load(bias + direction * channels + channel)
    into = direction * channels + channel
    h = tl.maximum(tl.load(x + pixel * channels + channel, mask=inside, other=0.0), 0.0)
    tl.store(out + pixel * 4 * channels + into, h, mask=inside)
    # The next value is on its way while this one is computed with; the last one is read twice.
    pixel += tl.where(length > 1, step, 0)
    ahead = tl.load(x + pixel * channels + channel, mask=inside, other=0.0)
    for i in range(1, length):
        value, here = ahead, pixel
        pixel += tl.where(i + 1 < length, step, 0)
        ahead = tl.load(x + pixel * channels + channel, mask=inside, other=0.0)
        h = tl.maximum(h * w + b + value, 0.0)
        tl.store(out + here * 4 * channels + into, h, mask=inside)


@triton.jit
def _scan_backward_kernel(
    grad, out, weight, deltas, weight_shares, bias_shares,
    height, width, channels, BLOCK: tl.constexpr,
):  # fmt: skip
    """delta_i = [h_i > 0] (g_i + w delta_{i+1}) from the last of each line to the first."""
    direction = tl.program_id(1)
    lane, channel, inside, first, step, length = _walk(height, width, channels, BLOCK)
    w = tl.load(weight + direction * channels + channel)
    at = direction * channels + channel
    pixel = first + (length - 1) * step
    h = tl.load(out + pixel * 4 * channels + at, mask=inside, other=0.0)
    delta = tl.zeros([BLOCK], dtype=tl.float32)
    weight_share = tl.zeros([BLOCK], dtype=tl.float32)
    bias_prob = tl.zeros([BLOCK], dtype=tl.float32)
    for i in range(0, length):
        g = tl.load(grad + pixel * 4 * channels + at, mask=inside, other=0.0)
        delta = tl.where(h > 0, g + w * delta, 0.0)
        tl.store(deltas + pixel * 4 * channels + at, delta, mask=inside)
        # The first of a line has no predecessor and no bias: it reads itself and counts nothing.
        earlier = i + 1 < length
        pixel -= tl.where(earlier, step, 0)
        h = tl.load(out + pixel * 4 * channels + at, mask=inside, other=0.0)
        weight_share += tl.where(earlier, delta * h, 0.0)
        bias_prob += tl.where(earlier, delta, 0.0)
    lanes = tl.maximum(height, width) * channels
    share = (direction * tl.num_programs(2) + tl.program_id(2)).to(tl.int64) * lanes + lane
    tl.store(weight_shares + share, weight_share, mask=inside)
    tl.store(bias_shares + share, bias_prob, mask=inside)
