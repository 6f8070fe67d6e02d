"""`swift`: the default network. Two recurrent stages over an aligned window of five frames.

Physics-guided recovery, then refinement with the previous output, as in Yang et al., "Recurrent
Multi-Frame Deraining" (TPAMI 2022), at a small part of its cost. What differs from the paper: the
neighbours are aligned by optical flow and enter as order statistics, each stage is one small
U-shaped trunk, the memory is a minimal gated unit at 1/8 size that is moved along the flow, and all
physics is bounded (derain.models.physics).

    stage 1: frame, ranked neighbours, stillness, moved O[t-1] -> trunk -> S, a (full size), t, A
             H = (1 - a)(I - S) + a median;   J = A + (H - A) / t
    stage 2: J, I, moved O[t-1], features of stage 1            -> trunk -> O = J + residual

Layers of `swift` (a, b, c = 24, 40, 56 channels at 1/2, 1/4, 1/8 size; both trunks have the same);
kFLOP per pixel of the frame, 2 x multiply-add, both trunks together, by torch's flop counter:

    | module               | in -> out              | at       | kFLOP/px | parameters   |
    |----------------------|------------------------|----------|----------|--------------|
    | head, conv 4x4 s2    | 19 -> a and 9 -> a     | 1/2      | 5.4      | 7.3k, 3.5k   |
    | down1, conv 3x3 s2   | a -> b                 | 1/4      | 2.2      | 2 x 8.7k     |
    | body1, 1 block       | b -> b                 | 1/4      | 7.2      | 2 x 28.9k    |
    | down2, conv 3x3 s2   | b -> c                 | 1/8      | 1.3      | 2 x 20.2k    |
    | body2, 2 blocks      | c -> c                 | 1/8      | 7.1      | 2 x 113.1k   |
    | memory, recall       | c + 24 -> 24 -> c      | 1/8      | 2.2      | 2 x 36.0k    |
    | context, linear      | c -> c                 | one      | 0.0      | 2 x 3.2k     |
    | up2, 1x1 + shuffle   | c -> b                 | 1/4      | 0.6      | 2 x 9.1k     |
    | body3, 1 block       | b -> b                 | 1/4      | 7.2      | 2 x 28.9k    |
    | up1, 1x1 + shuffle   | b -> a                 | 1/2      | 1.0      | 2 x 3.9k     |
    | tail, conv 3x3       | a -> a                 | 1/2      | 5.2      | 2 x 5.2k     |
    | rain, haze, light    | a -> 16, b -> 1, c -> 3| 1/2, 1/4 | 1.8      | 4.0k         |
    | bridge, residual     | a -> a, a -> 12        | 1/2      | 1.6      | 3.2k         |
    | `swift`              |                        |          | 42.6     | 532,488      |
    | `swift-plus` (40, 96, 128; 2 and 3 blocks; 64)| |          | 287.3    | 4,072,680    |
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.alignment import dis_flow, warp
from derain.models.contract import Output, fold
from derain.models.layers import MinimalGatedUnit, ResidualBlock, Upsample, activate
from derain.models.physics import T_MIN, invert_veil, strip
from derain.models.tiles import Mean, Tile, Tiles, compute, spatial_mean
from derain.models.window import REACH, Aligned, Window, align, push, ready, unfinished

AIRLIGHT_KEPT = 0.8  # share of the previous airlight kept from frame to frame


class SwiftState(NamedTuple):
    """What a stream carries. `started` is 0 until there is an earlier output, then 1.

    image: (B, 3, H, W) the previous output. memory1, memory2: (B, hidden, H / 8, W / 8).
    airlight: (B, 3, 1, 1). started: (B, 1, 1, 1).
    """

    window: Window
    image: Tensor
    memory1: Tensor
    memory2: Tensor
    airlight: Tensor
    started: Tensor


def joined(pictures: list[Tensor]) -> Tensor:
    """Pictures one after another on the channel axis, in the type that convolutions will use.

    Converting before joining moves half the bytes in half precision, with the same result.
    """
    device = pictures[0].device.type
    if torch.is_autocast_enabled(device):
        pictures = [x.to(torch.get_autocast_dtype(device)) for x in pictures]
    return torch.cat(pictures, 1)


class Trunk(nn.Module):
    """A U-shaped body at 1/2, 1/4 and 1/8 size with a memory at the bottom."""

    def __init__(
        self, channels: int, widths: tuple[int, int, int], blocks: tuple[int, int], hidden: int
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.head = nn.Conv2d(channels, a, 4, stride=2, padding=1)
        self.down1 = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.body1 = nn.Sequential(*[ResidualBlock(b) for _ in range(blocks[0])])
        self.down2 = nn.Conv2d(b, c, 3, stride=2, padding=1)
        self.body2 = nn.Sequential(*[ResidualBlock(c) for _ in range(blocks[1])])
        self.memory = MinimalGatedUnit(c, hidden) if hidden else None
        self.recall = nn.Conv2d(hidden, c, 1) if hidden else None
        self.context = nn.Linear(c, c)
        nn.init.zeros_(self.context.weight)
        nn.init.zeros_(self.context.bias)
        self.up2 = Upsample(c, b)
        self.body3 = nn.Sequential(*[ResidualBlock(b) for _ in range(blocks[0])])
        self.up1 = Upsample(b, a)
        self.tail = nn.Conv2d(a, a, 3, padding=1)

    def forward(
        self, x: Tensor, h: Tensor, extra: Tensor | None = None, mean: Mean = spatial_mean
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x (B, channels, H, W), h the moved memory, `extra` (B, a, H/2, W/2) added after the head.

        Returns:
            Features at 1/2, 1/4 and 1/8 size, and the new memory.
        """
        half = self.head(x)
        half = activate(half if extra is None else half + extra)
        quarter = self.body1(activate(self.down1(half)))
        eighth = self.body2(activate(self.down2(quarter)))
        if self.memory is not None and self.recall is not None:
            h = self.memory(eighth, h)
            eighth = eighth + self.recall(h.to(eighth.dtype))
        # How thick haze is can only be told from the whole picture.
        eighth = eighth + self.context(mean(eighth))[:, :, None, None]
        quarter = self.body3(quarter + self.up2(eighth))
        half = activate(self.tail(half + self.up1(quarter)))
        return half, quarter, eighth, h


