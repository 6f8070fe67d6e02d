"""RESCAN against the original's numbers, and every setting against a literal forward."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models import Derainer
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.networks.rescan import Rescan, convert_reference, recognises
from derain.models.ops.recurrent_cells import CELLS

Read = Callable[[str], Any]
GATES = {"conv": [""], "rnn": [""], "gru": ["z", "r", "n"], "lstm": ["f", "i", "o", "j"]}


def build(state: dict[str, Tensor], **settings: Any) -> Rescan:
    chosen, converted = convert_reference(state, "rgb", **settings)
    net = Rescan(**chosen)
    net.load_state_dict(converted)
    return net


def original(
    unit: str, *, se: bool = True, channels: int = 24, depth: int = 7, seed: int = 0
) -> dict[str, Tensor]:
    """Random weights under the original's names, large enough to bend every gate."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int, gain: float = 1.5) -> None:
        fan = torch.Size(shape[1:]).numel()
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * gain / fan**0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.2

    def add_se(name: str) -> None:
        if se:
            add(f"{name}.fc.0", 6, channels)
            add(f"{name}.fc.2", channels, 6)

    for k in range(depth - 2):
        for path in "x" if unit == "conv" else "xh":
            for gate in GATES[unit]:
                name = "conv" if unit == "conv" else f"conv_{path}{gate}"
                inputs = 3 if path == "x" and k == 0 else channels
                add(f"rnns.{k}.{name}", channels, inputs, 3, 3)
        add_se(f"rnns.{k}.se")
    add("dec.0", channels, channels, 3, 3)
    add_se("dec.1")
    add("dec.3", 3, channels, 1, 1, gain=0.5)
    return state


def literal(
    state: dict[str, Tensor], rainy: Tensor, unit: str, composition: str, stages: int
) -> list[Tensor]:
    """The equations as they stand: one convolution for each gate, planes; every derained stage."""
    cells = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("rnns."))

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, bias, padding=padding, dilation=dilation)

    def post(name: str, x: Tensor) -> Tensor:
        if f"{name}.fc.0.weight" in state:
            v = F.linear(x.mean((2, 3)), state[f"{name}.fc.0.weight"], state[f"{name}.fc.0.bias"])
            v = F.linear(F.relu(v), state[f"{name}.fc.2.weight"], state[f"{name}.fc.2.bias"])
            x = x * torch.sigmoid(v)[:, :, None, None]
        return F.leaky_relu(x, 0.2)

    def cell(k: int, x: Tensor, memory: Any) -> tuple[Tensor, Any]:
        name, c = f"rnns.{k}", None
        dilation = 2 ** max(k - 1, 0)
        h, c = memory if memory is not None else (None, None)

        def gate(g: str, h: Tensor | None = h) -> Tensor:
            y = conv(f"{name}.conv_x{g}", x, dilation)
            return y if h is None else y + conv(f"{name}.conv_h{g}", h)

        if unit == "conv":
            return post(f"{name}.se", conv(f"{name}.conv", x, dilation)), None
        if unit == "rnn":
            u = torch.tanh(gate(""))
        elif unit == "gru":
            z = torch.sigmoid(gate("z"))
            if h is None:
                u = z * torch.tanh(gate("n"))
            else:
                r = torch.sigmoid(gate("r"))
                u = (1 - z) * h + z * torch.tanh(gate("n", r * h))
        else:
            i, o, j = torch.sigmoid(gate("i")), torch.sigmoid(gate("o")), torch.tanh(gate("j"))
            if h is None:
                c = i * j
                u = o * c
            else:
                c = torch.sigmoid(gate("f")) * c + i * j
                u = o * torch.tanh(c)
        out = post(f"{name}.se", u)
        return out, (out, c)

    memories: list[Any] = [None] * cells
    rains: list[Tensor] = []
    for _ in range(stages):
        x = rainy - rains[-1] if rains else rainy
        for k in range(cells):
            x, memories[k] = cell(k, x, memories[k])
        rain = conv("dec.3", post("dec.1", conv("dec.0", x)))
        rains.append(rain + rains[-1].detach() if rains and composition == "add" else rain)
    return [rainy - rain for rain in rains]


