"""The corrected two stages over neighbours that are fetched along the motion.

What differs from network.py: the four neighbours are fetched to the frame between them, and earlier
outputs and hidden states are moved along the flow from frame to frame. The weights are of the same
shapes, so that those of one may start the other.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from derain.models.networks.haze_estimator import Haze
from derain.models.networks.two_stage.network import shown
from derain.models.networks.two_stage.stages import CorrectedStages, State
from derain.models.ops.frame_window import (
    REACH,
    Fetched,
    Window,
    empty_window,
    fetch,
    look_ahead,
    push,
    ready,
    unfinished,
)
from derain.models.ops.optical_flow import dis_flow, warp
from derain.models.output import Output
from derain.models.runtime.tiles import Mean, Tile, Tiles, compute, spatial_mean
from derain.models.video_model import VideoModel


class AlignedState(NamedTuple):
    """What a stream carries; all but the window as in `State`."""

    window: Window
    outputs: Tensor
    memory: Tensor
    remembered: Tensor

    def past(self) -> State:
        """It as the stages take it, which do not look at the window."""
        return State(self.outputs, self.outputs, self.memory, self.remembered, self.remembered)


class AlignedTwoStage(VideoModel[AlignedState]):
    """The network under the model contract.

    Args:
        width: channels n at the finest scale; 2n and 4n below.
        blocks: residual blocks before each ConvLSTM.
        unshuffle: the finest scale is 1/unshuffle of the image.
    """

    latency = REACH
    has_hidden_state = True

    def __init__(self, width: int = 16, blocks: int = 3, unshuffle: int = 2) -> None:
        super().__init__()
        self.stages = CorrectedStages(width, blocks, unshuffle)
        self.width = width
        self.stride = self.multiple = 4 * unshuffle
        self.halo = 64 * unshuffle  # as in network.py

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> AlignedState:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros((batch, *shape), device=device, dtype=torch.float32)

        deep = (4 * self.width, height // self.stride, width // self.stride)
        return AlignedState(
            empty_window(batch, height, width, device),
            zeros(2, 3, height, width),
            zeros(self.stages.cells, 2, *deep),
            torch.tensor(0),
        )

    def reset_hidden_state(self, state: AlignedState) -> AlignedState:
        """The same window, with hidden states and previous outputs forgotten."""
        return state._replace(
            outputs=torch.zeros_like(state.outputs),
            memory=torch.zeros_like(state.memory),
            remembered=torch.zeros_like(state.remembered),
        )

    def flow_between(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """As the contract has it."""
        return dis_flow(a, b)

    def look_ahead(self, state: AlignedState, flows: tuple[Tensor, Tensor]) -> AlignedState:
        """As the contract has it."""
        return state._replace(window=look_ahead(state.window, flows))

    def step(
        self, frame: Tensor, state: AlignedState, tiles: Tiles | None = None
    ) -> tuple[Output | None, AlignedState]:
        state = state._replace(window=push(state.window, frame, dis_flow))
        centre = ready(state.window)
        return (None, state) if centre is None else self._derain(centre, state, tiles)

    def flush(self, state: AlignedState, tiles: Tiles | None = None) -> list[Output]:
        outputs = []
        for centre in unfinished(state.window):
            output, state = self._derain(centre, state, tiles)
            outputs.append(output)
        return outputs

    def forward(
        self,
        clip: Tensor,
        state: AlignedState | None = None,
        haze: Haze | None = None,
        boldness: Tensor | None = None,
        flows: Tensor | None = None,
    ) -> tuple[Output, AlignedState]:
        """As the contract has it; while training, stage 1 sees all frames of a shot at once."""
        if not self.training or state or haze:
            return super().forward(clip, state, haze, boldness, flows)
        batch, _, _, height, width = clip.shape
        state = self.initial_state(batch, height, width, device=clip.device, dtype=clip.dtype)
        window, near = state.window, []
        for index, frame in enumerate(clip.unbind(1)):
            if flows is not None and index:
                known = flows[:, index - 1]
                window = look_ahead(window, (known[:, :2], known[:, 2:]))
            window = push(window, frame, dis_flow)
            centre = ready(window)
            near += [] if centre is None else [fetch(window, centre)]
        near += [fetch(window, centre) for centre in unfinished(window)]
        output, past = self._run(near, state, None, spatial_mean)
        return output, AlignedState(window, past.outputs, past.memory, past.remembered)

    def _derain(
        self, centre: int, state: AlignedState, tiles: Tiles | None
    ) -> tuple[Output, AlignedState]:
        def work(tile: Tile) -> tuple[Output, tuple[Tensor, ...]]:
            near = fetch(state.window, centre, tile)
            output, past = self._run([near], state, tile, tile.mean)
            output = output.map(lambda x: x[:, 0])
            kept = (past.outputs, past.memory, past.remembered)
            return output if self.training else shown(output), kept

        frame = state.window.frames[centre]
        output, (outputs, memory, remembered) = compute(work, frame, tiles, means=True)
        return output, AlignedState(state.window, outputs, memory, remembered)

    def _run(
        self, near: list[Fetched], state: AlignedState, tile: Tile | None, mean: Mean
    ) -> tuple[Output, State]:
        """The stages over frames that follow one another.

        Args:
            near: the frames, or the parts of them that are in the tile.
            state: of the whole frame before.
            tile: which part; None is all.
            mean: takes (B, C, h, w) to (B, C), over the whole frame.
        """

        def move(past: Tensor, index: int) -> Tensor:
            """What belongs to the frame before, at the places where it is now."""
            corner = (0, 0) if tile is None else tile.corner(past)
            own = past if tile is None else tile.crop(past)
            nothing = torch.zeros_like(own).flatten(1, -3)
            flat = warp(past.flatten(1, -3), near[index].to_previous, nothing, corner)
            return flat.view_as(own)

        return self.stages.run(torch.stack([slots(x) for x in near], 1), state.past(), mean, move)


def slots(near: Fetched) -> Tensor:
    """One frame and its neighbours as the encoders take them, (B, 5, 3, H, W)."""
    return torch.stack([*near.neighbours[:2], near.frame, *near.neighbours[2:]], 1)
