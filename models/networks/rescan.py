"""RESCAN: a single-image derainer that takes the rain off in stages.

Li et al., "Recurrent Squeeze-and-Excitation Context Aggregation Net for Single Image Deraining",
ECCV 2018; exact to the authors' code (XiaLiPKU/RESCAN, MIT), except that it takes RGB. The cells
are in ops/recurrent_cells.py; reading the authors' files is `convert_reference` below, finding out
whose file it is convert.py, and making a video model of it per_frame.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.ops.key_tables import collect
from derain.models.ops.layers import leaky_relu
from derain.models.ops.recurrent_cells import (
    CELLS,
    SLOPE,
    Cell,
    CellState,
    SqueezeExcite,
    cell_table,
    unit_of,
)
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel


class Rescan(SingleImageModel):
    """Rainy RGB in, derained RGB out, not clamped.

    A stack of cells predicts the rain from the estimate so far, several times over; the hidden
    state goes from stage to stage of one image, never from frame to frame.

    Args:
        unit: "conv", "rnn", "gru" or "lstm".
        composition: "full", where each stage predicts all rain anew, or "add", where it predicts
            what is to be added to the rain of the stage before.
        channels: width of every map.
        depth: number of layers, at least 3: depth - 2 cells with dilations 1, 1, 2, 4, … and two
            convolutions.
        stages: how often the stack runs.
        se_hidden: inner width of squeeze-and-excitation, 0 for none. The paper means channels / 6;
            the authors' code has 6, whatever the channels.

    Raises:
        DerainError: a setting is out of its range.
    """

    multiple = 1
    uses_means = True

    def __init__(
        self,
        unit: str = "gru",
        composition: str = "full",
        channels: int = 24,
        depth: int = 7,
        stages: int = 4,
        se_hidden: int = 6,
    ) -> None:
        super().__init__()
        if unit not in CELLS:
            raise DerainError(f"'{unit}' is no unit of RESCAN; choose one of {', '.join(CELLS)}.")
        if composition not in ("full", "add"):
            raise DerainError(f"'{composition}' is not a composition of RESCAN; use full or add.")
        if depth < 3 or stages < 1:
            raise DerainError("RESCAN needs a depth of at least 3 and at least one stage.")
        self.adds = composition == "add"
        self.stages = stages
        dilations = [2 ** max(k - 1, 0) for k in range(depth - 2)]
        # Pixels around a tile; the means of squeeze-and-excitation are of the whole image still.
        reach = sum(dilations) + 1
        rings = len(dilations) if unit == "gru" else 0  # r h is convolved once more
        self.halo = reach + (stages - 1) * (reach + rings)
        self.cells = nn.ModuleList(
            CELLS[unit](channels if k else 3, channels, dilation, se_hidden)
            for k, dilation in enumerate(dilations)
        )
        self.head = nn.Conv2d(channels, channels, 3, padding=1)
        self.head_se = SqueezeExcite(channels, se_hidden) if se_hidden else None
        self.rain = nn.Conv2d(channels, 3, 1)
        self._start()

    def _start(self) -> None:
        """Draw weights under which the signal comes through: with PyTorch's, as the authors leave
        it, five cells shrink it to a thousandth, and learning begins after thousands of steps.
        """
        gains = {"candidate_x": 1.6, "gates_x": 1.0, "candidate_h": 0.5, "gates_h": 1.0}
        gains |= {"head": 1.4, "rain": 0.3}
        for name, layer in self.named_modules():
            kind = name.split(".")[-1]
            if kind in gains and isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.normal_(layer.weight, std=gains[kind] / layer.weight[0].numel() ** 0.5)
                nn.init.zeros_(layer.bias)
            elif kind == "excite" and isinstance(layer, nn.Linear):
                nn.init.constant_(layer.bias, 2.0)
        for cell in self.modules():
            if isinstance(cell, Cell) and cell.gates and cell.gates_x.bias is not None:
                nn.init.ones_(cell.gates_x.bias[: cell.first_gates * cell.channels])  # open

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
        """Every stage's estimate, each (B, 3, H, W); training compares them all with the truth."""
        if not torch.is_grad_enabled():
            # Faster. For gradients the layout is the caller's: the authors' sums to the last bit
            # in planes, for a rounding that crosses a rectifier's kink would change them.
            rainy = rainy.contiguous(memory_format=torch.channels_last)
        states: list[CellState | None] = [None] * len(self.cells)
        estimates: list[Tensor] = []
        rain: Tensor | None = None
        for _ in range(self.stages):
            x = estimates[-1] if estimates else rainy
            for k, cell in enumerate(self.cells):
                x, states[k] = cell(x, states[k], mean)
            x = self.head(x)
            x = leaky_relu(x if self.head_se is None else self.head_se(x, mean), SLOPE)
            added = self.rain(x).to(rainy.dtype)
            # Where stages add, a stage learns only its own addition: the sum so far is detached.
            rain = added if rain is None or not self.adds else added + rain.detach()
            estimates.append(rainy - rain)
        return estimates


def recognises(keys: set[str]) -> bool:
    """Whether these look like the keys of the original's state dict."""
    return "dec.3.weight" in keys and any(key.startswith("rnns.0.conv") for key in keys)


def convert_reference(
    state_dict: dict[str, Tensor],
    channel_order: str,
    composition: str = "full",
    stages: int = 4,
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Turn the original's state dict into (settings, state dict) of `Rescan`.

    Args:
        state_dict: tensors under the original's names.
        channel_order: "bgr" as the original was trained, turned to RGB here; "rgb" is kept.
        composition, stages: the two settings that no tensor tells; the original's by default.

    Raises:
        DerainError: a tensor is missing or unexpected.
    """
    keys = set(state_dict)
    unit = unit_of(keys, "rnns.0")
    cells = 1 + max((int(k.split(".")[1]) for k in keys if k.startswith("rnns.")), default=0)
    excites = {f"cells.{k}.se": f"rnns.{k}.se" for k in range(cells)} | {"head_se": "dec.1"}
    has_se = any(".fc." in key for key in keys)
    table: dict[str, list[str]] = {}
    for k in range(cells):
        table |= cell_table(f"cells.{k}", f"rnns.{k}", unit)
    for kind in ("weight", "bias"):
        table |= {f"head.{kind}": [f"dec.0.{kind}"], f"rain.{kind}": [f"dec.3.{kind}"]}
        for ours, theirs in excites.items() if has_se else ():
            table[f"{ours}.squeeze.{kind}"] = [f"{theirs}.fc.0.{kind}"]
            table[f"{ours}.excite.{kind}"] = [f"{theirs}.fc.2.{kind}"]
    state = collect("RESCAN", state_dict, table)
    if channel_order == "bgr":
        for path in ("candidate_x", "gates_x"):
            if f"cells.0.{path}.weight" in state:
                state[f"cells.0.{path}.weight"] = state[f"cells.0.{path}.weight"].flip(1)
        for kind in ("weight", "bias"):
            state[f"rain.{kind}"] = state[f"rain.{kind}"].flip(0)
    settings = {
        "unit": unit,
        "composition": composition,
        "channels": state["head.weight"].shape[0],
        "depth": cells + 2,
        "stages": stages,
        "se_hidden": state["head_se.squeeze.weight"].shape[0] if has_se else 0,
    }
    return settings, state
