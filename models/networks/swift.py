"""`swift`: the default network. Two recurrent stages over an aligned window of five frames.

Physics-guided recovery, then refinement with the previous output, as in Yang et al., "Recurrent
Multi-Frame Deraining" (TPAMI 2022), at a small part of its cost. What differs from the paper: the
neighbours are aligned by optical flow and enter as order statistics, haze is estimated from
the whole frame and taken off first (haze_estimator.py), each stage is one small U-shaped trunk,
and the hidden state is of a minimal gated unit at 1/8 size that is moved along the flow.

    haze:    frame -> haze_estimator -> t, A;  frame, neighbours and median x -> A + (x - A) / t
    stage 1: frame, ranked neighbours, stillness, moved O[t-1] -> trunk -> S, a (full size)
             J = (1 - a)(frame - S) + a median
    stage 2: J, frame, moved O[t-1], features of stage 1       -> trunk -> O = J + residual

Layers of `swift` (a, b, c = 24, 40, 56 channels at 1/2, 1/4, 1/8 size; both trunks have the same);
kFLOP per pixel of a 640x360 frame, 2 x multiply-add, both trunks together, by torch's flop counter
(the haze estimator's at every second frame, on average):

    | module               | in -> out              | at       | kFLOP/px | parameters   |
    |----------------------|------------------------|----------|----------|--------------|
    | head, conv 4x4 s2    | 19 -> a and 9 -> a     | 1/2      | 5.4      | 7.3k, 3.5k   |
    | down1, conv 3x3 s2   | a -> b                 | 1/4      | 2.2      | 2 x 8.7k     |
    | body1, 1 block       | b -> b                 | 1/4      | 7.2      | 2 x 28.9k    |
    | down2, conv 3x3 s2   | b -> c                 | 1/8      | 1.3      | 2 x 20.2k    |
    | body2, 2 blocks      | c -> c                 | 1/8      | 7.1      | 2 x 113.1k   |
    | memory, recall       | c + 24 -> 24 -> c      | 1/8      | 2.2      | 2 x 36.0k    |
    | up2, 1x1 + shuffle   | c -> b                 | 1/4      | 0.6      | 2 x 9.1k     |
    | body3, 1 block       | b -> b                 | 1/4      | 7.2      | 2 x 28.9k    |
    | up1, 1x1 + shuffle   | b -> a                 | 1/2      | 1.0      | 2 x 3.9k     |
    | tail, conv 3x3       | a -> a                 | 1/2      | 5.2      | 2 x 5.2k     |
    | rain, conv 3x3       | a -> 16                | 1/2      | 1.7      | 3.5k         |
    | bridge, residual     | a -> a, a -> 12        | 1/2      | 1.6      | 3.2k         |
    | haze_estimator, two views    | 16 -> 44 -> t, A       | 16x16    | 0.21     | 47.8k        |
    | `swift`              |                        |          | 42.7     | 573,404      |
    | `swift-plus` (40, 80, 112; 2 and 3 blocks; 48)| |          | 213.6    | 2,990,588    |
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.networks.haze_estimator import (
    GRID,
    Haze,
    HazeEstimator,
    full_size,
    weigh_by_confidence,
)
from derain.models.networks.restraint import STANDING, darken_transients, keep_standing
from derain.models.networks.swift_core import (
    Compared,
    Core,
    CoreInputs,
    CoreOutputs,
    Trunk,
    compare,
    concatenate,
)
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
from derain.models.ops.image_arrays import as_float, as_kind
from derain.models.ops.layers import start_at
from derain.models.ops.optical_flow import dis_flow, warp
from derain.models.ops.scattering import has_haze, remove_streaks, see_through
from derain.models.output import Output
from derain.models.runtime.tiles import Tile, Tiles, compute
from derain.models.video_model import VideoModel

LOOK_EVERY = 2  # frames from one haze estimator to the next: haze changes slowly
HAZE_KEPT = 0.9  # share of the haze seen before that stays at a new haze estimator


class SwiftState(NamedTuple):
    """What a stream carries. `started` is 0 until there is an earlier output, then 1.

    image: (B, 3, H, W) the previous output, of the type that frames are. memory1, memory2:
    (B, hidden, H / 8, W / 8).
    haze: known, or weighed by its confidence. settled: (B, 1, 1, 1), how much of it stays at a new
    estimate; 0 at first, 1 where it is the truth. started: (B, 1, 1, 1). caution: (B, 1, 1, 1), the
    factor of `stillness`, from `caution_of`. age: outputs of this
    shot so far; on the CPU, so that nobody waits for another device to read it.
    """

    window: Window
    image: Tensor
    memory1: Tensor
    memory2: Tensor
    haze: Haze
    settled: Tensor
    started: Tensor
    caution: Tensor
    age: Tensor


def caution_of(boldness: Tensor) -> Tensor:
    """The factor of `stillness`: 2 for the most careful, 1 by default, 0 for the boldest.

    Stillness guards what moves by itself and what stands still on the frame. A network that does
    not see it takes rain for rain more often, and other things, too.
    """
    return 2 * (1 - boldness)


def _choose(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where the condition (B, 1, 1, 1) holds, else `b`.

    Of one stream on the CPU without a pass over both; other devices would be waited for.
    """
    if len(condition) == 1 and condition.device.type == "cpu":
        return a if bool(condition) else b
    return torch.where(condition, a, b)


