"""The contract of a model: what every network of the product looks like to its callers.

`VideoModel` is the contract. A network for single images derives from `SingleImageModel` (or is any
`nn.Module`), and `PerFrame` (networks/per_frame.py) makes a `VideoModel` of it. The laws that tests
hold every model to are in tests/models/test_video_model.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.networks.haze_estimator import Haze, HazeEstimator
from derain.models.output import LAYERS, Output, stack_outputs
from derain.models.runtime.tiles import Mean, Tiles, spatial_mean

S = TypeVar("S", bound=tuple[Any, ...])


class MemoryProfile(NamedTuple):
    """Bytes per pixel that a network takes in float32.

    held: for every pixel of the frame: state and output.
    working: besides, for every pixel that is computed at once.
    """

    held: int
    working: int


@dataclass(frozen=True, slots=True)
class Description:
    """What a network was built from, as weight files hold it.

    name: in the registry; empty for a network that is not registered.
    settings: arguments of its class.
    note: more of a weight file's JSON, such as steps and data.
    """

    name: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    note: dict[str, object] = field(default_factory=dict)

    @property
    def unlearned(self) -> frozenset[str]:
        """Layers of an output (`LAYERS`) that these weights were not taught: not to be shown.

        Trained weights name those that they were taught; before 0.2.0 all were but occlusion.
        """
        taught = self.note.get("layers")
        if isinstance(taught, list):
            return frozenset(LAYERS).difference(map(str, taught))
        return frozenset({"occlusion"} if "steps" in self.note else ())


class Network(nn.Module, ABC):
    """What callers ask of any network.

    multiple: height and width must be multiples of this; `Derainer` pads and crops back.
    halo: pixels around a tile that its result depends on.
    memory_profile, description: set by the registry.
    """

    multiple: int = 1
    halo: int = 64
    memory_profile: MemoryProfile = MemoryProfile(100, 1000)
    description: Description = Description()


class SingleImageModel(Network):
    """A network that sees one image and knows nothing of others.

    uses_means: whether it takes means over the image by `mean`, which then needs two rounds over
        the tiles of a frame (tiles.py).
    """

    uses_means: bool = False

    @abstractmethod
    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The derained image, and what else there is to see, by name: (B, 1 or 3, H, W).

        Args:
            rainy: (B, 3, H, W), RGB in [0, 1].
            mean: takes (B, C, h, w) to (B, C), over the whole image where `rainy` is a tile of it.
        """


