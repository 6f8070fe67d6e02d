"""ReMAEN: a single-image derainer of three stages that share weights and hand on hidden states.

Yang and Lu, "Single Image Deraining using a Recurrent Multi-scale Aggregation and Enhancement
Network", ICME 2019; exact to the released code, except that it takes RGB. Making a video model of
it is per_frame.py's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.ops.key_tables import collect
from derain.models.ops.recurrent_cells import SLOPE, CellState, GRUCell, SqueezeExcite
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel

EXTRACT, RESPOND = "derainNet/ReMAEN/extracting_path", "derainNet/ReMAEN/responding_path"
OPTIMISER = {"Adam", "Adam_1", "beta1_power", "beta2_power", "global_step"}


class ReMAEN(SingleImageModel):
    """Rainy RGB in, derained RGB out, not clamped; each stage takes rain off the last one's result.

    The hidden state goes from stage to stage of one image, never from frame to frame.

    Args:
        stages: how often the network runs; the number of weights does not depend on it.
        channels: width of every map.
        se_hidden: inner width of squeeze-and-excitation.

    Raises:
        DerainError: fewer than one stage.
    """

    multiple = 1
    uses_means = True

    def __init__(self, stages: int = 3, channels: int = 32, se_hidden: int = 8) -> None:
        super().__init__()
        if stages < 1:
            raise DerainError("ReMAEN needs at least one stage.")
        self.stages = stages
        # Pixels around a tile; the means of squeeze-and-excitation are of the whole image still.
        self.halo = 36 + 43 * (stages - 1)
        self.aggregate = nn.ModuleList(
            Aggregation(channels if k else 3, channels, se_hidden) for k in range(4)
        )
        self.extract = nn.ModuleList(BareGRU(channels, channels) for _ in range(4))
        self.extract_se = SqueezeExcite(channels, se_hidden)
        self.merge = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.respond = nn.ModuleList(BareGRU(channels, channels) for _ in range(3))
        self.respond_se = SqueezeExcite(channels, se_hidden)
        self.rain = nn.Conv2d(channels, channels, 3, padding=1)
        self.rain_se = SqueezeExcite(channels, se_hidden)
        self.rain_out = nn.Conv2d(channels, 3, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                for gate in layer.weight.split(channels):  # each drawn as a layer of its own
                    nn.init.xavier_uniform_(gate)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        # Of a small image a good part of the time went into turning weights round.
        for weight in self.parameters():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, rainy: Tensor, mean: Mean = spatial_mean) -> Tensor:
        """Derain (B, 3, H, W), RGB in [0, 1]; the result may leave that range a little.

        `mean` takes (B, C, h, w) to (B, C), over the whole image where `rainy` is a tile of it.
        """
        return self.forward_stages(rainy, mean)[-1]

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The derained image, and every stage's estimate by name."""
        stages = self.forward_stages(rainy, mean)
        return stages[-1], {f"stage{i}": stage for i, stage in enumerate(stages, 1)}

    def forward_stages(self, rainy: Tensor, mean: Mean = spatial_mean) -> list[Tensor]:
        """Every stage's estimate, each (B, 3, H, W); the original trains the last one alone."""
        derained = rainy.contiguous(memory_format=torch.channels_last)
        states: list[CellState | None] = [None] * 7
        estimates: list[Tensor] = []
        for _ in range(self.stages):
            residual, states = self.stage(derained, states, mean)
            derained = derained - residual
            estimates.append(derained)
        return estimates

    def stage(
        self, derained: Tensor, states: list[CellState | None], mean: Mean = spatial_mean
    ) -> tuple[Tensor, list[CellState | None]]:
        """The rain still in (B, 3, H, W), and what the seven units hand on.

        Args:
            derained: (B, 3, H, W), the estimate so far.
            states: of the seven units, from the stage before.
            mean: takes (B, C, h, w) to (B, C), over the whole image.
        """
        x, skips = derained, []
        outputs: list[CellState | None] = []
        for k in range(4):
            skips.append(self.aggregate[k](x, mean))
            u, _ = self.extract[k](skips[k], states[k])
            x = F.leaky_relu_(self.extract_se(u, mean), SLOPE)
            outputs.append((x,))
        for k in range(3):
            merged = plus(F.relu_(self.merge[k](x)), skips[2 - k])
            u, _ = self.respond[k](merged, states[4 + k])
            x = F.leaky_relu_(self.respond_se(u, mean), SLOPE)
            outputs.append((x,))
        rain = F.leaky_relu_(self.rain_se(self.rain(x), mean), SLOPE)
        return self.rain_out(rain).to(derained.dtype), outputs


