"""SPANet and its recurrence: golden numbers, a literal forward, gradients, compiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.networks.irnn import (
    DIRECTIONS,
)
from derain.models.networks.per_frame import PerFrame
from derain.models.networks.spanet import SPANet, convert_reference, recognises

Read = Callable[[str], Any]


def original(channels: int = 32) -> dict[str, Tensor]:
    """Random weights under the original's names and shapes, lively enough to tell errors."""
    generator = torch.Generator().manual_seed(5)
    c, half = channels, channels // 2

    def conv(out: int, into: int, size: int) -> Tensor:
        bound = (6 / (into * size * size)) ** 0.5
        return (torch.rand(out, into, size, size, generator=generator) * 2 - 1) * bound

    state = {"conv_in.0.weight": conv(c, 3, 3), "conv_out.0.weight": conv(3, c, 3)}
    for i in range(1, 18):
        for n, size in ((1, 1), (2, 3), (3, 1)):
            state[f"res_block{i}.group1.conv{n}.weight"] = 0.5 * conv(c, c, size)
    state |= {"SAM1.conv_in.weight": conv(c, c, 3), "SAM1.conv_out.weight": conv(1, c, 1)}
    state |= {f"SAM1.conv{n}.weight": 0.5 * conv(c, 4 * c, 3) for n in (2, 3)}
    for n in (1, 2):
        for direction in ("left", "right", "up", "down"):
            name = f"SAM1.irnn{n}.{direction}_weight"
            state[f"{name}.weight"] = torch.rand(c, 1, 1, 1, generator=generator) * 1.4 - 0.5
            state[f"{name}.bias"] = torch.rand(c, generator=generator) - 0.5
    for n, (out, into, size) in enumerate(((half, c, 3), (half, half, 3), (4, half, 1)), 1):
        state[f"SAM1.attention_layer.conv{n}.weight"] = conv(out, into, size)
        state[f"SAM1.attention_layer.conv{n}.bias"] = torch.rand(out, generator=generator) - 0.5
    return state


def build(state: dict[str, Tensor], order: str = "rgb", direction_gate: bool = False) -> SPANet:
    settings, converted = convert_reference(state, order, direction_gate=direction_gate)
    net = SPANet(**settings)
    net.load_state_dict(converted)
    return net.eval()


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


def literal_attention(state: dict[str, Tensor], x: Tensor, direction_gate: bool) -> Tensor:
    sam = {k.removeprefix("SAM1."): v for k, v in state.items() if k.startswith("SAM1.")}
    gate = x
    for n in (1, 2, 3) if direction_gate else ():
        name = f"attention_layer.conv{n}"
        gate = F.conv2d(gate, sam[f"{name}.weight"], sam[f"{name}.bias"], padding=int(n < 3))
        gate = F.relu(gate) if n < 3 else torch.sigmoid(gate)

    def scans(x: Tensor, n: int) -> Tensor:
        results = []
        for i, d in enumerate(DIRECTIONS):
            name = f"irnn{n}.{d}_weight"
            y = literal_scan(x, sam[f"{name}.weight"], sam[f"{name}.bias"], d)
            results.append(y * gate[:, i : i + 1] if direction_gate else y)
        return torch.cat(results, 1)

    y = scans(F.conv2d(x, sam["conv_in.weight"], padding=1), 1)
    y = scans(F.conv2d(y, sam["conv2.weight"], padding=1), 2)
    y = F.relu(F.conv2d(y, sam["conv3.weight"], padding=1))
    return torch.sigmoid(F.conv2d(y, sam["conv_out.weight"]))


