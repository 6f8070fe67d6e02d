"""DCSFN against the original's numbers, and every setting against a literal forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models import Derainer
from derain.models.errors import DerainError
from derain.models.networks.dcsfn import Block, Dcsfn, convert_reference, recognises
from derain.models.networks.per_frame import PerFrame
from derain.models.ops.key_tables import collect

Read = Callable[[str], Any]
GATES = {"rnn": [""], "gru": ["z", "r", "n"], "lstm": ["f", "i", "o", "j"]}
SMALL = {"channels": 4, "blocks": 2, "convs": 2}
VARIANTS = [
    {"unit": "gru", "scales": 4},
    {"unit": "gru", "scales": 3},
    {"unit": "gru", "scales": 2},
    {"unit": "lstm", "scales": 4},
    {"unit": "rnn", "scales": 4},
    {"unit": "lstm", "scales": 2},
    {"cross": False, "scales": 3},
    {"single": True, "scales": 4},
    {"single": True, "scales": 2, "convs": 1, "blocks": 3},
]


def build(state: dict[str, Tensor], channel_order: str = "rgb") -> Dcsfn:
    settings, converted = convert_reference(state, channel_order)
    net = Dcsfn(**settings)
    net.load_state_dict(converted)
    return net


def original(
    channels: int = 20,
    blocks: int = 16,
    convs: int = 4,
    scales: int = 4,
    unit: str = "gru",
    cross: bool = True,
    single: bool = False,
) -> dict[str, Tensor]:
    """Random weights under the original's names, those that it never uses among them."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def add(name: str, out: int, inputs: int, kernel: int, gain: float = 1.4) -> None:
        shape = (out, inputs, kernel, kernel)
        scale = gain / (inputs * kernel**2) ** 0.5
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * scale
        state[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.1

    add("convert.0", channels, 3, 3)
    for role in ("encoder", "decoder"):
        for name in [role] if single else [f"{role}_scale{s}" for s in (1, 2, 4)]:
            for i in range(blocks):
                for s in (1, 2, 4, 8)[:scales]:
                    for j in range(convs):
                        add(f"{name}.units.{i}.scale{s}.{j}.0", channels, channels, 3)
                for pair in ("21", "42", "84")[: scales - 1]:
                    add(f"{name}.units.{i}.fusion{pair}.0", channels, 2 * channels, 1)
                add(f"{name}.units.{i}.fusion_all.0", channels, scales * channels, 1, 0.5)
                add(f"{name}.conv1x1.{i}.0", channels, (i + 2) * channels, 1, 1.0)
    if not single:
        for sweep in (1, 2):
            for s in (1, 2, 4):
                for path in "xh":
                    for gate in GATES[unit]:
                        add(f"rec{sweep}_{s}.conv_{path}{gate}", channels, channels, 3)
            if cross:
                add(f"fusion_{sweep}_2_1.0", channels, 2 * channels, 1)
                add(f"fusion_{sweep}_2_2.0", channels, 2 * channels, 1)
    add("merge.0", 3, channels * (1 if single else 3), 1)
    add("merge.2", 3, 3, 3, 0.5)
    return state


def literal(state: dict[str, Tensor], rainy: Tensor) -> Tensor:
    """The equations as they stand: every resize and concatenation, a convolution for each gate."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def act(name: str, *parts: Tensor) -> Tensor:
        return F.leaky_relu(conv(name, torch.cat(parts, 1) if parts[1:] else parts[0]), 0.2)

    def to(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[-2:], mode="nearest")

    def block(name: str, x: Tensor) -> Tensor:
        scales = [s for s in (8, 4, 2, 1) if f"{name}.scale{s}.0.0.weight" in state]
        results: list[Tensor] = []
        for s in scales:
            y = F.max_pool2d(x, s)
            if results:
                y = act(f"{name}.fusion{2 * s}{s}.0", y, to(results[-1], y))
            j = 0
            while f"{name}.scale{s}.{j}.0.weight" in state:
                y = act(f"{name}.scale{s}.{j}.0", y)
                j += 1
            results.append(y)
        return act(f"{name}.fusion_all.0", *(to(y, x) for y in reversed(results))) + x

    def dense(name: str, x: Tensor, skips: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        parts, i = [x], 0
        while f"{name}.conv1x1.{i}.0.weight" in state:
            parts.append(block(f"{name}.units.{i}", x if skips is None else x + skips[i]))
            x = act(f"{name}.conv1x1.{i}.0", *parts)
            i += 1
        return x, parts[1:]

    def cell(name: str, x: Tensor, memory: list[Tensor] | None) -> list[Tensor]:
        h = memory[0] if memory else None

        def gate(g: str, h: Tensor | None) -> Tensor:
            y = conv(f"{name}.conv_x{g}", x)
            return y if h is None else y + conv(f"{name}.conv_h{g}", h)

        if f"{name}.conv_xj.weight" in state:
            i, o = torch.sigmoid(gate("i", h)), torch.sigmoid(gate("o", h))
            c = i * torch.tanh(gate("j", h))
            if memory is None:
                return [F.leaky_relu(o * c, 0.2), c]
            c = torch.sigmoid(gate("f", h)) * memory[1] + c
            return [F.leaky_relu(o * torch.tanh(c), 0.2), c]
        if f"{name}.conv_xz.weight" in state:
            z = torch.sigmoid(gate("z", h))
            if h is None:
                return [F.leaky_relu(z * torch.tanh(gate("n", None)), 0.2)]
            r = torch.sigmoid(gate("r", h))
            return [F.leaky_relu((1 - z) * h + z * torch.tanh(gate("n", r * h)), 0.2)]
        return [F.leaky_relu(torch.tanh(gate("", h)), 0.2)]

    def fuse(sweep: int, first: list[Tensor], second: list[Tensor], like: Tensor) -> list[Tensor]:
        pairs = enumerate(zip(first, second, strict=True), 1)
        return [act(f"fusion_{sweep}_2_{n}.0", to(a, like), to(b, like)) for n, (a, b) in pairs]

    c = act("convert.0", rainy)
    if "encoder.conv1x1.0.0.weight" in state:
        encoded, skips = dense("encoder", c, None)
        decoded, _ = dense("decoder", encoded, skips)
        return rainy - conv("merge.2", act("merge.0", decoded))
    e1, k1 = dense("encoder_scale1", c, None)
    e2, k2 = dense("encoder_scale2", F.max_pool2d(c, 2), None)
    e4, k4 = dense("encoder_scale4", F.max_pool2d(c, 4), None)
    if "fusion_1_2_1.0.weight" in state:
        h4 = cell("rec1_4", e4, None)
        h2 = cell("rec1_2", e2, [to(m, e2) for m in h4])
        h1 = cell("rec1_1", e1, fuse(1, h2, h4, e1))
        g1 = cell("rec2_1", h1[0], None)
        g2 = cell("rec2_2", h2[0], [to(m, e2) for m in g1])
        g4 = cell("rec2_4", h4[0], fuse(2, g1, g2, e4))
        e1, e2, e4 = g1[0], g2[0], g4[0]
    d1 = dense("decoder_scale1", e1, k1)[0]
    d2 = dense("decoder_scale2", e2, k2)[0]
    d4 = dense("decoder_scale4", e4, k4)[0]
    return rainy - conv("merge.2", act("merge.0", d1, to(d2, d1), to(d4, d1)))


def negative_ssim(a: Tensor, b: Tensor) -> Tensor:
    """The original's training loss: 11x11 Gaussian window, zero padding, not clamped."""
    x = torch.arange(11, dtype=a.dtype) - 5
    g = torch.exp(-(x**2) / (2 * 1.5**2))
    window = (g[:, None] * g / g.sum() ** 2).expand(3, 1, 11, 11)

    def mean(y: Tensor) -> Tensor:
        return F.conv2d(y, window, padding=5, groups=3)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    ratio = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return -ratio.mean()


def test_original_outputs_and_gradients(golden: Read) -> None:
    numbers = golden("dcsfn/dcsfn_gru_c8n3v2_scale4")
    meta, tensors = numbers
    state = numbers.part("sd.")
    net = build(state)
    unused = set(meta["params_without_grad"])
    used = meta["params"] - sum(state[key].numel() for key in unused)
    assert sum(p.numel() for p in net.parameters()) == used
    for tag, x in numbers.part("x_").items():
        with torch.no_grad():
            torch.testing.assert_close(net(x), tensors[f"out_{tag}"], rtol=0, atol=1e-5)
    # In float64: in float32 a rounding across a kink changes some gradients by percents.
    loss = negative_ssim(net.double()(tensors["x_even"].double()), tensors["B_even"].double())
    given_loss = tensors["loss_even.neg_ssim"].squeeze()
    torch.testing.assert_close(loss.float(), given_loss, rtol=0, atol=1e-5)
    loss.backward()
    given = numbers.part("grad.")
    assert given.keys() | unused == state.keys()
    _, expected = convert_reference(given, "rgb")
    for name, p in net.named_parameters():
        scale = float(expected[name].abs().max())
        assert p.grad is not None
        torch.testing.assert_close(p.grad.float(), expected[name], rtol=0, atol=1e-4 * scale)


def test_original_intermediate_maps(golden: Read) -> None:
    numbers = golden("dcsfn/dcsfn_gru_c8n3v2_scale4")
    net = build(numbers.part("sd."))
    names = {}
    assert net.cross is not None
    for s in range(3):
        names[f"encoder_scale{2**s}"] = net.encoders[s]
        names[f"decoder_scale{2**s}"] = net.decoders[s]
        names[f"rec1_{2**s}"] = net.cross.refine[s]
        names[f"rec2_{2**s}"] = net.cross.coarsen[s]
    names["merge"] = net.rain
    seen: dict[str, Tensor] = {}
    for name, module in names.items():
        module.register_forward_hook(
            lambda _, __, out, name=name: seen.update(
                {name: out if isinstance(out, Tensor) else out[0]}
            )
        )
    for tag in ("even", "odd"):
        with torch.no_grad():
            net(numbers.tensors[f"x_{tag}"])
        for name in names:
            expected = numbers.tensors[f"tap_{tag}.{name}"]
            torch.testing.assert_close(seen[name], expected, rtol=0, atol=1e-5)


def test_original_block(golden: Read) -> None:
    numbers = golden("dcsfn/dcsfn_inner_block_c6v2")
    block = Block(6, convs=2, scales=4)
    names = {"all": "fusion_all.0"}
    for k in range(4):
        names |= {f"scales.{k}.{j}": f"scale{2**k}.{j}.0" for j in range(2)}
    names |= {f"informs.{k}": f"fusion{2 ** (k + 1)}{2**k}.0" for k in range(3)}
    table = {
        f"{a}.{kind}": [f"{b}.{kind}"] for a, b in names.items() for kind in ("weight", "bias")
    }
    block.load_state_dict(collect("a block", numbers.part("sd."), table))
    inputs = numbers.part("x_")
    assert len(inputs) == 4
    for size, x in inputs.items():
        with torch.no_grad():
            torch.testing.assert_close(block(x), numbers.tensors[f"out_{size}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_setting_equals_the_equations(settings: dict[str, Any]) -> None:
    settings = SMALL | settings
    state = original(**settings)
    net = build(state)
    assert {k: convert_reference(state, "rgb")[0][k] for k in settings} == settings
    generator = torch.Generator().manual_seed(1)
    sizes = [(2 * net.minimum, net.minimum), (net.minimum + 5, net.minimum + 11)]
    for height, width in sizes:
        rainy = torch.rand(2, 3, height, width, generator=generator)
        with torch.no_grad():
            expected = literal(state, rainy)
            torch.testing.assert_close(net(rainy), expected, rtol=0, atol=1e-5)
        assert float((expected - rainy).std()) > 0.02

    # Gradients in float64: in float32 a rounding across a kink changes some by percents.
    net, rainy = net.double(), rainy.double()
    leaves = {key: value.double().requires_grad_() for key, value in state.items()}
    literal(leaves, rainy).square().sum().backward()
    net(rainy).square().sum().backward()
    gradients = {k: torch.zeros_like(x) if x.grad is None else x.grad for k, x in leaves.items()}
    _, converted = convert_reference(gradients, "rgb")
    for name, p in net.named_parameters():
        scale = float(converted[name].abs().max())
        assert scale > 0
        torch.testing.assert_close(p.grad, converted[name], rtol=0, atol=1e-9 * scale)
    never = {name for name, x in leaves.items() if x.grad is None}
    total = sum(x.numel() for name, x in state.items() if name not in never)
    assert sum(p.numel() for p in net.parameters()) == total


@pytest.mark.parametrize(
    ("settings", "theirs", "unused"),
    [
        ({}, 6453147, 30600),
        ({"unit": "lstm"}, 6496587, 2 * 5 * 3620),
        ({"unit": "rnn"}, 6366267, 2 * (1640 // 2 + 3620)),
        ({"scales": 3}, 4945947, 30600),
        ({"scales": 2}, 3438747, 30600),
        ({"cross": False}, 6449867, 130320),
        ({"single": True}, 2106947, 0),
    ],
    ids=str,
)
def test_parameter_counts(settings: dict[str, Any], theirs: int, unused: int) -> None:
    """The original's parameters less those that it never computes with."""
    net = Dcsfn(**settings)
    assert sum(p.numel() for p in net.parameters()) == theirs - unused


def test_colours_are_turned_round() -> None:
    state = original(**SMALL, scales=2)
    net = build(state, "bgr")
    bgr = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = literal(state, bgr)
        torch.testing.assert_close(net(bgr.flip(1)), expected.flip(1), rtol=0, atol=1e-5)
        assert float((net(bgr) - expected).abs().max()) > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 31)])
@pytest.mark.parametrize("settings", VARIANTS[:4], ids=str)
def test_any_size_runs_per_frame(settings: dict[str, Any], size: tuple[int, int]) -> None:
    derainer = Derainer(PerFrame(build(original(**SMALL | settings))), device="cpu")
    output = derainer.push(torch.rand(3, *size))
    assert output is not None
    assert output.image.shape == (1, 3, *size)


def test_least_sizes() -> None:
    for settings, least in (
        ({}, 32),
        ({"scales": 3}, 16),
        ({"scales": 2}, 8),
        ({"single": True}, 8),
    ):
        net = build(original(**SMALL | settings))
        assert (net.minimum, net.multiple) == (least, least)
        with torch.no_grad():
            assert net(torch.rand(1, 3, least, least)).shape == (1, 3, least, least)
            with pytest.raises(DerainError, match=f"at least {least}"):
                net(torch.rand(1, 3, least, least - 1))
    assert Dcsfn(**SMALL, native=True).multiple == 1


def test_half_precision_stays_close(hold_in_half: Callable[..., None]) -> None:
    net = build(original(**SMALL | {"blocks": 4}))
    rainy = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    hold_in_half(net, rainy)


def test_recognises_the_original_only() -> None:
    for settings in VARIANTS:
        assert recognises(set(original(**SMALL | settings)))
    assert not recognises({"convert.0.weight"})
    assert not recognises(set(Dcsfn(**SMALL).state_dict()))


@pytest.mark.parametrize("settings", [{"unit": "conv"}, {"scales": 1}, {"blocks": 0}], ids=str)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(DerainError):
        Dcsfn(**settings)


def test_missing_and_unexpected_tensors_are_named() -> None:
    state = original(**SMALL)
    state["decoder_scale1.odd"] = state.pop("decoder_scale1.units.1.fusion_all.0.bias")
    message = r"missing decoder_scale1\.units\.1\.fusion_all\.0\.bias, unexpected .*\.odd"
    with pytest.raises(DerainError, match=message):
        convert_reference(state, "bgr")