def plus(x: Tensor, y: Tensor) -> Tensor:
    """x + y, in place where no gradient needs x."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


class Aggregation(nn.Module):
    """Two convolutions at dilations 1, 2 and 3, all with the same weights, summed and excited."""

    def __init__(self, inputs: int, channels: int, se_hidden: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.se = SqueezeExcite(channels, se_hidden)

    def forward(self, x: Tensor, mean: Mean = spatial_mean) -> Tensor:
        total: Tensor | None = None
        for dilation in (1, 2, 3):
            y = x
            for conv in (self.first, self.second):
                y = F.conv2d(y, conv.weight, conv.bias, padding=dilation, dilation=dilation)
                y = F.leaky_relu_(y, SLOPE)
            total = y if total is None else plus(total, y)
        assert total is not None
        return self.se(total, mean)


class BareGRU(GRUCell):
    """RESCAN's unit without its last two steps: their weights are shared by several units here."""

    def finish(self, u: Tensor, mean: Mean) -> Tensor:
        return u


def recognises(keys: set[str]) -> bool:
    """Whether these look like the names of the original's variables."""
    return f"{EXTRACT}/MAEB1/d1/weights" in keys


def convert_reference(
    state_dict: dict[str, Tensor], channel_order: str, stages: int = 3
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Turn the original's variables into (settings, state dict) of `ReMAEN`.

    Args:
        state_dict: tensors under TensorFlow's names and in its layout, convolutions (H, W, in, out)
            and fully connected layers (in, out); what belongs to the optimiser is left out.
        channel_order: "bgr" as the original was trained, turned to RGB here; "rgb" is kept.
        stages: no tensor tells it; the original's by default.

    Raises:
        DerainError: a tensor is missing or unexpected.
    """
    layers = {f"merge.{k}": [f"{RESPOND}/conv{5 + k}"] for k in range(3)}
    layers |= {"rain": ["derainNet/RMG/Conv"], "rain_out": ["derainNet/RMG/Conv_1"]}
    excites = {"extract_se": EXTRACT, "respond_se": RESPOND, "rain_se": "derainNet/RMG"}
    for k in range(4):
        for ours, theirs in (("first", "d1"), ("second", "d2")):
            layers[f"aggregate.{k}.{ours}"] = [f"{EXTRACT}/MAEB{k + 1}/{theirs}"]
        excites[f"aggregate.{k}.se"] = f"{EXTRACT}/MAEB{k + 1}"
    units = [(f"extract.{k}", f"{EXTRACT}/convGRU{k + 1}/conv_") for k in range(4)]
    units += [(f"respond.{k}", f"{RESPOND}/convGRU{k + 5}/conv_") for k in range(3)]
    for ours, theirs in units:
        for path in "xh":
            layers[f"{ours}.gates_{path}"] = [f"{theirs}{path}z", f"{theirs}{path}r"]
            layers[f"{ours}.candidate_{path}"] = [f"{theirs}{path}n"]
    for ours, theirs in excites.items():
        layers[f"{ours}.squeeze"] = [f"{theirs}/SEBlock/fully_connected"]
        layers[f"{ours}.excite"] = [f"{theirs}/SEBlock/fully_connected_1"]
    table = {
        f"{ours}.{kind}": [f"{name}/{variable}" for name in theirs]
        for ours, theirs in layers.items()
        for kind, variable in (("weight", "weights"), ("bias", "biases"))
    }
    # (H, W, in, out) -> (out, in, H, W), and (in, out) -> (out, in)
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}
    variables = {k: v.permute(axes[v.ndim]) if v.ndim in axes else v for k, v in state_dict.items()}
    unused = [key for key in variables if key.split("/")[-1] in OPTIMISER]
    state = collect("ReMAEN", variables, table, unused)
    if channel_order == "bgr":
        state["aggregate.0.first.weight"] = state["aggregate.0.first.weight"].flip(1)
        for kind in ("weight", "bias"):
            state[f"rain_out.{kind}"] = state[f"rain_out.{kind}"].flip(0)
    channels, se_hidden = state["rain_se.excite.weight"].shape
    return {"stages": stages, "channels": channels, "se_hidden": se_hidden}, state
