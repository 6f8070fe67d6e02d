"""The two-stage network written down literally, to compare with: for tests and the bench alone.

Three-dimensional convolutions, grouped convolutions, NCHW, all heads, on state dicts in the
authors' key layout (the tables in the specification of the two-stage recurrent network).
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Pair = tuple[Tensor, Tensor]


def shapes(n: int, blocks: int) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of one generator of width n."""
    table: dict[str, tuple[int, ...]] = {}
    for p in ("", "du_"):
        table[f"{p}conv1.conv2d"] = (5 * n, 3, 3, 3)
        taps = ((2 * n, n), (2 * n, 2 * n), (4 * n, 2 * n), (4 * n, 4 * n))
        for level, (outputs, inputs) in enumerate(taps, 2):
            table[f"{p}conv{level}"] = (outputs, inputs, 2, 3, 3)
        for level, wide in enumerate((n, 2 * n, 2 * n, 4 * n, 4 * n), 1):
            for k in (1, 2):
                table[f"{p}res{level}.conv{k}.conv2d"] = ((6 - level) * wide, wide, 3, 3)
    for p in ("", "alpha_"):
        names = [(f"ResBlocks.{i}", 4 * n) for i in range(blocks)]
        for name, wide in [*names, ("dres2", 2 * n), ("dres1", n)]:
            for k in (1, 2):
                table[f"{p}{name}.conv{k}.conv2d"] = (wide, wide, 3, 3)
        table[f"{p}convlstm.Gates"] = (16 * n, 8 * n, 3, 3)
        table[f"{p}deconv3.conv2d"] = (2 * n, 4 * n, 3, 3)
        table[f"{p}deconv2.conv2d"] = (n, 2 * n, 3, 3)
        table[f"{p}deconv1.conv2d"] = table[f"{p}output1.conv2d"] = (n, n, 3, 3)
        table[f"{p}output2.conv2d"] = (3, n, 1, 1)
    return table


def rule_weights(role: str, n: int = 32, blocks: int = 5) -> Weights:
    """Weights made from a role's and a key's name, as the golden numbers were."""
    weights: Weights = {}
    for name, shape in shapes(n, blocks).items():
        for kind in ("weight", "bias"):
            key, size = f"{name}.{kind}", shape if kind == "weight" else shape[:1]
            random = np.random.RandomState(zlib.crc32(f"{role}.{key}".encode()))
            z = random.standard_normal(size).astype(np.float32)
            fan = float(np.prod(shape[1:]))
            if kind == "bias":
                z = 0.05 * z
                if key == "output2.conv2d.bias":
                    z = z + (0.75 if role == "haze" else 0.5)
                if key == "alpha_output2.conv2d.bias":
                    z = z + 0.85
            elif "Gates" in key:
                z = z * 0.6 / np.sqrt(fan)
            elif "output2" in key:
                z = z * 0.04 / np.sqrt(fan)
            else:
                z = z * np.sqrt(2 / 1.04 / fan)
                if key.endswith("conv2.conv2d.weight") and "res" in key.lower():
                    z = z * 0.4
            weights[key] = torch.from_numpy(np.asarray(z, dtype=np.float32))
    return weights


def _conv(w: Weights, name: str, x: Tensor, groups: int = 1) -> Tensor:
    weight = w[f"{name}.weight"]
    pad = weight.shape[-1] // 2
    return F.conv2d(x, weight, w[f"{name}.bias"], padding=pad, groups=groups)


def _lrelu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _residual(w: Weights, name: str, x: Tensor, groups: int = 1) -> Tensor:
    inner = _lrelu(_conv(w, f"{name}.conv1.conv2d", x, groups))
    return x + _conv(w, f"{name}.conv2.conv2d", inner, groups)


