"""`PerFrame`: the contract of a video model around a single-image network."""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import torch
from torch import Tensor, nn

from derain.models.output import Output
from derain.models.runtime.tiles import Mean, Tile, Tiles, compute, spatial_mean
from derain.models.video_model import SingleImageModel, VideoModel


class EmptyState(NamedTuple):
    """A single-image network remembers nothing."""


class Plain(SingleImageModel):
    """A module of anybody's, `net(rainy) -> derained`, for frames and tiles of any size."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The module's result alone."""
        return self.net(rainy), {}


class PerFrame(VideoModel[EmptyState]):
    """Run a single-image network on every frame by itself: latency 0, empty state.

    Its layers become the output's `layers`.
    """

    latency = 0

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net if isinstance(net, SingleImageModel) else Plain(net)
        self.multiple, self.halo = self.net.multiple, self.net.halo
        self.memory_profile, self.description = self.net.memory_profile, self.net.description

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> EmptyState:
        return EmptyState()

    def step(
        self, frame: Tensor, state: EmptyState, tiles: Tiles | None = None
    ) -> tuple[Output, EmptyState]:
        def work(tile: Tile) -> Output:
            image, layers = self.net.forward_layers(tile.crop(frame), tile.mean)
            # Clamping would turn an infinity into white; Derainer must see that the numbers broke.
            image = image.float().nan_to_num(nan, nan, nan).clamp_(0, 1)
            return Output(image=image, layers=layers)

        return compute(work, frame, tiles, means=self.net.uses_means), state

    def flush(self, state: EmptyState, tiles: Tiles | None = None) -> list[Output]:
        return []