def literal(
    state: dict[str, Tensor], rainy: Tensor, direction_gate: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """The network as its equations are written: the image, unclamped, and the attention maps."""
    x = F.relu(F.conv2d(rainy, state["conv_in.0.weight"], padding=1))
    attention: list[Tensor] = []
    for i in range(17):
        if i in (3, 6, 9, 12):
            attention.append(literal_attention(state, x, direction_gate))
        first, second, third = (state[f"res_block{i + 1}.group1.conv{n}.weight"] for n in (1, 2, 3))
        y = F.relu(F.conv2d(F.relu(F.conv2d(x, first)), second, padding=2, dilation=2))
        y = F.conv2d(y, third)
        x = F.relu(y * attention[-1] + x if 3 <= i < 15 else y + x)
    return F.conv2d(x, state["conv_out.0.weight"], padding=1), attention


@pytest.mark.parametrize("direction_gate", [False, True])
def test_golden_with_official_weights(golden: Read, direction_gate: bool) -> None:
    weights = golden("spanet/spanet_official_weights").tensors
    expected = golden("spanet/spanet_random").tensors
    prefix = "variant_gated." if direction_gate else ""
    with torch.no_grad():
        as_is = build(weights, "rgb", direction_gate)(expected["input"])
        net = build(weights, "bgr", direction_gate)
        image, attention = net.forward_with_attention(expected["input"].flip(1))
    for output in (as_is, image.flip(1)):
        torch.testing.assert_close(output, expected[f"{prefix}output"], rtol=0, atol=1e-5)
    maps = {k: v for k, v in expected.items() if k.startswith(f"{prefix}attention")}
    for name, value in maps.items():
        torch.testing.assert_close(attention[int(name[-1]) - 1], value, rtol=0, atol=1e-5)
    assert len(maps) == (1 if direction_gate else 4)
    # The other settings are visibly different, so that the comparison above means something.
    for other in {"", "variant_gated.", "variant_legacy_border."} - {prefix}:
        assert float((as_is - expected[f"{other}output"]).abs().max()) > 0.05


def test_golden_features_of_the_first_blocks(golden: Read) -> None:
    expected = golden("spanet/spanet_random").tensors
    net = build(golden("spanet/spanet_official_weights").tensors)
    seen: dict[str, Tensor] = {}
    net.blocks[0].register_forward_pre_hook(lambda _, args: seen.update(feat_in=args[0]))
    net.blocks[2].register_forward_hook(lambda _, args, out: seen.update(feat_block3=out))
    scans: list[Tensor] = []
    net.attention.scan1.register_forward_hook(lambda _, args, out: scans.append(out[:, :32]))
    with torch.no_grad():
        net(expected["input"])
    seen["sam1_irnn1_up"] = scans[0]
    for name, value in seen.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("direction_gate", [False, True])
@pytest.mark.parametrize("channels", [8, 32])
def test_equals_a_literal_forward(channels: int, direction_gate: bool) -> None:
    state = original(channels)
    net = build(state, direction_gate=direction_gate)
    rainy = torch.rand(2, 3, 13, 18, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        image, attention = net.forward_with_attention(rainy)
        expected, maps = literal(state, rainy, direction_gate)
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention, maps, rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_a_literal_forward() -> None:
    state = {k: v.double() for k, v in original(8).items()}
    rainy = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    net = build(state, direction_gate=True).double()
    image, attention = net.forward_with_attention(rainy)
    (image.square().mean() + attention[0].mean()).backward()
    leaves = {k: v.requires_grad_() for k, v in state.items()}
    image, attention = literal(leaves, rainy, direction_gate=True)
    (image.square().mean() + attention[0].mean()).backward()
    gradients = {k: v.grad for k, v in leaves.items() if v.grad is not None}
    _, expected = convert_reference(gradients, "rgb", direction_gate=True)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("direction_gate", "count"), [(False, 276_704), (True, 283_716)])
def test_parameter_count(direction_gate: bool, count: int) -> None:
    net = SPANet(direction_gate=direction_gate)
    assert sum(p.numel() for p in net.parameters()) == count


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2)])
def test_any_size_and_layers_through_the_adapter(size: tuple[int, int]) -> None:
    net = build(original(8))
    rainy = torch.rand(1, 3, *size)
    with torch.no_grad():
        image, layers = net.forward_layers(rainy)
        stage = net(rainy)
        output, _ = PerFrame(net)(rainy[:, None])
    assert torch.equal(output.image[:, 0], stage.clamp(0, 1))
    assert torch.equal(image, stage)
    assert list(layers) == [f"attention{i}" for i in (1, 2, 3, 4)]
    for layer in layers.values():
        assert layer.shape == (1, 1, *size)
        assert float(layer.min()) >= 0
        assert float(layer.max()) <= 1


def test_compiles_as_one_graph_forward_and_backward() -> None:
    net = build(original(8))
    rainy = torch.rand(1, 3, 9, 11)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    image = compiled(rainy)
    torch.testing.assert_close(image, net(rainy), rtol=1e-4, atol=1e-5)
    image.square().mean().backward()
    ours = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    net(rainy).square().mean().backward()
    assert len(ours) == len(list(net.parameters()))
    torch.testing.assert_close(ours, [p.grad for p in net.parameters()], rtol=1e-3, atol=1e-6)


def test_wrong_weights_are_named() -> None:
    state = original(8)
    assert recognises(set(state))
    assert not recognises({"conv_in.0.weight"})
    del state["res_block3.group1.conv2.weight"]
    state["extra.weight"] = torch.zeros(1)
    with pytest.raises(DerainError, match=r"res_block3\.group1\.conv2.*extra\.weight"):
        convert_reference(state, "bgr")


def test_starts_close_to_a_copy() -> None:
    """Of the image, with every channel that could do more ready to learn."""
    torch.manual_seed(0)
    rainy = torch.rand(1, 3, 24, 32)
    net = SPANet(8)
    error = (net(rainy) - rainy).square().mean()
    assert -10 * torch.log10(error) > 30
    error.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.head.parameters())
    assert net.head.weight.grad is not None
    assert net.head.weight.grad[:, 3:].abs().max() > 0