class Swift(VideoModel[SwiftState]):
    """The network under the model contract.

    Args:
        widths: channels at 1/2, 1/4 and 1/8 size.
        blocks: residual blocks at 1/4 (on the way down, and again up) and at 1/8 size.
        hidden: channels of each hidden state.
        stages: 2, or 1 to stop at the recovered frame J.
        recurrent: whether anything of earlier outputs is used; else the window is all there is.
    """

    latency = REACH
    multiple = 8
    halo = 64
    has_boldness = True
    takes_uint8 = True
    haze_estimator: HazeEstimator

    def __init__(
        self,
        widths: tuple[int, int, int] = (24, 40, 56),
        blocks: tuple[int, int] = (1, 2),
        hidden: int = 24,
        stages: int = 2,
        recurrent: bool = True,
    ) -> None:
        super().__init__()
        self.hidden = hidden if recurrent else 0
        self.stages, self.has_hidden_state = stages, recurrent
        widths = (widths[0], widths[1], widths[2])
        blocks = (blocks[0], blocks[1])
        self.engine: Core | None = None  # what runs `core` in its place
        self.haze_estimator = HazeEstimator()
        self.trunk1 = Trunk(19, widths, blocks, self.hidden)
        self.rain = nn.Conv2d(widths[0], 16, 3, padding=1)  # S and a, shuffled to full size
        if stages == 2:
            self.trunk2 = Trunk(9, widths, blocks, self.hidden)
            self.bridge = nn.Conv2d(widths[0], widths[0], 1)
            self.residual = nn.Conv2d(widths[0], 12, 3, padding=1)
            start_at(self.residual, 0.0)
        # Start as a model that changes nothing.
        start_at(self.rain, 0.0, slice(12))
        start_at(self.rain, -3.0, slice(12, 16))

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> SwiftState:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros((batch, *shape), device=device, dtype=torch.float32)

        hidden, none = zeros(self.hidden, height // 8, width // 8), zeros(1, 1, 1)
        haze = Haze(zeros(1, GRID, GRID), zeros(3, 1, 1))
        age, caution = torch.tensor(0, device="cpu"), torch.ones_like(none)
        window = empty_window(batch, height, width, device, dtype)
        image = torch.zeros_like(window.frames[0])
        return SwiftState(window, image, hidden, hidden, haze, none, none, caution, age)

    def reset_hidden_state(self, state: SwiftState) -> SwiftState:
        """The same window, with everything remembered of earlier outputs forgotten."""
        return state._replace(
            memory1=torch.zeros_like(state.memory1),
            memory2=torch.zeros_like(state.memory2),
            started=torch.zeros_like(state.started),
        )

    def with_boldness(self, state: SwiftState, boldness: Tensor | float) -> SwiftState:
        """As the contract has it."""
        if not isinstance(boldness, Tensor):
            boldness = torch.full_like(state.caution, boldness)
        return state._replace(caution=caution_of(boldness))

    def flow_between(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """As the contract has it."""
        return dis_flow(a, b)

    def look_ahead(self, state: SwiftState, flows: tuple[Tensor, Tensor]) -> SwiftState:
        """As the contract has it."""
        return state._replace(window=look_ahead(state.window, flows))

    def step(
        self, frame: Tensor, state: SwiftState, tiles: Tiles | None = None
    ) -> tuple[Output | None, SwiftState]:
        state = state._replace(window=push(state.window, frame, dis_flow))
        centre = ready(state.window)
        if centre is None:
            return None, state
        return self._derain(centre, state, tiles)

    def flush(self, state: SwiftState, tiles: Tiles | None = None) -> list[Output]:
        outputs = []
        for centre in unfinished(state.window):
            output, state = self._derain(centre, state, tiles)
            outputs.append(output)
        return outputs

    def informed_state(self, clip: Tensor, haze: Haze) -> SwiftState:
        """A fresh state for a clip (B, T, 3, H, W) of known haze, which stays as it is."""
        batch, _, _, height, width = clip.shape
        state = self.initial_state(batch, height, width, device=clip.device, dtype=clip.dtype)
        return state._replace(haze=haze, settled=torch.ones_like(state.settled))

    def _derain(
        self, centre: int, state: SwiftState, tiles: Tiles | None
    ) -> tuple[Output, SwiftState]:
        frame = state.window.frames[centre]
        haze = state.haze
        if int(state.age) % LOOK_EVERY == 0:
            # Doubt first, then the mean: a belief that comes or goes must not be seen as flicker.
            seen = weigh_by_confidence(self.haze_estimator(as_float(frame)))
            haze = Haze(*map(partial(torch.lerp, weight=state.settled), seen, state.haze))
        transmission = full_size(haze.transmission, *frame.shape[-2:])

        def work(tile: Tile) -> tuple[Output, tuple[Tensor, ...]]:
            near = fetch(state.window, centre, tile)
            return self._derain_tile(near, state, tile.crop(transmission), haze.airlight, tile)

        output, (image, memory1, memory2) = compute(work, frame, tiles)
        return output, SwiftState(
            state.window,
            image,
            memory1,
            memory2,
            haze,
            settled=state.settled.clamp_min(HAZE_KEPT),
            started=torch.ones_like(state.started),
            caution=state.caution,
            age=state.age + 1,
        )

    def _derain_tile(
        self, near: Fetched, state: SwiftState, transmission: Tensor, airlight: Tensor, tile: Tile
    ) -> tuple[Output, tuple[Tensor, ...]]:
        """Output, image and hidden states of a tile, or of the whole frame as one."""
        clear, gain = near.frame, 1 / transmission
        if has_haze(gain):
            clear = see_through(as_float(clear), gain, airlight)
        clear = as_kind(clear, state.image.dtype)
        previous, h1, h2 = clear, tile.crop(state.memory1), tile.crop(state.memory2)
        if self.has_hidden_state:
            moved = warp(state.image, near.to_previous, clear, tile.corner(state.image))
            previous = _choose(state.started > 0, moved, clear)
            corner = tile.corner(state.memory1)
            h1 = warp(state.memory1, near.to_previous, torch.zeros_like(h1), corner)
            h2 = warp(state.memory2, near.to_previous, torch.zeros_like(h2), corner)
        # A frame without neighbours is its own, and would stand still everywhere.
        alone = int(state.window.filled) < 2
        standing = torch.zeros_like(state.caution) if alone else STANDING * state.caution
        core = self.engine or self.core
        found = core(
            CoreInputs(
                near.frame,
                *near.neighbours,
                *near.unmoved,
                previous,
                gain,
                airlight,
                state.caution,
                standing,
                h1,
                h2,
            )
        )
        recovered, streaks = found.recovered, found.streaks
        output = Output(
            image=found.image,
            recovered=recovered if self.training or recovered is None else recovered.clamp(0, 1),
            streaks=None if streaks is None else transmission * streaks,
            occlusion=found.occlusion,
            transmission=transmission,
            airlight=airlight,
        )
        image = found.image.clamp(0, 1) if self.training else found.image
        return output, (as_kind(image, state.image.dtype), found.memory1, found.memory2)

    def core(self, seen: CoreInputs) -> CoreOutputs:
        """From a frame and its moved neighbours to the derained frame: what an engine may run."""
        return self.body(compare(seen))

    def body(self, seen: Compared) -> CoreOutputs:
        """The core behind its comparison: all of it that has weights."""
        seen = Compared(*map(as_float, seen))
        frame, gain, h1, h2 = seen.frame, seen.gain, seen.memory1, seen.memory2
        clear, median = (see_through(x, gain, seen.airlight) for x in (frame, seen.median))
        dark, low, high, bright = ((x - frame) * gain for x in seen[1:5])
        still = seen.still * seen.caution
        shown = [clear, dark, low, high, bright, seen.previous - clear, still]
        half, h1 = self.trunk1(concatenate(shown, self.rain.weight), h1)
        rain = F.pixel_shuffle(self.rain(half), 2).float()
        # No light adds more than white to black, whatever a layer gives.
        streaks, occlusion = rain[:, :3].clamp(-1, 1), torch.sigmoid(rain[:, 3:])
        recovered = remove_streaks(clear, streaks, occlusion, median).clamp(-0.2, 1.2)
        image = recovered
        if self.stages == 2:
            differences = [recovered, clear - recovered, seen.previous - recovered]
            x = concatenate(differences, self.rain.weight)
            half, h2 = self.trunk2(x, h2, self.bridge(half))
            image = recovered + F.pixel_shuffle(self.residual(half), 2).float()
        if not self.training:
            # Training sees what lies outside [0, 1], or it could not pull it back.
            image = darken_transients(image.clamp(0, 1), clear + high, seen.caution)
            seen_clear = clear.clamp(0, 1)
            image = keep_standing(image, seen_clear, seen.change, gain, seen.standing)
        return CoreOutputs(image, h1, h2, recovered, streaks, occlusion)
