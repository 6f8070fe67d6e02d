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

Blocks are in blocks.py, how they become stages in stages.py, files of the authors' layout are read
in convert.py. The same network over aligned neighbours is aligned.py's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.networks.haze_estimator import Haze
from derain.models.networks.two_stage.blocks import SLOTS
from derain.models.networks.two_stage.stages import CorrectedStages, ReferenceStages, State
from derain.models.output import Output
from derain.models.runtime.tiles import Tile, Tiles, compute
from derain.models.video_model import VideoModel


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

    def forward(
        self,
        clip: Tensor,
        state: State | None = None,
        haze: Haze | None = None,
        boldness: Tensor | None = None,
        flows: Tensor | None = None,
    ) -> tuple[Output, State]:
        """As the contract has it; while training, stage 1 sees all frames of a shot at once."""
        stages = self.stages
        if not self.training or isinstance(stages, ReferenceStages) or state or haze:
            return super().forward(clip, state, haze, boldness, flows)
        batch, length, _, height, width = clip.shape
        state = self.initial_state(batch, height, width, device=clip.device, dtype=clip.dtype)
        near = torch.arange(length)[:, None] + torch.arange(-self.latency, self.latency + 1)
        windows = clip[:, near.clamp(0, length - 1)]
        output, state = stages.run(windows, state)
        last = torch.arange(length - SLOTS + 1, length).clamp_min(0)
        return output, state._replace(frames=clip[:, last], seen=torch.tensor(length))

    def _derain(self, window: Tensor, state: State, tiles: Tiles | None) -> tuple[Output, State]:
        def work(tile: Tile) -> tuple[Output, tuple[Tensor, ...]]:
            own = state._replace(outputs=tile.crop(state.outputs), memory=tile.crop(state.memory))
            output, own = self.stages(tile.crop(window), own, tile.mean)
            return output if self.training else shown(output), (
                own.outputs,
                own.memory,
                own.remembered,
            )

        output, (outputs, memory, remembered) = compute(work, window, tiles, means=True)
        return output, state._replace(outputs=outputs, memory=memory, remembered=remembered)


def shown(output: Output) -> Output:
    """What is seen of an output: training alone needs what lies outside [0, 1]."""
    return replace(output.map(lambda x: x.clamp(0, 1)), streaks=output.streaks)


def _push(frame: Tensor, state: State) -> tuple[Tensor, State]:
    """The window (B, 5, 3, H, W) that ends with `frame` (B, 3, H, W); the first frame fills it."""
    first = (state.seen == 0).to(frame.device)
    frames = torch.where(first, frame[:, None], state.frames)
    window = torch.cat([frames, frame[:, None]], 1)
    return window, state._replace(frames=window[:, 1:], seen=state.seen + 1)
