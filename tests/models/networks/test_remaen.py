"""ReMAEN: golden numbers, a literal forward of the original's variables, gradients, conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.networks.remaen import ReMAEN, convert_reference, recognises

EXTRACT, RESPOND = "derainNet/ReMAEN/extracting_path", "derainNet/ReMAEN/responding_path"


def original(channels: int = 32, hidden: int = 8) -> dict[str, Tensor]:
    """Random variables under TensorFlow's names and in its layout."""
    generator = torch.Generator().manual_seed(6)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        bound = (6 / (shape[-1] + shape[-2]) / (9 if len(shape) == 4 else 1)) ** 0.5
        state[f"{name}/weights"] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
        state[f"{name}/biases"] = torch.rand(shape[-1], generator=generator) * 0.2 - 0.1

    def add_se(name: str) -> None:
        add(f"{name}/SEBlock/fully_connected", channels, hidden)
        add(f"{name}/SEBlock/fully_connected_1", hidden, channels)

    for k in range(1, 5):
        add(f"{EXTRACT}/MAEB{k}/d1", 3, 3, channels if k > 1 else 3, channels)
        add(f"{EXTRACT}/MAEB{k}/d2", 3, 3, channels, channels)
        add_se(f"{EXTRACT}/MAEB{k}")
    for i in range(1, 8):
        for gate in ("xz", "xr", "xn", "hz", "hr", "hn"):
            path = EXTRACT if i < 5 else RESPOND
            add(f"{path}/convGRU{i}/conv_{gate}", 3, 3, channels, channels)
    for k in (5, 6, 7):
        add(f"{RESPOND}/conv{k}", 3, 3, channels, channels)
    add("derainNet/RMG/Conv", 3, 3, channels, channels)
    add("derainNet/RMG/Conv_1", 3, 3, channels, 3)
    for path in (EXTRACT, RESPOND, "derainNet/RMG"):
        add_se(path)
    return state


def build(state: dict[str, Tensor], order: str = "rgb", stages: int = 3) -> ReMAEN:
    settings, converted = convert_reference(state, order, stages=stages)
    net = ReMAEN(**settings)
    net.load_state_dict(converted)
    return net.eval()


def literal(state: dict[str, Tensor], rainy: Tensor, stages: int = 3) -> list[Tensor]:
    """The equations as they stand: one convolution for each gate, planes; every derained stage."""

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight = state[f"{name}/weights"].permute(3, 2, 0, 1)
        return F.conv2d(x, weight, state[f"{name}/biases"], padding=dilation, dilation=dilation)

    def se(name: str, x: Tensor) -> Tensor:
        z = x.mean((2, 3))
        for layer, act in (("fully_connected", F.relu), ("fully_connected_1", torch.sigmoid)):
            name_ = f"{name}/SEBlock/{layer}"
            z = act(z @ state[f"{name_}/weights"] + state[f"{name_}/biases"])
        return x * z[:, :, None, None]

    def lrelu(x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.2)

    def maeb(k: int, x: Tensor) -> Tensor:
        name = f"{EXTRACT}/MAEB{k}"
        branches = [
            lrelu(conv(f"{name}/d2", lrelu(conv(f"{name}/d1", x, r)), r)) for r in (1, 2, 3)
        ]
        return se(name, branches[0] + branches[1] + branches[2])

    def gru(i: int, x: Tensor, h: Tensor | None) -> Tensor:
        path = EXTRACT if i < 5 else RESPOND
        name = f"{path}/convGRU{i}/conv_"
        if h is None:
            new = torch.sigmoid(conv(f"{name}xz", x)) * torch.tanh(conv(f"{name}xn", x))
        else:
            r = torch.sigmoid(conv(f"{name}hr", h) + conv(f"{name}xr", x))
            z = torch.sigmoid(conv(f"{name}hz", h) + conv(f"{name}xz", x))
            n = torch.tanh(conv(f"{name}xn", x) + conv(f"{name}hn", r * h))
            new = (1 - z) * h + z * n
        return lrelu(se(path, new))

    derained, estimates = rainy, []
    memory: dict[int, Tensor] = {}
    for _ in range(stages):
        t, skips = derained, {}
        for k in (1, 2, 3, 4):
            skips[k] = maeb(k, t)
            t = memory[k] = gru(k, skips[k], memory.get(k))
        for i in (5, 6, 7):
            u = F.relu(conv(f"{RESPOND}/conv{i}", t)) + skips[8 - i]
            t = memory[i] = gru(i, u, memory.get(i))
        rain = lrelu(se("derainNet/RMG", conv("derainNet/RMG/Conv", t)))
        derained = derained - conv("derainNet/RMG/Conv_1", rain)
        estimates.append(derained)
    return estimates


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_golden_stages(golden: Callable[[str], Any], order: str) -> None:
    expected = golden("remaen/remaen_real128").tensors
    net = build(golden("remaen/remaen_seed7_weights_tf_layout").tensors, order)
    rainy = expected["crop_bgr_uint8"].permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(rainy, expected["input"])
    turn = order == "bgr"  # the network then takes RGB
    with torch.no_grad():
        estimates = net.forward_stages(rainy.flip(1) if turn else rainy)
    assert len(estimates) == 3
    for s, estimate in enumerate(estimates, 1):
        ours = estimate.flip(1) if turn else estimate
        torch.testing.assert_close(ours, expected[f"stage{s}.derain"], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours, expected["output"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("stages", "channels", "hidden"), [(1, 8, 3), (2, 32, 8), (4, 8, 2)])
def test_equals_a_literal_forward(stages: int, channels: int, hidden: int) -> None:
    state = original(channels, hidden)
    rainy = torch.rand(2, 3, 11, 14, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = build(state, stages=stages).forward_stages(rainy)
        theirs = literal(state, rainy, stages)
    assert len(ours) == stages
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_equal_those_of_a_literal_forward() -> None:
    state = {k: v.double() for k, v in original(8, 2).items()}
    rainy = torch.rand(1, 3, 6, 7, dtype=torch.float64)
    net = build(state).double()
    sum(y.square().mean() for y in net.forward_stages(rainy)).backward()
    leaves = {k: v.requires_grad_() for k, v in state.items()}
    sum(y.square().mean() for y in literal(leaves, rainy)).backward()
    gradients = {k: v.grad for k, v in leaves.items() if v.grad is not None}
    assert len(gradients) == len(leaves)
    _, expected = convert_reference(gradients, "rgb")
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-7, atol=1e-10)


def test_parameters_and_work_of_the_original() -> None:
    net = ReMAEN()
    assert sum(p.numel() for p in net.parameters()) == 495_771
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.rand(1, 3, 16, 16))
    per_pixel = counter.get_total_flops() / 2 / 16**2
    # The spec's count, and the little of squeeze-and-excitation, which is per image.
    assert 1_604_736 <= per_pixel < 1_604_736 + 100


