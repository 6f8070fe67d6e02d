"""Triton kernels against the sequential recurrence."""

from __future__ import annotations

import pytest
import torch

from derain.models.networks.irnn import (
    scan_backward_sequentially,
    scan_sequentially,
)


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(2, 6, 9, 14), (1, 32, 135, 240), (1, 4, 1, 7), (3, 5, 8, 1)])
def test_triton_kernels_equal_the_sequential_version(shape: tuple[int, ...]) -> None:
    irnn_triton = pytest.importorskip("derain.models.networks.irnn_triton")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(2)
    x = torch.randn(shape, device="cuda")
    weight = torch.rand(4, shape[1], device="cuda") * 1.4 - 0.5
    bias = torch.randn(4, shape[1], device="cuda") * 0.1
    out = scan_sequentially(x, weight, bias)
    torch.testing.assert_close(irnn_triton.scan(x, weight, bias), out, rtol=1e-4, atol=1e-4)
    grad = torch.randn_like(out)
    expected = scan_backward_sequentially(grad, out, weight)
    for ours, theirs in zip(irnn_triton.scan_backward(grad, out, weight), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