class Swift(nn.Module):
    """The network under the model contract.

    Args:
        widths: channels at 1/2, 1/4 and 1/8 size.
        blocks: residual blocks at 1/4 (on the way down, and again up) and at 1/8 size.
        hidden: channels of each memory.
        stages: 2, or 1 to stop at the recovered frame J.
        memory: whether anything of earlier outputs is used; without it the window is all there is.
    """

    latency = REACH
    multiple = 8
    halo = 64

    def __init__(
        self,
        widths: tuple[int, int, int] = (24, 40, 56),
        blocks: tuple[int, int] = (1, 2),
        hidden: int = 24,
        stages: int = 2,
        memory: bool = True,
    ) -> None:
        super().__init__()
        self.hidden = hidden if memory else 0
        self.stages, self.remembers = stages, memory
        widths = (widths[0], widths[1], widths[2])
        blocks = (blocks[0], blocks[1])
        a, b, c = widths
        self.trunk1 = Trunk(19, widths, blocks, self.hidden)
        self.rain = nn.Conv2d(a, 16, 3, padding=1)  # S and a, shuffled to full size
        self.haze = nn.Conv2d(b, 1, 3, padding=1)  # t, at 1/4 size
        self.light = nn.Linear(c, 3)  # A, one colour
        if stages == 2:
            self.trunk2 = Trunk(9, widths, blocks, self.hidden)
            self.bridge = nn.Conv2d(a, a, 1)
            self.residual = nn.Conv2d(a, 12, 3, padding=1)
            nn.init.zeros_(self.residual.weight)
            nn.init.zeros_(self.residual.bias)  # type: ignore[arg-type]
        # Start as a model that changes nothing.
        for layer in (self.rain, self.haze):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.rain.bias[12:] = -3.0  # type: ignore[index]
            self.haze.bias[:] = 4.0  # type: ignore[index]

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> SwiftState:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros((batch, *shape), device=device, dtype=torch.float32)

        memory = zeros(self.hidden, height // 8, width // 8)
        return SwiftState(
            Window(), zeros(3, height, width), memory, memory, zeros(3, 1, 1), zeros(1, 1, 1)
        )

    def wipe_memory(self, state: SwiftState) -> SwiftState:
        """The same window, with everything remembered of earlier outputs forgotten."""
        return state._replace(
            memory1=torch.zeros_like(state.memory1),
            memory2=torch.zeros_like(state.memory2),
            started=torch.zeros_like(state.started),
        )

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

    def forward(self, clip: Tensor, state: SwiftState | None = None) -> tuple[Output, SwiftState]:
        return fold(self, clip, state)

    def _derain(
        self, centre: int, state: SwiftState, tiles: Tiles | None
    ) -> tuple[Output, SwiftState]:
        def work(tile: Tile) -> tuple[Output, tuple[Tensor, ...]]:
            return self._derain_tile(align(state.window, centre, tile), state, tile)

        output, kept = compute(work, state.image, tiles, means=True)
        return output, SwiftState(state.window, *kept)

    def _derain_tile(
        self, near: Aligned, state: SwiftState, tile: Tile
    ) -> tuple[Output, tuple[Tensor, ...]]:
        """Output and state, without the window, of the tile."""
        frame = near.frame
        height, width = frame.shape[-2:]
        h1, h2 = tile.crop(state.memory1), tile.crop(state.memory2)
        previous = frame
        if self.remembers:
            moved = warp(state.image, near.to_previous, frame, tile.corner(state.image))
            previous = torch.lerp(frame, moved, state.started)
            corner = tile.corner(state.memory1)
            h1 = warp(state.memory1, near.to_previous, torch.zeros_like(h1), corner)
            h2 = warp(state.memory2, near.to_previous, torch.zeros_like(h2), corner)

        seen = [frame, *(x - frame for x in near.ranked), previous - frame, near.stillness]
        half, quarter, eighth, h1 = self.trunk1(joined(seen), h1, mean=tile.mean)
        rain = F.pixel_shuffle(self.rain(half).float(), 2)
        streaks, occlusion = rain[:, :3], torch.sigmoid(rain[:, 3:])
        thin = F.interpolate(
            self.haze(quarter).float(), (height, width), mode="bilinear", align_corners=False
        )
        transmission = T_MIN + (1 - T_MIN) * torch.sigmoid(thin)
        light = torch.sigmoid(self.light(tile.mean(eighth)).float())[:, :, None, None]
        airlight = torch.lerp(light, state.airlight, AIRLIGHT_KEPT * state.started)

        hazy = strip(frame, streaks, occlusion, near.median)
        recovered = invert_veil(hazy, transmission, airlight).clamp(-0.2, 1.2)
        image = recovered
        if self.stages == 2:
            seen = [recovered, frame - recovered, previous - recovered]
            half, _, _, h2 = self.trunk2(joined(seen), h2, self.bridge(half), tile.mean)
            image = recovered + F.pixel_shuffle(self.residual(half).float(), 2)
        shown = image.clamp(0, 1)
        output = Output(
            # Training sees what lies outside [0, 1], or it could not pull it back.
            image=image if self.training else shown,
            recovered=recovered if self.training else recovered.clamp(0, 1),
            streaks=streaks,
            occlusion=occlusion,
            transmission=transmission,
            airlight=airlight,
            hazy=hazy,
        )
        started = torch.ones_like(state.started)
        return output, (shown, h1, h2, airlight, started)