VARIANTS = [
    "conv_add_se_c12d6s3",
    "rnn_full_nose_c12d6s3",
    "gru_full_se_c12d3s1",
    "gru_full_se_c12d6s3",
    "lstm_add_nose_c12d6s3",
    "gru_full_se_default",
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_original_outputs_and_gradients(golden: Read, variant: str) -> None:
    numbers = golden(f"rescan/rescan_{variant}")
    meta, tensors = numbers
    settings = meta["settings"]
    state = numbers.part("sd.")
    chosen = {"composition": settings["frame"].lower(), "stages": settings["stage_num"]}
    net = build(state, **chosen)
    assert sum(p.numel() for p in net.parameters()) == meta["params"]
    inputs = numbers.part("x_")
    assert {"even", "odd"} <= inputs.keys()
    for tag, x in inputs.items():
        with torch.no_grad():
            stages = net.forward_stages(x)
        assert len(stages) == settings["stage_num"]
        for i, estimate in enumerate(stages):
            torch.testing.assert_close(x - estimate, tensors[f"out_{tag}.{i}"], rtol=0, atol=1e-5)
    if "B_even" not in tensors:
        return
    net, rainy, clean = net.double(), inputs["even"].double(), tensors["B_even"].double()
    errors = torch.stack([F.mse_loss(y, clean) for y in net.forward_stages(rainy)])
    torch.testing.assert_close(errors.float(), tensors["loss_even.per_stage"], rtol=1e-5, atol=0)
    errors.sum().backward()
    given = numbers.part("grad.")
    _, expected = convert_reference(
        {k: given.get(k, torch.zeros_like(v)) for k, v in state.items()}, "rgb"
    )
    for name, p in net.named_parameters():
        gradient = torch.zeros_like(p) if p.grad is None else p.grad
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(
            gradient.float(), expected[name], rtol=0, atol=1e-4 * scale + 1e-12
        )


def test_original_training_run(golden: Read) -> None:
    numbers = golden("rescan/rescan_train_gru_full_c12d6s3")
    meta, tensors = numbers
    net = build(numbers.part("sd0."), stages=3)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for expected in meta["losses"]:
        losses = torch.stack(
            [F.mse_loss(y, tensors["B"]) for y in net.forward_stages(tensors["O"])]
        )
        torch.testing.assert_close(losses, torch.tensor(expected), rtol=0, atol=1e-4)
        optimiser.zero_grad()
        losses.sum().backward()
        optimiser.step()
    _, final = convert_reference(numbers.part("sd6."), "rgb")
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, final[name], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("unit", "composition", "se"), list(product(CELLS, ("full", "add"), (True, False)))
)
def test_every_setting_equals_the_equations(unit: str, composition: str, se: bool) -> None:
    state = original(unit, se=se, channels=8, depth=5)
    net = build(state, composition=composition, stages=3)
    rainy = torch.rand(2, 3, 19, 23, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = literal(state, rainy, unit, composition, 3)
        found = net.forward_stages(rainy)
    assert float((expected[0] - expected[2]).abs().max()) > 0.01
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)

    # Gradients in float64: in float32 a rounding across a rectifier's kink changes them.
    net, rainy = net.double(), rainy.double()
    leaves = {key: value.double().requires_grad_() for key, value in state.items()}
    torch.stack(literal(leaves, rainy, unit, composition, 3)).square().sum().backward()
    torch.stack(net.forward_stages(rainy)).square().sum().backward()
    gradients = {k: leaf.grad for k, leaf in leaves.items() if leaf.grad is not None}
    _, converted = convert_reference(gradients, "rgb")
    for name, p in net.named_parameters():
        scale = float(converted[name].abs().max())
        assert scale > 0
        torch.testing.assert_close(p.grad, converted[name], rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize(
    ("unit", "with_se", "without"),
    [
        ("conv", 28695, 26787),
        ("rnn", 54735, 52827),
        ("gru", 149823, 147915),
        ("lstm", 197367, 195459),
    ],
)
def test_parameter_counts(unit: str, with_se: int, without: int) -> None:
    for hidden, expected in ((6, with_se), (0, without)):
        net = Rescan(unit, se_hidden=hidden)
        assert sum(p.numel() for p in net.parameters()) == expected


@pytest.mark.parametrize("unit", CELLS)
def test_nothing_beyond_the_halo_matters(unit: str) -> None:
    """One pixel changes the middle of a row exactly as far as `halo`; without means, that is."""
    net = build(original(unit, se=False, channels=4, depth=4), stages=2).double()
    width = 2 * net.halo + 5
    rainy = torch.rand(1, 3, 2 * net.halo + 1, width, dtype=torch.float64)
    other = rainy.clone()
    other[..., net.halo, net.halo + 2] += 1
    with torch.no_grad():
        changed = (net(rainy) - net(other)).abs().amax((0, 1, 2)) > 0
    assert changed.tolist() == [False] * 2 + [True] * (2 * net.halo + 1) + [False] * 2


@pytest.mark.parametrize("unit", CELLS)
def test_the_signal_comes_through_fresh_weights(unit: str) -> None:
    """PyTorch's own weights leave about 1e-4 of it, and learning does not begin."""
    torch.manual_seed(0)
    net = Rescan(unit)
    spread: list[float] = []

    def note(cell: nn.Module, given: tuple[Tensor, ...], out: tuple[Tensor, Any]) -> None:
        spread.append(float(out[0].std((2, 3)).mean()))

    for cell in net.cells:
        cell.register_forward_hook(note)
    with torch.no_grad():
        change = (net(torch.rand(1, 3, 24, 32)) - 0.5).abs().max()
    assert min(spread) > 0.002
    assert change < 2


def test_default_halos() -> None:
    assert [Rescan(unit).halo for unit in CELLS] == [68, 68, 83, 68]


def test_colours_are_turned_round() -> None:
    state = original("gru", channels=8, depth=4)
    chosen, converted = convert_reference(state, "bgr")
    net = Rescan(**chosen)
    net.load_state_dict(converted)
    bgr = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = literal(state, bgr, "gru", "full", 4)[-1]
        torch.testing.assert_close(net(bgr.flip(1)), expected.flip(1), rtol=0, atol=1e-5)
        assert float((net(bgr) - expected).abs().max()) > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (33, 31)])
