"""`PerFrame`: the contract of a video model around a plain single-image network."""

from __future__ import annotations

from inspect import signature
from math import nan
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from derain.models.runtime.tiles import Mean, Tile, Tiles, compute
from derain.models.video_model import Output, run_clip


class EmptyState(NamedTuple):
    """A single-image network remembers nothing."""


class PerFrame(nn.Module):
    """Run `net(rainy) -> derained` on every frame by itself: latency 0, empty state.

    `multiple` and `halo` are read from the network (1 and 64 where it does not say). What a network
    has to show besides its result, every stage's estimate or what its `forward_layers` gives with
    the result, becomes the output's `pictures`. One that takes means over the picture has an
    argument `mean` for it (tiles.py).
    """

    latency = 0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.multiple = int(getattr(net, "multiple", 1))
        self.halo = int(getattr(net, "halo", 64))
        self.means = "mean" in signature(net.forward).parameters

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> EmptyState:
        return EmptyState()

    def step(
        self, frame: Tensor, state: EmptyState, tiles: Tiles | None = None
    ) -> tuple[Output, EmptyState]:
        def work(tile: Tile) -> Output:
            image, pictures = self._estimate(tile.crop(frame), tile.mean)
            # Clamping would turn an infinity into white; Derainer must see that the numbers broke.
            image = image.float().nan_to_num(nan, nan, nan).clamp_(0, 1)
            return Output(image=image, pictures=pictures)

        return compute(work, frame, tiles, means=self.means), state

    def _estimate(self, frame: Tensor, mean: Mean) -> tuple[Tensor, dict[str, Tensor]]:
        net: Any = self.net
        more = {"mean": mean} if self.means else {}
        if hasattr(net, "forward_layers"):
            image, pictures = net.forward_layers(frame, **more)
            return image, pictures
        if hasattr(net, "forward_stages"):
            stages = net.forward_stages(frame, **more)
            return stages[-1], {f"stage{i}": stage for i, stage in enumerate(stages, 1)}
        return net(frame, **more), {}

    def flush(self, state: EmptyState, tiles: Tiles | None = None) -> list[Output]:
        return []

    def forward(self, clip: Tensor, state: EmptyState | None = None) -> tuple[Output, EmptyState]:
        return run_clip(self, clip, state)
