"""`median`: the aligned, gated median of five frames. Nothing is learned.

Rain is bright and rarely hits the same place twice in a row, so the median over an *aligned* window
is already a fair estimate of the background. It is used only where the frame is brighter than the
median, the neighbours agree with each other, and the place was not the same one frame earlier and
later; elsewhere the frame stays as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from derain.models.ops.frame_window import (
    REACH,
    Fetched,
    Window,
    empty_window,
    fetch,
    look_ahead,
    push,
    rank,
    ready,
    stillness,
    unfinished,
)
from derain.models.ops.image_arrays import as_float
from derain.models.ops.optical_flow import dis_flow
from derain.models.output import Output
from derain.models.runtime.tiles import Tiles, compute
from derain.models.video_model import VideoModel


class AlignedMedian(VideoModel[Window]):
    """The baseline model under the contract; float32 throughout.

    Args:
        brighter: how much brighter than the median a pixel must be to count as rain, in [0, 1].
        agree: largest difference between the two middle neighbours that still counts as agreement.
        soft: width of the ramp of both tests.
    """

    latency = REACH
    multiple = 2
    halo = 64
    takes_uint8 = True

    def __init__(self, brighter: float = 0.012, agree: float = 0.10, soft: float = 0.012) -> None:
        super().__init__()
        self.brighter, self.agree, self.soft = brighter, agree, soft

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> Window:
        return empty_window(batch, height, width, device, dtype)

    def flow_between(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """As the contract has it."""
        return dis_flow(a, b)

    def look_ahead(self, state: Window, flows: tuple[Tensor, Tensor]) -> Window:
        """As the contract has it."""
        return look_ahead(state, flows)

    def step(
        self, frame: Tensor, state: Window, tiles: Tiles | None = None
    ) -> tuple[Output | None, Window]:
        window = push(state, frame, dis_flow)
        centre = ready(window)
        return (None if centre is None else self._derain(window, centre, tiles)), window

    def flush(self, state: Window, tiles: Tiles | None = None) -> list[Output]:
        return [self._derain(state, centre, tiles) for centre in unfinished(state)]

    def _derain(self, window: Window, centre: int, tiles: Tiles | None) -> Output:
        frame = window.frames[centre]
        return compute(lambda tile: self._gate(fetch(window, centre, tile)), frame, tiles)

    def _gate(self, near: Fetched) -> Output:
        (_, *middle, _), median = rank(near.frame, near.neighbours)
        frame, second, third, median = map(as_float, (near.frame, *middle, median))
        excess = (frame - median).amax(1, keepdim=True)
        spread = (third - second).amax(1, keepdim=True)
        rain = ((excess - self.brighter) / self.soft).clamp(0, 1)
        trust = ((self.agree - spread) / self.soft).clamp(0, 1)
        # A caption that stands still is brighter than the scene that moves behind it, too.
        still = as_float(stillness(near.frame, *near.unmoved[1:3]))
        fresh = ((still - self.brighter) / self.soft).clamp(0, 1)
        gate = rain * trust * fresh
        image = torch.lerp(frame, median, gate).clamp(0, 1)
        return Output(image=image, occlusion=gate)
