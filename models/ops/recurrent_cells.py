"""Recurrent convolutions whose steps are the stages of one image: the cells of RESCAN and DCSFN.

Li et al., "Recurrent Squeeze-and-Excitation Context Aggregation Net for Single Image Deraining",
ECCV 2018; equal to the authors' code (XiaLiPKU/RESCAN, MIT). `cell_table` and `unit_of` read their
weight files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.ops.layers import leaky_relu
from derain.models.runtime.tiles import Mean, spatial_mean

SLOPE = 0.2  # of every leaky rectifier
CellState = tuple[Tensor, ...]  # what a cell hands on: its output h and, of an LSTM, c after it


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the means of all channels over the image.

    In place where no gradient needs the input.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, mean: Mean = spatial_mean) -> Tensor:
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(mean(x)))))[:, :, None, None]
        return x * gate if torch.is_grad_enabled() else x.mul_(gate)


class Cell(nn.Module, ABC):
    """A recurrent convolution: `cell(x, state) -> (output, state)`; state None at the start.

    Without a state the terms of the last output are left out, biases too: that is not the same as
    a state of zeros. What is handed on is the finished output, after excitation and rectifier.

    The sigmoid gates of a path are one convolution and the tanh candidate is another: all gates in
    one would be no faster, for rectifying slices of a channels-last map costs more than it saves.

    Args:
        inputs: channels of x.
        channels: channels of the output.
        dilation: of the convolutions of x; those of the state have none.
        se_hidden: inner width of squeeze-and-excitation, 0 for none.
        remembers: False where the state is always None: then no weights are kept for it.
    """

    recurs = True
    gates = 0  # sigmoid gates; those that the first step needs come first
    first_gates = 0  # how many of them the first step needs

    def __init__(
        self,
        inputs: int,
        channels: int,
        dilation: int = 1,
        se_hidden: int = 0,
        remembers: bool = True,
    ) -> None:
        super().__init__()
        gates = self.gates if remembers else self.first_gates
        self.channels = channels
        self.candidate_x = nn.Conv2d(inputs, channels, 3, padding=dilation, dilation=dilation)
        if gates:
            self.gates_x = nn.Conv2d(
                inputs, gates * channels, 3, padding=dilation, dilation=dilation
            )
        if remembers and self.recurs:
            self.candidate_h = nn.Conv2d(channels, channels, 3, padding=1)
            if gates:
                self.gates_h = nn.Conv2d(channels, gates * channels, 3, padding=1)
        self.se = SqueezeExcite(channels, se_hidden) if se_hidden else None

    def finish(self, u: Tensor, mean: Mean) -> Tensor:
        """Squeeze-and-excitation, then the rectifier; u is not to be used again."""
        return leaky_relu(u if self.se is None else self.se(u, mean), SLOPE)

    def open(self, x: Tensor, state: CellState | None) -> tuple[Tensor, ...]:
        """The sigmoid gates, (B, C, H, W) each."""
        if state is None:
            conv, n = self.gates_x, self.first_gates * self.channels
            assert conv.bias is not None
            weight, bias = conv.weight[:n], conv.bias[:n]
            y = F.conv2d(x, weight, bias, padding=conv.padding, dilation=conv.dilation)
        else:
            y = self.gates_x(x).add_(self.gates_h(state[0]))
        return y.sigmoid_().split(self.channels, 1)

    @abstractmethod
    def forward(
        self, x: Tensor, state: CellState | None = None, mean: Mean = spatial_mean
    ) -> tuple[Tensor, CellState | None]:
        """x (B, inputs, H, W), state of (B, C, H, W) -> output (B, C, H, W) and state.

        Args:
            x: (B, inputs, H, W).
            state: of the step before, (B, C, H, W) each; None at the start.
            mean: takes (B, C, h, w) to (B, C), over the whole image where x is of a tile.
        """


class ConvCell(Cell):
    """No hidden state: out = finish(X x)."""

    recurs = False

    def forward(
        self, x: Tensor, state: CellState | None = None, mean: Mean = spatial_mean
    ) -> tuple[Tensor, CellState | None]:
        return self.finish(self.candidate_x(x), mean), None


class RNNCell(Cell):
    """out = finish(tanh(X x + H h))."""

    def forward(
        self, x: Tensor, state: CellState | None = None, mean: Mean = spatial_mean
    ) -> tuple[Tensor, CellState | None]:
        u = self.candidate_x(x)
        if state is not None:
            u = u.add_(self.candidate_h(state[0]))
        out = self.finish(u.tanh_(), mean)
        return out, (out,)


class GRUCell(Cell):
    """n = tanh(X_n x + H_n (r h)), out = finish((1 - z) h + z n); finish(z n) at the start.

    The reset gate r works before the convolution H_n, and z weighs the new, both unlike cuDNN.
    """

    gates, first_gates = 2, 1  # z, r

    def forward(
        self, x: Tensor, state: CellState | None = None, mean: Mean = spatial_mean
    ) -> tuple[Tensor, CellState | None]:
        u = self.candidate_x(x)
        if state is None:
            (z,) = self.open(x, None)
            u = u.tanh_() * z
        else:
            z, r = self.open(x, state)
            h = state[0]
            u = torch.lerp(h, u.add_(self.candidate_h(r * h)).tanh_(), z)
        out = self.finish(u, mean)
        return out, (out,)


class LSTMCell(Cell):
    """c' = f c + i j, out = finish(o tanh(c')); at the start c' = i j and finish(o c'), no tanh."""

    gates, first_gates = 3, 2  # i, o, f

    def forward(
        self, x: Tensor, state: CellState | None = None, mean: Mean = spatial_mean
    ) -> tuple[Tensor, CellState | None]:
        j = self.candidate_x(x)
        if state is None:
            i, o = self.open(x, None)
            c = i * j.tanh_()
            u = o * c
        else:
            i, o, f = self.open(x, state)
            h, c = state
            c = (f * c).addcmul_(i, j.add_(self.candidate_h(h)).tanh_())
            u = o * torch.tanh(c)
        out = self.finish(u, mean)
        return out, (out, c)


CELLS: dict[str, type[Cell]] = {
    "conv": ConvCell,
    "rnn": RNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
}
# Letters of the original's gates, in our order: those of `gates_*`, then that of `candidate_*`.
LETTERS = {"conv": ("", ""), "rnn": ("", ""), "gru": ("zr", "n"), "lstm": ("iof", "j")}


def cell_table(ours: str, theirs: str, unit: str, remembers: bool = True) -> dict[str, list[str]]:
    """Which tensors of the original make each tensor of a cell, stacked in this order.

    Args:
        ours: prefix of our cell's tensors.
        theirs: prefix of the original's.
        unit: "conv", "rnn", "gru" or "lstm".
        remembers: whether the cell ever has a state.
    """
    letters, candidate = LETTERS[unit]
    used = letters if remembers else letters[: CELLS[unit].first_gates]
    table = {}
    for path in "xh" if remembers and unit != "conv" else "x":
        stem = f"{theirs}.conv" if unit == "conv" else f"{theirs}.conv_{path}"
        for kind in ("weight", "bias"):
            table[f"{ours}.candidate_{path}.{kind}"] = [f"{stem}{candidate}.{kind}"]
            if used:
                table[f"{ours}.gates_{path}.{kind}"] = [f"{stem}{g}.{kind}" for g in used]
    return table


def unit_of(keys: set[str], cell: str) -> str:
    """The kind of the original's cell with this name."""
    for unit, probe in (("lstm", "conv_xj"), ("gru", "conv_xz"), ("rnn", "conv_x")):
        if f"{cell}.{probe}.weight" in keys:
            return unit
    return "conv"
