"""The two stages over one window: as the authors have them, and corrected."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.networks.two_stage.blocks import (
    Body,
    Encoder,
    Head,
    Move,
    ReferenceEncoder,
    convolution,
    initialise,
)
from derain.models.ops.layers import start_at
from derain.models.ops.scattering import T_MIN, dehaze, remove_streaks
from derain.models.output import Output
from derain.models.runtime.tiles import Mean, spatial_mean

REFERENCE_T_MIN = 0.05
FADE = 0.99  # of the corrected hidden state, per frame
SPREAD = 4.0  # of what the corrected encoders see; training is twice as fast as with 1


class State(NamedTuple):
    """What a stream carries, for frames of (B, 3, H, W) and r = 4 * unshuffle.

    frames: (B, 4, 3, H, W) the last frames, oldest first.
    outputs: (B, 2, 3, H, W) O[t-2], O[t-1].
    memory: (B, cells, 2, 4 * width, H/r, W/r) hidden and cell of every ConvLSTM.
    seen: () int64 on the CPU, frames taken.
    remembered: () int64 on the CPU, outputs given since the hidden state was last empty.
    """

    frames: Tensor
    outputs: Tensor
    memory: Tensor
    seen: Tensor
    remembered: Tensor

    def earlier(self, stand_in: Tensor) -> Tensor:
        """O[t-2], O[t-1] (B, 2, 3, H, W); `stand_in` (B, 3, H, W) where there is none yet."""
        known = (self.remembered >= torch.tensor([2, 1])).to(stand_in.device)
        return torch.where(known[:, None, None, None], self.outputs, stand_in[:, None])

    def advance(self, output: Tensor, memory: list[Tensor]) -> State:
        """The state after `output` (B, 3, H, W), with the new hidden states."""
        return self._replace(
            outputs=torch.stack([self.outputs[:, 1], output], 1),
            memory=torch.stack(memory, 1),
            remembered=self.remembered + 1,
        )


class Generator(nn.Module):
    """The authors' one generator: encoders for two selections of slots, one or two heads."""

    def __init__(self, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        self.observed = ReferenceEncoder(width)
        self.estimated = ReferenceEncoder(width)
        self.heads = nn.ModuleList(Head(width, blocks, 3) for _ in range(heads))

    def forward(
        self, observed: Tensor, estimated: Tensor, memory: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Images and new hidden states, of two times five slots (B, 5, 3, H, W), one for each head.

        Only the first head has skips, from the observed slots.

        Args:
            observed: (B, 5, 3, H, W), slots of observed frames.
            estimated: (B, 5, 3, H, W), slots of earlier estimates.
            memory: the hidden state of each head, (B, 2, C, h, w).
        """
        skips = self.observed(observed)
        deep = skips.deep + self.estimated(estimated).deep
        images, memories = [], []
        for index, (head, past) in enumerate(zip(self.heads, memory, strict=True)):
            image, past = head(deep, past, skips if index == 0 else None)
            images.append(image.to(observed.dtype))
            memories.append(past)
        return images, memories


class ReferenceStages(nn.Module):
    """Three generators as the authors have them: nothing is bounded but t from below."""

    cells = 4

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.res = Generator(width, blocks, heads=1)
        self.haze = Generator(width, blocks, heads=2)
        self.s2 = Generator(width, blocks, heads=1)
        initialise(self)
        for head, start in zip(self.haze.heads, (0.5, 1.0), strict=True):
            assert isinstance(head, Head)
            start_at(head.decoder.out, start)

    def forward(
        self, window: Tensor, state: State, mean: Mean = spatial_mean
    ) -> tuple[Output, State]:
        """Both stages over one window.

        Args:
            window: (B, 5, 3, H, W), RGB in [0, 1].
            state: of the frames before.
            mean: takes (B, C, h, w) to (B, C), over the whole frame where the window is of a tile.
        """
        res, thin, light, s2 = state.memory.unbind(1)
        frame = window[:, 2]
        (hazy,), (res,) = self.res(window, window, [res])
        (raw, airlight), (thin, light) = self.haze(window, window, [thin, light])
        transmission = raw[:, :1].clamp_min(REFERENCE_T_MIN)
        recovered = (hazy - airlight * (1 - transmission)) / transmission
        recovered = recovered.detach()  # as the authors have it: stage 2 does not teach stage 1

        around = state.earlier(recovered), window[:, 3:]
        observed = torch.cat([around[0], frame[:, None], around[1]], 1)
        estimated = torch.cat([around[0], recovered[:, None], around[1]], 1)
        (image,), (s2,) = self.s2(observed, estimated, [s2])
        output = Output(
            image=image,
            recovered=recovered,
            streaks=frame - hazy,
            transmission=transmission,
            airlight=airlight,
            hazy=hazy,
            features={"transmission_raw": raw},
        )
        return output, state.advance(image, [res, thin, light, s2])


class CorrectedStages(nn.Module):
    """One encoder a stage, heads by role, bounded physics, residual output."""

    cells = 3

    def __init__(self, width: int, blocks: int, unshuffle: int) -> None:
        super().__init__()
        self.unshuffle = r = unshuffle
        deep = 4 * width
        self.observed = Encoder(3 * r * r, width)
        self.rain = Head(width, blocks, 8 * r * r, FADE)  # S, a, fill, detail of t
        self.haze = Body(deep, blocks, FADE)
        self.thin = convolution(deep, 1)
        self.light = nn.Linear(deep, 3)
        self.estimated = Encoder(3 * r * r, width)
        self.refine = Head(width, blocks, 3 * r * r, FADE)
        initialise(self)
        for layer in (self.rain.decoder.out, self.refine.decoder.out):
            nn.init.zeros_(layer.weight)
        start_at(self.rain.decoder.out, -3.0, slice(3 * r * r, 4 * r * r))  # little is opaque
        start_at(self.thin, 4.0)
        nn.init.constant_(self.light.bias, 1.4)

    def forward(
        self, window: Tensor, state: State, mean: Mean = spatial_mean
    ) -> tuple[Output, State]:
        """Both stages over one window.

        Args:
            window: (B, 5, 3, H, W), RGB in [0, 1].
            state: of the frames before.
            mean: takes (B, C, h, w) to (B, C), over the whole frame where the window is of a tile.
        """
        output, state = self.run(window[:, None], state, mean)
        return output.map(lambda x: x[:, 0]), state

    def run(
        self,
        windows: Tensor,
        state: State,
        mean: Mean = spatial_mean,
        move: Move | None = None,
    ) -> tuple[Output, State]:
        """Both stages over the windows of T frames that follow one another.

        Stage 1 needs no output of the frame before: all but its hidden states is computed for all
        frames at once.

        Args:
            windows: (B, T, 5, 3, H, W), RGB in [0, 1].
            state: of the frames before.
            mean: as in `forward`.
            move: what moves hidden states and earlier outputs to each frame.
        """
        first, deep, (rain_memory, haze_memory) = self._recover(windows, state, mean, move)
        assert first.recovered is not None
        refine_memory, images = state.memory[:, 2], []
        for index in range(windows.shape[1]):
            if move is not None:
                refine_memory = move(refine_memory, index)
                state = state._replace(outputs=move(state.outputs, index))
            recovered, ahead = first.recovered[:, index], windows[:, index, 3:]
            slots = torch.cat([state.earlier(recovered), recovered[:, None], ahead], 1)
            guide = self.estimated(self._slots(slots))
            together = deep[:, index] + guide.deep
            residual, refine_memory = self.refine(together, refine_memory, guide)
            image = recovered + F.pixel_shuffle(residual.to(windows.dtype), self.unshuffle)
            images.append(image)
            state = state.advance(image.clamp(0, 1), [rain_memory, haze_memory, refine_memory])
        return replace(first, image=torch.stack(images, 1)), state

    def _recover(
        self, windows: Tensor, state: State, mean: Mean, move: Move | None
    ) -> tuple[Output, Tensor, tuple[Tensor, Tensor]]:
        """Stage 1: its layers (B, T, C, H, W), deep features, and the hidden states of both bodies.

        The image that it gives is J.
        """
        window, kind = windows.flatten(0, 1), windows.dtype
        frame = window[:, 2]
        seen = self.observed(self._slots(window))

        layers, rain_memory = self.rain(seen.deep, state.memory[:, 0], seen, move)
        layers = F.pixel_shuffle(layers.to(kind), self.unshuffle)
        streaks, opaque, fill, detail = layers.split((3, 1, 3, 1), 1)
        streaks, occlusion = streaks.clamp(-1, 1), torch.sigmoid(opaque)
        hazy = remove_streaks(frame, streaks, occlusion, frame + fill)

        haze, haze_memory = self.haze(seen.deep, state.memory[:, 1], move)
        smooth = F.interpolate(
            self.thin(haze).to(kind), frame.shape[-2:], mode="bilinear", align_corners=False
        )
        transmission = T_MIN + (1 - T_MIN) * torch.sigmoid(smooth + detail)
        airlight = torch.sigmoid(self.light(mean(haze)).to(kind))[:, :, None, None]
        # Beyond [0, 1] while training, so that gradients can pull back what lies outside.
        low, high = (-0.2, 1.2) if self.training else (0.0, 1.0)
        recovered = dehaze(hazy, transmission, airlight).clamp(low, high)
        output = Output(
            image=recovered,
            recovered=recovered,
            streaks=streaks,
            occlusion=occlusion,
            transmission=transmission,
            airlight=airlight,
            hazy=hazy,
        )
        clip = windows.shape[:2]
        deep = seen.deep.unflatten(0, clip)
        return output.map(lambda x: x.unflatten(0, clip)), deep, (rain_memory, haze_memory)

    def _slots(self, frames: Tensor) -> Tensor:
        """Five frames (B, 5, 3, H, W) as the encoder takes them, unshuffled.

        The middle one stays; since rain is what its neighbours do not have, they are given as
        differences to it. Everything is spread to about [-2, 2], for which the weights are made.
        """
        middle = frames[:, 2:3]
        around = [frames[:, :2] - middle, middle - 0.5, frames[:, 3:] - middle]
        return F.pixel_unshuffle(SPREAD * torch.cat(around, 1), self.unshuffle)
