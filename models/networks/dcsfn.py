"""DCSFN: a single-image derainer of dense blocks at three scales that inform each other.

Wang et al., "DCSFN: Deep Cross-scale Fusion Network for Single Image Rain Removal", ACM Multimedia
2020; computes what the authors' code (Ohraincu/DCSFN) computes, written from its equations, except
that it takes RGB, and that an LSTM's state is resized to each scale from its own size (theirs is
resized twice where sizes do not divide). Tensors that theirs never uses are not made.

The recurrent cells are RESCAN's (rescan.py); finding out whose file it is is in convert.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.ops.key_tables import collect
from derain.models.ops.layers import convolutions
from derain.models.ops.recurrent_cells import CELLS, SLOPE, CellState, cell_table, unit_of
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel


def resize(x: Tensor, like: Tensor) -> Tensor:
    """The nearest pixels of x (B, C, h, w) at the size of `like`."""
    return x if x.shape[-2:] == like.shape[-2:] else F.interpolate(x, size=like.shape[-2:])


def mix(conv: nn.Conv2d, parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """leaky(conv(parts, resized to the size of `like` and concatenated)), conv being 1x1.

    Every part is convolved by itself at the smaller of the two sizes, for a 1x1 convolution and
    the choice of nearest pixels commute: nothing is concatenated, little is done at full size.

    Args:
        conv: 1x1.
        parts: (B, C, h, w) each, of any sizes.
        like: (B, C, H, W), whose size the result has.
    """
    if _needs_original_order(conv, parts):
        return F.leaky_relu_(conv(torch.cat([resize(part, like) for part in parts], 1)), SLOPE)
    out, bias = None, conv.bias
    for part, weight in zip(parts, conv.weight.split(parts[0].shape[1], 1), strict=True):
        if part.shape[-1] > like.shape[-1] or part.shape[-2] > like.shape[-2]:
            part = resize(part, like)
        y = resize(F.conv2d(part, weight, bias), like)
        out, bias = y if out is None else out.add_(y), None
    assert out is not None
    return F.leaky_relu_(out, SLOPE)


def mix_many(conv: nn.Conv2d, parts: Sequence[Tensor]) -> Tensor:
    """leaky(conv(concatenated parts)) for a 1x1 conv and many parts of one size, channels last.

    The concatenation of up to 17 maps would cost more time and memory than the products.
    """
    if _needs_original_order(conv, parts):
        return F.leaky_relu_(conv(torch.cat(list(parts), 1)), SLOPE)
    batch, channels, height, width = parts[0].shape
    weights = conv.weight.flatten(1).t().split(channels)
    rows = [part.permute(0, 2, 3, 1).reshape(-1, channels) for part in parts]
    assert conv.bias is not None
    out = torch.addmm(conv.bias, rows[0], weights[0])
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        out.addmm_(row, weight)
    return F.leaky_relu_(out, SLOPE).view(batch, height, width, channels).permute(0, 3, 1, 2)


def _needs_original_order(conv: nn.Conv2d, parts: Sequence[Tensor]) -> bool:
    """Whether to sum as the authors do.

    For gradients: a rounding that crosses a kink of a rectifier or a pool changes them by percents.
    In half precision: a sum would be rounded after every part.
    """
    return torch.is_grad_enabled() or parts[0].dtype != conv.weight.dtype


class Block(nn.Module):
    """Inner-scale connection block: convolutions at 1, 1/2, … of its size, coarse informs fine.

    At each scale the pooled input is mixed with the result of the next coarser scale and convolved;
    the output is the input plus a mix of all scales' results. (B, C, H, W) -> the same.
    """

    def __init__(self, channels: int, convs: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs))
            for _ in range(scales)
        )
        self.informs = nn.ModuleList(
            nn.Conv2d(2 * channels, channels, 1) for _ in range(scales - 1)
        )
        self.all = nn.Conv2d(scales * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [x]
        for _ in self.informs:
            pooled.append(F.max_pool2d(pooled[-1], 2))
        informs = convolutions(self.informs)
        scales = [each for each in self.scales if isinstance(each, nn.ModuleList)]
        results: list[Tensor] = []  # fine first
        for k in reversed(range(len(pooled))):
            y = pooled[k]
            if results:
                y = mix(informs[k], [y, results[0]], y)
            for conv in scales[k]:
                y = F.leaky_relu_(conv(y), SLOPE)
            results.insert(0, y)
        return mix(self.all, results, x) + x


class DenseBlocks(nn.Module):
    """An encoder, or a decoder when given `skips`: the input of each block mixes all before it."""

    def __init__(self, channels: int, blocks: int, convs: int, scales: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, convs, scales) for _ in range(blocks))
        self.mixes = nn.ModuleList(
            nn.Conv2d((i + 2) * channels, channels, 1) for i in range(blocks)
        )

    def forward(self, x: Tensor, skips: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The last mix, and what each block gave; skip i goes into block i, not mirrored."""
        parts = [x]
        for i, (block, conv) in enumerate(zip(self.blocks, convolutions(self.mixes), strict=True)):
            parts.append(block(x if skips is None else x + skips[i]))
            x = mix_many(conv, parts)
        return x, parts[1:]