def _tap(w: Weights, name: str, x: Tensor, slices: int, stride: int) -> Tensor:
    batch, channels, height, width = x.shape
    volume = x.view(batch, slices, channels // slices, height, width).transpose(1, 2)
    out = F.conv3d(volume, w[f"{name}.weight"], w[f"{name}.bias"], (1, stride, stride), (0, 1, 1))
    return out.transpose(1, 2).flatten(1, 2)


def _encode(w: Weights, p: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    e1 = _residual(w, f"{p}res1", _lrelu(_conv(w, f"{p}conv1.conv2d", x, 5)), 5)
    e2 = _residual(w, f"{p}res2", _lrelu(_tap(w, f"{p}conv2", e1, 5, 2)), 4)
    e3 = _residual(w, f"{p}res3", _lrelu(_tap(w, f"{p}conv3", e2, 4, 1)), 3)
    e4 = _residual(w, f"{p}res4", _lrelu(_tap(w, f"{p}conv4", e3, 3, 2)), 2)
    e5 = _residual(w, f"{p}res5", _lrelu(_tap(w, f"{p}conv5", e4, 2, 1)), 1)
    return e1, e3, e5


def lstm(w: Weights, name: str, x: Tensor, state: Pair | None) -> Pair:
    """One step of the ConvLSTM; no state is zeros."""
    if state is None:
        hidden = x.new_zeros(x.shape[0], w[f"{name}.bias"].shape[0] // 4, *x.shape[-2:])
        state = hidden, hidden
    gates = _conv(w, name, torch.cat([x, state[0]], 1))
    i, f, o, g = gates.chunk(4, 1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _up(w: Weights, name: str, x: Tensor) -> Tensor:
    x = F.pad(F.interpolate(x, scale_factor=2, mode="nearest"), (1, 1, 1, 1), mode="reflect")
    return F.conv2d(x, w[f"{name}.conv2d.weight"], w[f"{name}.conv2d.bias"])


def generator(
    w: Weights, x: Tensor, state1: Pair | None, state2: Pair | None
) -> tuple[Tensor, Tensor, Pair, Pair]:
    """x (B, 18, H, W), six slots -> both heads' images and both states."""
    n = w["output1.conv2d.bias"].shape[0]
    e1, e3, e5 = _encode(w, "", torch.cat([x[:, :6], x[:, 9:]], 1))
    _, _, f5 = _encode(w, "du_", torch.cat([x[:, :9], x[:, 12:]], 1))
    images, states = [], []
    for p, state in (("", state1), ("alpha_", state2)):
        body = e5 + f5
        blocks = len({key.split(".")[1] for key in w if key.startswith("ResBlocks.")})
        for i in range(blocks):
            body = _residual(w, f"{p}ResBlocks.{i}", body)
        state = lstm(w, f"{p}convlstm.Gates", body, state)
        d = body + state[0]
        d = d if p else d + e5
        d = _residual(w, f"{p}dres2", _lrelu(_up(w, f"{p}deconv3", d)))
        d = d if p else d + e3[:, 2 * n : 4 * n]
        d = _residual(w, f"{p}dres1", _lrelu(_up(w, f"{p}deconv2", d)))
        d = d if p else d + e1[:, 2 * n : 3 * n]
        d = _lrelu(_conv(w, f"{p}output1.conv2d", _lrelu(_conv(w, f"{p}deconv1.conv2d", d))))
        images.append(_conv(w, f"{p}output2.conv2d", d))
        states.append(state)
    return images[0], images[1], states[0], states[1]


class Literal:
    """The whole pipeline over windows, with the states as attributes."""

    def __init__(self, weights: dict[str, Weights], dtype: torch.dtype = torch.float32) -> None:
        self.weights = {r: {k: v.to(dtype) for k, v in w.items()} for r, w in weights.items()}
        self.states: dict[str, Pair | None] = dict.fromkeys(("res", "thin", "light", "s2"))
        self.outputs: list[Tensor] = []

    def step(self, window: Tensor) -> dict[str, Tensor]:
        """window (B, 5, 3, H, W) -> everything that is estimated for its middle frame."""
        f = window.unbind(1)
        x = torch.cat([f[0], f[1], f[2], f[2], f[3], f[4]], 1)
        s, w = self.states, self.weights
        hazy, _, s["res"], _ = generator(w["res"], x, s["res"], None)
        raw, airlight, s["thin"], s["light"] = generator(w["haze"], x, s["thin"], s["light"])
        t = raw[:, :1].clone()
        t[t <= 0.05] = 0.05
        recovered = ((hazy - airlight * (1 - t)) / t).detach()
        before = self.outputs[-2] if len(self.outputs) >= 2 else recovered
        last = self.outputs[-1] if self.outputs else recovered
        x = torch.cat([before, last, recovered, f[2], f[3], f[4]], 1)
        image, _, s["s2"], _ = generator(w["s2"], x, s["s2"], None)
        self.outputs = [*self.outputs[-1:], image]
        return {
            "H": hazy,
            "t_raw": raw,
            "t_clamped": t,
            "A": airlight,
            "J1": recovered,
            "out": image,
        }
