"""Gradient checkpointing over time: long clips in the memory of short ones.

Back-propagation through a recurrent network needs what every frame computed inside. Here it is
forgotten and computed again, frame by frame, when gradients come back to that frame: the same
gradients, a third more time, and memory of one frame's inner values beside the states.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from derain.models.networks.haze_estimator import Haze
from derain.models.output import Output
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import VideoModel

State = tuple[Tensor, ...]
R = TypeVar("R")


class Checkpointed(VideoModel[State]):
    """A network under the contract, for `forward` while it is trained."""

    def __init__(self, model: VideoModel[State]) -> None:
        super().__init__()
        self.model = model
        self.latency = model.latency
        self.haze_estimator = model.haze_estimator

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return self.model.initial_state(batch, height, width, device=device, dtype=dtype)

    def informed_state(self, clip: Tensor, haze: Haze) -> State:
        return self.model.informed_state(clip, haze)

    def look_ahead(self, state: State, flows: tuple[Tensor, Tensor]) -> State:
        return self.model.look_ahead(state, flows)

    def step(
        self, frame: Tensor, state: State, tiles: Tiles | None = None
    ) -> tuple[Output | None, State]:
        return _again(lambda: self.model.step(frame, state, tiles))

    def flush(self, state: State, tiles: Tiles | None = None) -> list[Output]:
        return _again(lambda: self.model.flush(state, tiles))


def _again(function: Callable[[], R]) -> R:
    result: R = checkpoint(function, use_reentrant=False, preserve_rng_state=False)
    return result