class CrossScale(nn.Module):
    """Cells run across the scales as if these were time: coarse to fine, then fine to coarse."""

    def __init__(self, channels: int, unit: str) -> None:
        super().__init__()

        def cells(first: int) -> nn.ModuleList:
            return nn.ModuleList(
                CELLS[unit](channels, channels, remembers=k != first) for k in range(3)
            )

        def mixes() -> nn.ModuleList:
            tensors = 2 if unit == "lstm" else 1  # of a state
            return nn.ModuleList(nn.Conv2d(2 * channels, channels, 1) for _ in range(tensors))

        self.refine, self.refine_mix = cells(first=2), mixes()
        self.coarsen, self.coarsen_mix = cells(first=0), mixes()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, h, w) at the scales 1, 1/2, 1/4, finest first -> the same shapes."""
        maps = self._sweep(maps, [2, 1, 0], self.refine, self.refine_mix)
        return self._sweep(maps, [0, 1, 2], self.coarsen, self.coarsen_mix)

    @staticmethod
    def _sweep(
        maps: list[Tensor], order: list[int], cells: nn.ModuleList, mixes: nn.ModuleList
    ) -> list[Tensor]:
        first, second, third = order
        out = list(maps)
        states: list[CellState] = [()] * len(maps)
        out[first], states[first] = cells[first](maps[first])
        resized = tuple(resize(m, maps[second]) for m in states[first])
        out[second], states[second] = cells[second](maps[second], resized)
        finer, coarser = (states[k] for k in sorted((first, second)))
        mixed = tuple(
            mix(conv, [a, b], maps[third])
            for conv, a, b in zip(convolutions(mixes), finer, coarser, strict=True)
        )
        out[third], _ = cells[third](maps[third], mixed)
        return out


class Dcsfn(SingleImageModel):
    """Rainy RGB in, derained RGB out, not clamped.

    Args:
        channels: width of every map.
        blocks: blocks in each encoder and in each decoder.
        convs: 3x3 convolutions at each inner scale of a block.
        scales: inner scales of a block, 2 to 4.
        unit: "gru", "lstm" or "rnn", the cells that run across the scales.
        cross: whether the three scales inform each other.
        single: the full scale alone; then there is no crossing.
        native: feed images of any size as they are, as the authors do, whose pools then drop the
            last rows and shift the features. Otherwise `multiple` asks for padding to whole cells.

    Raises:
        DerainError: a setting is out of its range; in `forward`, an image smaller than `minimum`.
    """

    def __init__(
        self,
        channels: int = 20,
        blocks: int = 16,
        convs: int = 4,
        scales: int = 4,
        unit: str = "gru",
        cross: bool = True,
        single: bool = False,
        native: bool = False,
    ) -> None:
        super().__init__()
        if unit not in ("gru", "lstm", "rnn"):
            raise DerainError(f"'{unit}' is no unit of DCSFN; choose one of gru, lstm, rnn.")
        if scales not in (2, 3, 4) or blocks < 1 or convs < 1:
            raise DerainError("DCSFN needs 2 to 4 scales, and at least one block and convolution.")
        outer = 1 if single else 3
        self.minimum = 2 ** (outer - 1 + scales - 1)  # one pixel at the coarsest
        self.multiple = 1 if native else self.minimum
        # In principle any pixel can reach thousands further; with random weights what is beyond
        # this changes the default network's output by less than 0.0005.
        self.halo = 4 * self.minimum

        def dense() -> nn.ModuleList:
            return nn.ModuleList(DenseBlocks(channels, blocks, convs, scales) for _ in range(outer))

        self.lift = nn.Conv2d(3, channels, 3, padding=1)
        self.encoders = dense()
        self.cross = CrossScale(channels, unit) if cross and not single else None
        self.decoders = dense()
        self.merge = nn.Conv2d(outer * channels, 3, 1)
        self.rain = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, rainy: Tensor) -> Tensor:
        """Derain (B, 3, H, W), RGB in [0, 1]; the result may leave that range a little."""
        if min(rainy.shape[-2:]) < self.minimum:
            raise DerainError(
                f"DCSFN takes images of at least {self.minimum} x {self.minimum} pixels; "
                "pad this one."
            )
        if not torch.is_grad_enabled():  # else as the authors do, see _needs_original_order
            rainy = rainy.contiguous(memory_format=torch.channels_last)
        x = F.leaky_relu_(self.lift(rainy), SLOPE)
        maps, skips = [], []
        for encoder in self.encoders:
            encoded, given = encoder(x)
            maps.append(encoded)
            skips.append(given)
            if len(maps) < len(self.encoders):
                x = F.max_pool2d(x, 2)
        if self.cross is not None:
            maps = self.cross(maps)
        decoded = [
            decoder(x, given)[0]
            for decoder, x, given in zip(self.decoders, maps, skips, strict=True)
        ]
        return rainy - self.rain(mix(self.merge, decoded, decoded[0])).to(rainy.dtype)

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The derained image, which is its one stage's estimate, too."""
        image = self(rainy)
        return image, {"stage1": image}


