"""The recurrence along four directions: values, gradients, kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models.networks.irnn import (
    DIRECTIONS,
    DirectionalRecurrence,
    directional_scan,
    directional_scan_backward,
)

Read = Callable[[str], Any]


def literal_scan(x: Tensor, w: Tensor, b: Tensor, direction: str) -> Tensor:
    """One direction, line by line, as the equation is written."""
    axis = 2 if direction in ("up", "down") else 3
    lines = list(x.unbind(axis))
    if direction in ("up", "left"):
        lines.reverse()
    w, b = w.flatten()[None, :, None], b[None, :, None]
    states = [F.relu(lines[0])]
    for line in lines[1:]:
        states.append(F.relu(w * states[-1] + b + line))
    if direction in ("up", "left"):
        states.reverse()
    return torch.stack(states, axis)


def test_recurrence_and_its_gradients_equal_the_reference_kernels(golden: Read) -> None:
    unit = golden("spanet/irnn_unit").tensors
    scan = DirectionalRecurrence(6)
    x = unit["x"].requires_grad_()
    with torch.no_grad():
        for i, d in enumerate(DIRECTIONS):
            scan.weight[i], scan.bias[i] = unit[f"weight_{d}"], unit[f"bias_{d}"]
    out = scan(x)
    torch.testing.assert_close(out, torch.cat([unit[f"out_{d}"] for d in DIRECTIONS], 1))
    out.backward(torch.cat([unit[f"grad_out_{d}"] for d in DIRECTIONS], 1))
    torch.testing.assert_close(x.grad, unit["grad_x"])
    for kind in ("weight", "bias"):
        expected = torch.stack([unit[f"grad_{kind}_{d}"] for d in DIRECTIONS])
        torch.testing.assert_close(getattr(scan, kind).grad, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (4, 5)])
def test_recurrence_has_right_gradients(size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    tensors = [torch.randn(s, dtype=torch.float64) for s in ((2, 3, *size), (4, 3), (4, 3))]
    inputs = [t.requires_grad_() for t in tensors]
    x, w, b = inputs
    expected = [literal_scan(x, w[i], b[i], d) for i, d in enumerate(DIRECTIONS)]
    torch.testing.assert_close(directional_scan(x, w, b), torch.cat(expected, 1))
    assert torch.autograd.gradcheck(directional_scan, inputs)


def test_recurrence_is_a_well_formed_operator() -> None:
    inputs = [torch.randn(s).requires_grad_() for s in ((2, 3, 4, 5), (4, 3), (4, 3))]
    torch.library.opcheck(directional_scan, inputs)
    out = directional_scan(*inputs).detach()
    weight = inputs[1].detach()
    torch.library.opcheck(directional_scan_backward, (torch.randn_like(out), out, weight))


def test_recurrence_keeps_float32_under_autocast() -> None:
    scan = DirectionalRecurrence(4)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert scan(torch.randn(1, 4, 3, 5, dtype=torch.bfloat16)).dtype == torch.float32
