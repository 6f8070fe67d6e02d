"""`TemporalSmoother`: results of single frames smoothed along the motion, for `--steady`.

A network that sees one frame at a time decides anew in each; what it leaves of the rain, and what
it takes of the scene, flickers. This wrapper blends every result with the one before it, moved
along the flow between the two. It is a model under the contract, so nothing else need know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.ops.optical_flow import FlowFunction, dis_flow, warp
from derain.models.output import Output
from derain.models.runtime.half_size import HalfSize
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import VideoModel
from derain.pipeline.streaming.options import VideoOptions

SHARE = 0.6  # of the earlier results at most, where nothing speaks against them
CHANGED = 8 / 255  # where the network changes less than about this, nothing needs steadying
APART = 20 / 255  # results that differ by about this on the mean of a patch show different things
PATCH = 7  # pixels, odd


def load_chosen(options: VideoOptions) -> VideoModel:
    """The network that `options` name, at half size and steadied if they say so.

    Raises:
        DerainError: no such network or weights, or one that cannot be steadied.
    """
    from derain.models import load_model

    model = load_model(options.model, options.weights)
    if options.speed == "fast":
        model = HalfSize(model)
    return TemporalSmoother(model) if options.steady else model


class SmootherState(NamedTuple):
    """What is remembered from frame to frame."""

    inner: tuple[Tensor, ...]  # the network's own state
    before: Tensor  # (B, 3, H, W) the last steadied result
    changed: Tensor  # (B, 1, H, W) in [0, 1], where the network had changed that frame
    seen: Tensor  # (B, 1, 1, 1) 1 once there is a last result, else 0


class TemporalSmoother(VideoModel[SmootherState]):
    """Blend the results of a model without latency with those before, along the motion.

    The earlier result counts where the network changes the frame in either frame, and only as
    far as it agrees with the present one: elsewhere the input is steady by itself, and a blend
    would do no more than blur it.

    Args:
        model: under the contract, with latency 0.
        flow: of two frames (B, 3, H, W), both ways.

    Raises:
        DerainError: the model looks at more than one frame.
    """

    latency = 0

    def __init__(self, model: VideoModel, flow: FlowFunction = dis_flow) -> None:
        super().__init__()
        if model.latency != 0:
            raise DerainError(
                "--steady is for networks that see one frame at a time (rescan, spanet, dcsfn, "
                "remaen); this one compares frames by itself, leave the option out."
            )
        self.model = model
        self.flow = flow
        self.multiple, self.halo = model.multiple, model.halo
        self.memory_profile, self.supports_tiles = model.memory_profile, model.supports_tiles
        self.description = model.description

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> SmootherState:
        inner = self.model.initial_state(batch, height, width, device=device, dtype=dtype)
        zeros = torch.zeros(batch, 3, height, width, device=device)
        return SmootherState(inner, zeros, zeros[:, :1].clone(), zeros[:, :1, :1, :1].clone())

    def step(
        self, frame: Tensor, state: SmootherState, tiles: Tiles | None = None
    ) -> tuple[Output, SmootherState]:
        """One frame; the network alone works in tiles, the blend is small and whole."""
        output, inner = self.model.step(frame, state.inner, tiles)
        assert output is not None  # there is no latency
        with torch.autocast(frame.device.type, enabled=False):
            image = output.image.float()
            changed = _mean((image - frame).abs().amax(1, keepdim=True) / CHANGED).clamp(0, 1)
            there, _ = self.flow(image, state.before)
            before = warp(state.before, there, image)
            changed_before = warp(state.changed, there, changed)
            apart = _mean((image - before).abs().mean(1, keepdim=True)) / APART
            share = SHARE * torch.maximum(changed, changed_before) * torch.exp(-apart.square())
            # A network that broke must show it: NaN times 0 is NaN, so it is not hidden here.
            steadied = torch.lerp(image, before, share * state.seen).clamp(0, 1)
        remembered = SmootherState(inner, steadied, changed, torch.ones_like(state.seen))
        return replace(output, image=steadied), remembered

    def flush(self, state: SmootherState, tiles: Tiles | None = None) -> list[Output]:
        return []


def _mean(x: Tensor) -> Tensor:
    """The mean over patches of PATCH pixels, (B, 1, H, W) to the same size."""
    return F.avg_pool2d(x, PATCH, stride=1, padding=PATCH // 2, count_include_pad=False)