class VideoModel(Network, Generic[S]):
    """A network over a stream of frames.

    latency: frames between the newest input and the output that it completes.
    supports_tiles: whether `step` and `flush` heed `tiles`; without, memory must hold whole frames.
    has_hidden_state: whether anything of earlier outputs is remembered.
    has_boldness: whether it heeds `with_boldness`.
    takes_uint8: whether frames on the CPU may be uint8, which moves a quarter of the bytes; all of
        a stream are, or none.
    haze_estimator: where there is one; training shows it whole frames, and gives `forward` the haze
        of clips whose crops do not show it.
    """

    latency: int
    supports_tiles: bool = True
    has_hidden_state: bool = False
    has_boldness: bool = False
    takes_uint8: bool = False
    haze_estimator: HazeEstimator | None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("haze_estimator", None)

    @abstractmethod
    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> S:
        """A fresh state for frames of (batch, 3, height, width).

        Args:
            batch: streams side by side.
            height: of the frames, a multiple of `multiple`.
            width: likewise.
            device: where the state lies.
            dtype: of the frames; hidden states are float32 all the same.
        """

    @abstractmethod
    def step(self, frame: Tensor, state: S, tiles: Tiles | None = None) -> tuple[Output | None, S]:
        """Take one frame.

        Args:
            frame: (B, 3, H, W), RGB in [0, 1], or uint8 where `takes_uint8` says so.
            state: of the frames before, or the initial one for frames of that type.
            tiles: how to cut the frame, None to compute it as a whole.

        Returns:
            The output of `latency` frames ago, or None while there is none, and the new state.
        """

    @abstractmethod
    def flush(self, state: S, tiles: Tiles | None = None) -> list[Output]:
        """The last outputs of a shot: min(latency, frames fed) of them."""

    def flow_between(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor] | None:
        """The flow that `look_ahead` takes, from frame a to the next one b, and back.

        Args:
            a, b: (B, 3, H, W), RGB in [0, 1], as `step` takes them.

        Returns:
            None for a network that uses no flow.
        """
        return None

    def look_ahead(self, state: S, flows: tuple[Tensor, Tensor]) -> S:
        """The state that knows the flow to the next frame before `step` takes that frame.

        Flow needs the input alone, so a caller may compute it beside the step before. Without it a
        step computes its own, with the same result.

        Args:
            state: of the frames before.
            flows: of the newest frame and the next one, by `flow_between`.
        """
        return state

    def reset_hidden_state(self, state: S) -> S:
        """The same window of frames, with all that is remembered of earlier outputs forgotten."""
        return state

    def informed_state(self, clip: Tensor, haze: Haze) -> S:
        """A fresh state for a clip (B, T, 3, H, W) of known haze, which stays as it is.

        Raises:
            DerainError: this network estimates no haze.
        """
        raise DerainError("This network estimates no haze; run it without any.")

    def with_boldness(self, state: S, boldness: Tensor | float) -> S:
        """The same state for a stream that is derained so boldly from now on.

        Args:
            state: of this network.
            boldness: in [0, 1], one or (B, 1, 1, 1): 0 leaves what might not be rain,
                1 removes what might be, 0.5 is the default. Networks without such a dial ignore it.
        """
        return state

    def forward(
        self,
        clip: Tensor,
        state: S | None = None,
        haze: Haze | None = None,
        boldness: Tensor | None = None,
        flows: Tensor | None = None,
    ) -> tuple[Output, S]:
        """Run a clip, for training and chunks; see `run_clip`.

        Args:
            clip: (B, T, 3, H, W), RGB in [0, 1].
            state: to go on from; None where the clip is a whole shot.
            haze: that of the whole shot, where it is known, as it is in training.
            boldness: (B, 1, 1, 1), of a clip of known haze; see `with_boldness`.
            flows: as `run_clip` takes them, of a clip of known haze.
        """
        if haze is None:
            return run_clip(self, clip, state)
        state = self.informed_state(clip, haze)
        if boldness is not None:
            state = self.with_boldness(state, boldness)
        return run_clip(self, clip, state, ends=True, flows=flows)


def run_clip(
    model: VideoModel[S],
    clip: Tensor,
    state: S | None = None,
    *,
    ends: bool = False,
    flows: Tensor | None = None,
) -> tuple[Output, S]:
    """Run steps and flush over a whole shot (B, T, 3, H, W).

    Args:
        model: under the contract, on the clip's device.
        clip: (B, T, 3, H, W), RGB in [0, 1]; H and W multiples of the model's.
        state: where to go on from. Without it the clip is a whole shot and the result has T frames.
        ends: whether a shot that goes on ends with the clip; if not, the result has the frames
            completed so far.
        flows: (B, T - 1, 4, H / 2, W / 2), from each frame to the next and back, where they are
            known, as those of a crop are from the larger frame around it.
    """
    batch, _, _, height, width = clip.shape
    if state is None:
        ends = True
        state = model.initial_state(batch, height, width, device=clip.device, dtype=clip.dtype)
    outputs: list[Output] = []
    for index, frame in enumerate(clip.unbind(1)):
        if flows is not None and index:
            known = flows[:, index - 1]
            state = model.look_ahead(state, (known[:, :2], known[:, 2:]))
        output, state = model.step(frame, state)
        if output is not None:
            outputs.append(output)
    if ends:
        outputs += model.flush(state)
    return stack_outputs(outputs), state