@pytest.mark.parametrize("unit", CELLS)
def test_any_size_runs_per_frame(unit: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    derainer = Derainer(PerFrame(Rescan(unit, channels=4, depth=4, stages=2)), device="cpu")
    output = derainer.push(torch.rand(3, *size))
    assert output is not None
    assert output.image.shape == (1, 3, *size)


@pytest.mark.parametrize("unit", CELLS)
def test_half_precision_stays_close(hold_in_half: Callable[..., None], unit: str) -> None:
    net = build(original(unit, channels=12, depth=5), stages=3)
    rainy = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(3))
    hold_in_half(net, rainy)


def test_recognises_the_original_only() -> None:
    for unit in CELLS:
        assert recognises(set(original(unit, channels=4, depth=3)))
    assert not recognises({"rnns.0.conv.weight", "rnns.0.conv.bias"})
    assert not recognises(set(Rescan().state_dict()))


@pytest.mark.parametrize(
    "settings",
    [{"unit": "mgu"}, {"composition": "sum"}, {"depth": 2}, {"stages": 0}],
    ids=lambda s: next(iter(s)),
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(DerainError):
        Rescan(**settings)


def test_missing_and_unexpected_tensors_are_named() -> None:
    state = original("gru", channels=4, depth=4)
    state["rnns.1.conv_q.weight"] = state.pop("rnns.1.conv_xr.weight")
    with pytest.raises(DerainError, match=r"missing rnns\.1\.conv_xr.*unexpected rnns\.1\.conv_q"):
        convert_reference(state, "bgr")
