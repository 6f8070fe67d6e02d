"""A network that does nothing: what it costs is the pipeline itself."""

from __future__ import annotations

import torch

from derain.models import VideoModel
from derain.models.output import Output
from derain.models.runtime.tiles import Tiles


class Nothing(VideoModel[tuple[()]]):
    """A model that gives each frame back: what is left is the pipeline's own work."""

    latency, multiple, halo = 0, 1, 0

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> tuple[()]:
        return ()

    def step(
        self, frame: torch.Tensor, state: tuple[()], tiles: Tiles | None = None
    ) -> tuple[Output, tuple[()]]:
        return Output(image=frame), state

    def flush(self, state: tuple[()], tiles: Tiles | None = None) -> list[Output]:
        return []