def recognises(keys: set[str]) -> bool:
    """Whether these look like the keys of the original's state dict."""
    return "convert.0.weight" in keys and any(key.endswith("fusion_all.0.weight") for key in keys)


def convert_reference(
    state_dict: dict[str, Tensor], channel_order: str, native: bool = False
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Turn the original's state dict into (settings, state dict) of `Dcsfn`.

    Args:
        state_dict: tensors under the original's names.
        channel_order: "bgr" as the original was trained, turned to RGB here; "rgb" is kept.
        native: as in `Dcsfn`; what the network computes of an image is the same.

    Raises:
        DerainError: a tensor is missing or unexpected.
    """
    keys = set(state_dict)
    single = "encoder.conv1x1.0.0.weight" in keys
    encoder = "encoder" if single else "encoder_scale1"
    settings: dict[str, Any] = {
        "blocks": _count(keys, f"{encoder}.conv1x1.{{}}.0.weight"),
        "convs": _count(keys, f"{encoder}.units.0.scale1.{{}}.0.weight"),
        "scales": sum(f"{encoder}.units.0.scale{2**k}.0.0.weight" in keys for k in range(4)),
        "unit": "gru" if single else unit_of(keys, "rec1_1"),
        "cross": "fusion_1_2_1.0.weight" in keys,
        "single": single,
        "native": native,
    }
    table = {
        f"{ours}.{kind}": [f"{theirs}.{kind}"]
        for ours, theirs in _convolutions(settings).items()
        for kind in ("weight", "bias")
    }
    if settings["cross"]:
        for ours, theirs, first in (("refine", "rec1", 2), ("coarsen", "rec2", 0)):
            for k in range(3):
                cell, original = f"cross.{ours}.{k}", f"{theirs}_{2**k}"
                table |= cell_table(cell, original, settings["unit"], remembers=k != first)
    unused = {key for key in keys if key.startswith(("rec1_", "rec2_", "fusion_"))}
    state = collect("DCSFN", state_dict, table, unused)
    if channel_order == "bgr":
        state["lift.weight"] = state["lift.weight"].flip(1)
        state["rain.weight"] = state["rain.weight"].flip(0)
        state["rain.bias"] = state["rain.bias"].flip(0)
    return {"channels": len(state["lift.weight"]), **settings}, state


def _count(keys: set[str], pattern: str) -> int:
    """How many of pattern.format(0), pattern.format(1), … there are."""
    n = 0
    while pattern.format(n) in keys:
        n += 1
    return n


def _convolutions(settings: dict[str, Any]) -> dict[str, str]:
    """Our name of each convolution outside the cells -> the original's."""
    names = {"lift": "convert.0", "merge": "merge.0", "rain": "merge.2"}
    if settings["cross"]:
        for k in range(2 if settings["unit"] == "lstm" else 1):
            names[f"cross.refine_mix.{k}"] = f"fusion_1_2_{k + 1}.0"
            names[f"cross.coarsen_mix.{k}"] = f"fusion_2_2_{k + 1}.0"
    for role in ("encoder", "decoder"):
        for s in range(1 if settings["single"] else 3):
            theirs = role if settings["single"] else f"{role}_scale{2**s}"
            for i in range(settings["blocks"]):
                names[f"{role}s.{s}.mixes.{i}"] = f"{theirs}.conv1x1.{i}.0"
                block, unit = f"{role}s.{s}.blocks.{i}", f"{theirs}.units.{i}"
                names[f"{block}.all"] = f"{unit}.fusion_all.0"
                for k in range(settings["scales"]):
                    for j in range(settings["convs"]):
                        names[f"{block}.scales.{k}.{j}"] = f"{unit}.scale{2**k}.{j}.0"
                for k in range(settings["scales"] - 1):
                    names[f"{block}.informs.{k}"] = f"{unit}.fusion{2 ** (k + 1)}{2**k}.0"
    return names