def test_starts_like_the_original() -> None:
    torch.manual_seed(0)
    net = ReMAEN()
    assert not net.extract[0].gates_x.bias.any()
    bound = (6 / (9 * 32 + 9 * 32)) ** 0.5  # of one gate, not of both together
    assert 0.95 * bound < float(net.extract[0].gates_x.weight.detach().abs().max()) <= bound


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2)])
def test_any_size_through_the_adapter(size: tuple[int, int]) -> None:
    net = build(original(8, 2))
    rainy = torch.rand(1, 3, *size)
    with torch.no_grad():
        output, _ = PerFrame(net)(rainy[:, None])
        torch.testing.assert_close(output.image[:, 0], net(rainy).clamp(0, 1))


def test_halo_reaches_as_far_as_the_convolutions_do() -> None:
    # Positive weights, so that no rectifier hides a path.
    net = build({k: 0.3 * v.abs() for k, v in original(4, 2).items()}, stages=2).double()
    for se in (m for m in net.modules() if hasattr(m, "excite")):
        torch.nn.init.zeros_(se.excite.weight)  # no means: what is left are the convolutions
    size = 2 * net.halo + 5
    rainy = torch.rand(1, 3, size, 3, dtype=torch.float64).requires_grad_()
    net(rainy)[0, :, size // 2, 1].sum().backward()
    reached = rainy.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (size // 2 - int(reached[0]), int(reached[-1]) - size // 2) == (net.halo, net.halo)


def test_compiles_as_one_graph() -> None:
    net = build(original(8, 2), stages=2)
    rainy = torch.rand(1, 3, 9, 11)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(rainy), net(rainy))


def test_weights_beside_the_optimiser_are_read_and_wrong_ones_named() -> None:
    state = original(8, 2)
    assert recognises(set(state))
    assert not recognises({"derainNet/RMG/Conv/weights"})
    slots = {f"{k}/{s}": torch.zeros_like(v) for k, v in state.items() for s in ("Adam", "Adam_1")}
    build(state | slots | {"beta1_power": torch.tensor(0.9)})
    del state["derainNet/RMG/Conv/biases"]
    with pytest.raises(DerainError, match=r"missing derainNet/RMG/Conv/biases, unexpected more"):
        convert_reference(state | {"more": torch.zeros(1)}, "bgr")
