"""`HalfSize`: rain estimated at half the size and taken off at the full one, for `--speed fast`.

The network sees every frame at half size, which takes about a quarter of the time. What it changes
is enlarged and put on the frame as it is, so that where there is no rain every detail stays. Where
there is, the frame's finest detail is the rain's as much as the scene's: there it is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models.output import Output
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import MemoryProfile, VideoModel

SCALE = 2
HELD, WORKING = 60, 160  # bytes per pixel of the full frame, besides the network's
RAIN = 5.0  # 1 / a change (of 1) from which on all of the fine detail is taken for the rain's


class HalfSizeState(NamedTuple):
    """inner: the network's own. frames: the last latency + 1 full frames, oldest first."""

    inner: Any
    frames: tuple[Tensor, ...]


class HalfSize(VideoModel[HalfSizeState]):
    """Run a model at half size.

    Args:
        model: under the contract; anything but training may be done with it meanwhile.
    """

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model
        self.latency, self.supports_tiles = model.latency, model.supports_tiles
        self.multiple, self.halo = SCALE * model.multiple, SCALE * model.halo
        self.has_hidden_state, self.has_boldness = model.has_hidden_state, model.has_boldness
        self.description = model.description
        held, working = (n // SCALE**2 for n in model.memory_profile)
        frames = 12 * (model.latency + 1)
        self.memory_profile = MemoryProfile(held + frames + HELD, working + WORKING)

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> HalfSizeState:
        size = height // SCALE, width // SCALE
        inner = self.model.initial_state(batch, *size, device=device, dtype=dtype)
        frame = torch.zeros(batch, 3, height, width, device=device)
        return HalfSizeState(inner, (frame,) * (self.latency + 1))

    def flow_between(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor] | None:
        """As the contract has it, of half the frames."""
        return self.model.flow_between(half(a), half(b))

    def look_ahead(self, state: HalfSizeState, flows: tuple[Tensor, Tensor]) -> HalfSizeState:
        """As the contract has it."""
        return state._replace(inner=self.model.look_ahead(state.inner, flows))

    def reset_hidden_state(self, state: HalfSizeState) -> HalfSizeState:
        """As the contract has it."""
        return state._replace(inner=self.model.reset_hidden_state(state.inner))

    def with_boldness(self, state: HalfSizeState, boldness: Tensor | float) -> HalfSizeState:
        """As the contract has it."""
        return state._replace(inner=self.model.with_boldness(state.inner, boldness))

    def step(
        self, frame: Tensor, state: HalfSizeState, tiles: Tiles | None = None
    ) -> tuple[Output | None, HalfSizeState]:
        output, inner = self.model.step(half(frame), state.inner, self._tiles(tiles))
        state = HalfSizeState(inner, (*state.frames[1:], frame))
        return output and at_full_size(output, state.frames[0]), state

    def flush(self, state: HalfSizeState, tiles: Tiles | None = None) -> list[Output]:
        outputs = self.model.flush(state.inner, self._tiles(tiles))
        frames = state.frames[len(state.frames) - len(outputs) :]
        return [at_full_size(*pair) for pair in zip(outputs, frames, strict=True)]

    def _tiles(self, tiles: Tiles | None) -> Tiles | None:
        return tiles and Tiles(tiles.size // SCALE, tiles.halo // SCALE, self.model.multiple)


def half(frame: Tensor) -> Tensor:
    """(B, 3, H, W), both even, at half size: means of four pixels."""
    return F.avg_pool2d(frame.float(), SCALE)


def at_full_size(output: Output, frame: Tensor) -> Output:
    """What was found at half size, for the frame (B, 3, H, W) that it was found in.

    The image is made anew; other layers are enlarged, and those that no caller needs left out.
    """
    size = (frame.shape[-2], frame.shape[-1])

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def layer(x: Tensor | None) -> Tensor | None:
        return x if x is None or x.shape[-2:] == (1, 1) else enlarged(x)

    layers = output.layers
    small = half(frame)
    change = output.image.float() - small
    rain = F.max_pool2d((RAIN * change.abs().amax(1, keepdim=True)).clamp_max(1), 3, 1, 1)
    detail = frame - enlarged(small)
    image = torch.addcmul(frame + enlarged(change), enlarged(rain), detail, value=-1)
    return replace(
        output,
        image=image.clamp(0, 1),
        recovered=None,
        hazy=None,
        streaks=layer(output.streaks),
        occlusion=layer(output.occlusion),
        transmission=layer(output.transmission),
        layers=layers and {name: enlarged(x) for name, x in layers.items()},
    )
