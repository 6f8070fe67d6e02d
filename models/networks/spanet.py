"""SPANet: a single-image derainer that steers residual blocks by a map of where rain is.

Wang et al., "Spatial Attentive Single-Image Deraining with a High Quality Real Rain Dataset",
CVPR 2019; exact to the released code, except that it takes RGB. The four-directional recurrence of
the attention is in irnn.py; the adapter that makes a video model of it in per_frame.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.networks.irnn import DIRECTIONS, DirectionalRecurrence
from derain.models.ops.key_tables import collect
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel


class SPANet(SingleImageModel):
    """Rainy RGB in, derained RGB out: no residual to the input and no clamp inside.

    Args:
        channels: width of every map.
        direction_gate: weigh the four directions by learned maps, as the paper describes. The
            released code computes these maps and throws them away, so its weights need False.
    """

    multiple = 1
    # The scans cross the whole frame, so tiles are an approximation: this halo left 56 dB between
    # them on a frame of real rain (64 pixels 50 dB, 128 pixels 64 dB).
    halo = 96

    def __init__(self, channels: int = 32, direction_gate: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        blocks = [ResidualBlock(channels) for _ in range(17)]
        self.blocks = nn.ModuleList(blocks)
        self.attention = SpatialAttention(channels, direction_gate)
        self.head = nn.Conv2d(channels, 3, 3, padding=1, bias=False)
        self._start_as_copy(blocks)

    @torch.no_grad()
    def _start_as_copy(self, blocks: list[ResidualBlock]) -> None:
        """Three channels carry the image through; without it learning to copy takes long."""
        self.stem.weight[:3].zero_()
        self.head.weight.zero_()
        for colour in range(3):
            self.stem.weight[colour, colour, 1, 1] = 1
            self.head.weight[colour, colour, 1, 1] = 1
        for block in blocks:
            block.leave.weight.mul_(0.1)

    def forward(self, rainy: Tensor) -> Tensor:
        """Derain (B, 3, H, W), RGB in [0, 1]; the result may leave that range a little."""
        return self.forward_with_attention(rainy)[0]

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The derained image and, by name, the maps (B, 1, H, W) in [0, 1] of where rain was seen.

        The first of the four is the one that is trained.
        """
        image, attention = self.forward_with_attention(rainy)
        return image, {f"attention{i}": a for i, a in enumerate(attention, 1)}

    def forward_with_attention(self, rainy: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The derained image and its four attention maps, in one pass."""
        x = F.relu_(self.stem(rainy.contiguous(memory_format=torch.channels_last)))
        attention: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            if i % 3 == 0 and 3 <= i < 15:
                attention.append(self.attention(x))
            x = block(x, attention[-1] if 3 <= i < 15 else None)
        return self.head(x), attention


class ResidualBlock(nn.Module):
    """x -> relu(f(x) * gate + x), with f of a 1x1, a dilated 3x3 and a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1, bias=False)
        self.middle = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, bias=False)
        self.leave = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, gate: Tensor | None) -> Tensor:
        y = self.leave(F.relu_(self.middle(F.relu_(self.enter(x)))))
        return F.relu_(y + x if gate is None else torch.addcmul(x, y, gate))


class SpatialAttention(nn.Module):
    """Where rain is: (B, C, H, W) to a map (B, 1, H, W) in [0, 1], by two rounds of scans."""

    def __init__(self, channels: int, direction_gate: bool) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.scan1 = DirectionalRecurrence(channels)
        self.mix1 = nn.Conv2d(4 * channels, channels, 3, padding=1, bias=False)
        self.scan2 = DirectionalRecurrence(channels)
        self.mix2 = nn.Conv2d(4 * channels, channels, 3, padding=1, bias=False)
        self.leave = nn.Conv2d(channels, 1, 1, bias=False)
        half = channels // 2
        self.gate = (
            nn.Sequential(
                nn.Conv2d(channels, half, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, half, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(half, len(DIRECTIONS), 1),
                nn.Sigmoid(),
            )
            if direction_gate
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = None if self.gate is None else self.gate(x)

        def scan(recurrence: DirectionalRecurrence, features: Tensor) -> Tensor:
            y = recurrence(features)
            if gate is None:
                return y
            by_direction = y.permute(0, 2, 3, 1).unflatten(3, (len(DIRECTIONS), -1))
            weighed = by_direction * gate.permute(0, 2, 3, 1)[..., None]
            return weighed.flatten(3).permute(0, 3, 1, 2)

        y = self.mix1(scan(self.scan1, self.enter(x)))
        y = F.relu_(self.mix2(scan(self.scan2, y)))
        return torch.sigmoid(self.leave(y))


def recognises(keys: set[str]) -> bool:
    """Whether these look like the keys of the original's state dict."""
    return {"SAM1.irnn1.left_weight.weight", "res_block1.group1.conv1.weight"} <= keys


def convert_reference(
    state_dict: dict[str, Tensor], channel_order: str, direction_gate: bool = False
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Turn the original's state dict into (settings, state dict) of `SPANet`.

    Args:
        state_dict: tensors under the original's names.
        channel_order: "bgr" as the original was trained, turned to RGB here; "rgb" is kept.
        direction_gate: keep the weights of the gate, which the original stores but never trained.

    Raises:
        DerainError: a tensor is missing or unexpected.
    """
    table = {"stem.weight": ["conv_in.0.weight"], "head.weight": ["conv_out.0.weight"]}
    for i in range(17):
        for ours, theirs in (("enter", "conv1"), ("middle", "conv2"), ("leave", "conv3")):
            table[f"blocks.{i}.{ours}.weight"] = [f"res_block{i + 1}.group1.{theirs}.weight"]
    parts = {"enter": "conv_in", "mix1": "conv2", "mix2": "conv3", "leave": "conv_out"}
    for ours, theirs in parts.items():
        table[f"attention.{ours}.weight"] = [f"SAM1.{theirs}.weight"]
    gate: dict[str, list[str]] = {}
    for kind in ("weight", "bias"):
        for n in (1, 2):
            scan = [f"SAM1.irnn{n}.{direction}_weight.{kind}" for direction in DIRECTIONS]
            table[f"attention.scan{n}.{kind}"] = scan
        for i in range(3):
            gate[f"attention.gate.{2 * i}.{kind}"] = [f"SAM1.attention_layer.conv{i + 1}.{kind}"]
    unused = [key for keys in gate.values() for key in keys]
    state = collect("SPANet", state_dict, table | gate if direction_gate else table, unused)
    for n in (1, 2):
        for kind in ("weight", "bias"):
            name = f"attention.scan{n}.{kind}"
            state[name] = state[name].reshape(len(DIRECTIONS), -1)
    if channel_order == "bgr":
        state["stem.weight"] = state["stem.weight"].flip(1)
        state["head.weight"] = state["head.weight"].flip(0)
    channels = state["stem.weight"].shape[0]
    return {"channels": channels, "direction_gate": direction_gate}, state
