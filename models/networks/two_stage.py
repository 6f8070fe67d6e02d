"""The paper's own network: two recurrent stages over five frames that are not aligned.

Yang et al., "Recurrent Multi-Frame Deraining: Combining Physics Guidance and Adversarial Learning"
(TPAMI 2022). Stage 1 estimates the streak-free frame H, transmission t and airlight A and takes the
haze off; stage 2 refines the result J together with its own two previous outputs O.

    H, t, A = stage 1 (I[t-2 .. t+2]);            J = A + (H - A) / t
    O[t]    = stage 2 (O[t-2], O[t-1], J, I[t], I[t+1], I[t+2])

`variant="reference"` computes what the authors' code computes, without the work for its two unused
heads. `variant="corrected"` is the one to train. What differs: t and A are bounded; one encoder in
stage 1, whose deep features also serve stage 2, where the paper has a second encoder that sees the
rainy frame; skips of stage 2 come from J alone, so no streak passes by them; streaks S and opaque
drops a are explicit, H = (1 - a)(I - S) + a (I + fill); t is smooth plus a detail of full size, A
one colour; J is clamped; O = J + residual; hidden states fade; neighbours enter as differences to
the middle frame; everything may run on unshuffled pixels; it starts by changing next to nothing.

Blocks are in two_stage_net.py, files of the authors' layout are read in two_stage_convert.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.networks.two_stage_convert import convert_reference as convert_reference
from derain.models.networks.two_stage_convert import recognises as recognises
from derain.models.networks.two_stage_net import (
    SLOTS,
    Body,
    Encoder,
    Head,
    ReferenceEncoder,
    convolution,
    initialise,
)
from derain.models.ops.layers import start_at
from derain.models.ops.scattering import T_MIN, dehaze, remove_streaks
from derain.models.output import Output
from derain.models.runtime.tiles import Mean, Tile, Tiles, compute, spatial_mean
from derain.models.video_model import VideoModel

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


class TwoStage(VideoModel[State]):
    """The network under the model contract.

    Args:
        variant: "corrected" or "reference".
        width: channels n at the finest scale; 2n and 4n below. The authors have 32.
        blocks: residual blocks before each ConvLSTM. The authors have 5.
        unshuffle: the finest scale is 1/unshuffle of the image. 1 in the reference.

    Raises:
        DerainError: an unknown variant, or an unshuffled reference.
    """

    latency = 2
    has_hidden_state = True

    def __init__(
        self, variant: str = "corrected", width: int = 16, blocks: int = 3, unshuffle: int = 2
    ) -> None:
        super().__init__()
        self.stages: ReferenceStages | CorrectedStages
        if variant == "corrected":
            self.stages = CorrectedStages(width, blocks, unshuffle)
        elif variant == "reference" and unshuffle == 1:
            self.stages = ReferenceStages(width, blocks)
        else:
            raise DerainError(
                f"two_stage has no variant '{variant}' with unshuffle {unshuffle}; "
                "use 'corrected', or 'reference' with unshuffle 1."
            )
        self.width = width
        self.stride = 4 * unshuffle
        self.multiple = self.stride
        # One step reaches 2 * unshuffle * (51 + 8 * blocks) and hidden states ever farther, but
        # beyond this the influence was measured to be below 1/1000 after seven frames.
        self.halo = 64 * unshuffle

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros((batch, *shape), device=device, dtype=dtype)

        deep = (4 * self.width, height // self.stride, width // self.stride)
        return State(
            frames=zeros(SLOTS - 1, 3, height, width),
            outputs=zeros(2, 3, height, width),
            memory=zeros(self.stages.cells, 2, *deep),
            seen=torch.tensor(0),
            remembered=torch.tensor(0),
        )

    def reset_hidden_state(self, state: State) -> State:
        """The same window, with hidden states and previous outputs forgotten."""
        return state._replace(
            outputs=torch.zeros_like(state.outputs),
            memory=torch.zeros_like(state.memory),
            remembered=torch.zeros_like(state.remembered),
        )

    def step_window(self, window: Tensor, state: State) -> tuple[Output, State]:
        """Derain the middle of five frames (B, 5, 3, H, W); `frames` and `seen` are not touched.

        The output is what the network computes, not clamped: so golden sequences can be fed as
        they are, and training sees what lies outside [0, 1].
        """
        output, state = self.stages(window, state)
        return output, state

    def step(
        self, frame: Tensor, state: State, tiles: Tiles | None = None
    ) -> tuple[Output | None, State]:
        window, state = _push(frame, state)
        if int(state.seen) <= self.latency:
            return None, state
        return self._derain(window, state, tiles)

    def flush(self, state: State, tiles: Tiles | None = None) -> list[Output]:
        outputs = []
        waiting = min(self.latency, int(state.seen))
        for missing in range(self.latency, 0, -1):
            window, state = _push(state.frames[:, -1], state)
            if missing <= waiting:
                output, state = self._derain(window, state, tiles)
                outputs.append(output)
        return outputs

    def _derain(self, window: Tensor, state: State, tiles: Tiles | None) -> tuple[Output, State]:
        def work(tile: Tile) -> tuple[Output, tuple[Tensor, ...]]:
            own = state._replace(outputs=tile.crop(state.outputs), memory=tile.crop(state.memory))
            output, own = self.stages(tile.crop(window), own, tile.mean)
            return self._shown(output), (own.outputs, own.memory, own.remembered)

        output, (outputs, memory, remembered) = compute(work, window, tiles, means=True)
        return output, state._replace(outputs=outputs, memory=memory, remembered=remembered)

    def _shown(self, output: Output) -> Output:
        if self.training:
            return output
        return replace(output.map(lambda x: x.clamp(0, 1)), streaks=output.streaks)


def _push(frame: Tensor, state: State) -> tuple[Tensor, State]:
    """The window (B, 5, 3, H, W) that ends with `frame` (B, 3, H, W); the first frame fills it."""
    first = (state.seen == 0).to(frame.device)
    frames = torch.where(first, frame[:, None], state.frames)
    window = torch.cat([frames, frame[:, None]], 1)
    return window, state._replace(frames=window[:, 1:], seen=state.seen + 1)


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
        rain_memory, haze_memory, refine_memory = state.memory.unbind(1)
        frame, kind = window[:, 2], window.dtype
        seen = self.observed(self._slots(window))

        layers, rain_memory = self.rain(seen.deep, rain_memory, seen)
        layers = F.pixel_shuffle(layers.to(kind), self.unshuffle)
        streaks, opaque, fill, detail = layers.split((3, 1, 3, 1), 1)
        streaks, occlusion = streaks.clamp(-1, 1), torch.sigmoid(opaque)
        hazy = remove_streaks(frame, streaks, occlusion, frame + fill)

        haze, haze_memory = self.haze(seen.deep, haze_memory)
        smooth = F.interpolate(
            self.thin(haze).to(kind), frame.shape[-2:], mode="bilinear", align_corners=False
        )
        transmission = T_MIN + (1 - T_MIN) * torch.sigmoid(smooth + detail)
        airlight = torch.sigmoid(self.light(mean(haze)).to(kind))[:, :, None, None]
        # Beyond [0, 1] while training, so that gradients can pull back what lies outside.
        low, high = (-0.2, 1.2) if self.training else (0.0, 1.0)
        recovered = dehaze(hazy, transmission, airlight).clamp(low, high)

        slots = torch.cat([state.earlier(recovered), recovered[:, None], window[:, 3:]], 1)
        guide = self.estimated(self._slots(slots))
        residual, refine_memory = self.refine(seen.deep + guide.deep, refine_memory, guide)
        image = recovered + F.pixel_shuffle(residual.to(kind), self.unshuffle)
        output = Output(
            image=image,
            recovered=recovered,
            streaks=streaks,
            occlusion=occlusion,
            transmission=transmission,
            airlight=airlight,
            hazy=hazy,
        )
        return output, state.advance(image.clamp(0, 1), [rain_memory, haze_memory, refine_memory])

    def _slots(self, frames: Tensor) -> Tensor:
        """Five frames (B, 5, 3, H, W) as the encoder takes them, unshuffled.

        The middle one stays; since rain is what its neighbours do not have, they are given as
        differences to it. Everything is spread to about [-2, 2], for which the weights are made.
        """
        middle = frames[:, 2:3]
        around = [frames[:, :2] - middle, middle - 0.5, frames[:, 3:] - middle]
        return F.pixel_unshuffle(SPREAD * torch.cat(around, 1), self.unshuffle)
