"""Layers that networks share: starts, shapes, and what a gated unit remembers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from derain.models.ops.layers import (
    MinimalGatedUnit,
    ResidualBlock,
    Upsample,
    convolutions,
    leaky_relu,
    start_at,
)


def test_negative_values_shrink_and_gradients_need_the_input() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    leaky_relu(x).sum().backward()
    assert x.grad is not None and torch.allclose(x.grad[::2], torch.tensor([0.1, 1.0]))
    y = torch.tensor([-2.0, 3.0])
    with torch.no_grad():
        assert leaky_relu(y, 0.5) is y  # in place
    assert y.tolist() == [-1.0, 3.0]


def test_a_layer_starts_at_its_bias_whatever_it_is_shown() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1)
    start_at(layer, -1.5)
    assert torch.equal(layer(torch.rand(1, 2, 4, 4)), torch.full((1, 3, 4, 4), -1.5))


def test_biases_of_other_channels_and_the_weights_may_stay() -> None:
    layer = nn.Conv2d(1, 3, 1)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    start_at(layer, 2.0, slice(1, 2), weights=False)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, torch.stack([bias[0], torch.tensor(2.0), bias[2]]))


def test_convolutions_are_picked_from_a_list() -> None:
    layers = nn.ModuleList([nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1)])
    assert [layer.out_channels for layer in convolutions(layers)] == [1, 2]


def test_a_residual_block_is_close_to_the_identity_at_first() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        assert (ResidualBlock(8)(x) - x).abs().mean() < 0.15 * x.abs().mean()


def test_upsampling_doubles_both_sides() -> None:
    assert Upsample(4, 3)(torch.rand(2, 4, 5, 7)).shape == (2, 3, 10, 14)


@pytest.mark.parametrize(("bias", "kept"), [(-50.0, True), (50.0, False)])
def test_the_gate_decides_between_the_old_state_and_the_new(bias: float, kept: bool) -> None:
    unit = MinimalGatedUnit(2, 3)
    start_at(unit.gate, bias)
    start_at(unit.candidate, 1.0)
    h = torch.rand(1, 3, 4, 4)
    expected = h if kept else torch.full_like(h, float(torch.tanh(torch.tensor(1.0))))
    torch.testing.assert_close(unit(torch.rand(1, 2, 4, 4), h), expected)


def test_the_state_is_float32_in_half_precision_too() -> None:
    unit = MinimalGatedUnit(2, 3).to(torch.bfloat16)
    h = unit(torch.rand(1, 2, 4, 4, dtype=torch.bfloat16), torch.zeros(1, 3, 4, 4))
    assert h.dtype == torch.float32
