"""Parts of the two-stage network: its LSTM cell, its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from derain.models.networks.two_stage import State, TwoStage
from derain.models.networks.two_stage.blocks import ConvLSTM

Read = Callable[[str], Any]


def _fresh(model: TwoStage, frames: Tensor) -> State:
    size = frames.shape[0], frames.shape[-2], frames.shape[-1]
    return model.initial_state(*size, device=frames.device, dtype=frames.dtype)


def _gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a part of the largest value where that is above 1."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(1))


def test_memory_cell_reproduces_the_golden_steps(golden: Read) -> None:
    expected = golden("two_stage/losses_ops").tensors
    weight, bias = expected["lstm.Gates.weight"], expected["lstm.Gates.bias"]
    cell = ConvLSTM(4, decay=1.0)  # the golden cell takes 6 channels and keeps 4
    cell.gates = torch.nn.Conv2d(10, 16, 3, padding=1)
    cell.gates.load_state_dict({"weight": weight, "bias": bias})
    h = c = torch.zeros(1, 4, 9, 11)
    with torch.no_grad():
        for k in range(3):
            h, c = cell(expected[f"lstm.x{k}"], h, c)
            assert _gap(h, expected[f"lstm.h{k}"]) < 1e-6
            assert _gap(c, expected[f"lstm.c{k}"]) < 1e-6


def test_slim_network_keeps_its_budget() -> None:
    model = TwoStage().eval()
    assert sum(p.numel() for p in model.parameters()) <= 3_000_000
    window = torch.rand(1, 5, 3, 32, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.step_window(window, _fresh(model, window[:, 0]))
    assert counter.get_total_flops() / (32 * 32 * 1e3) < 200
