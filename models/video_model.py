"""The contract of a model: what every network of the product looks like to the pipeline.

A recurrent model has `latency`, `multiple`, `halo`, `initial_state`, `step`, `flush` and `forward`.
A single-image network is a plain `nn.Module`; `PerFrame` (per_frame.py) gives it the contract.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives for one frame, or for a clip with a time axis after the batch axis.

    Images are float32 RGB in [0, 1]. Fields that a model does not have are None.
    """

    image: Tensor  # (B, 3, H, W) the finished frame
    recovered: Tensor | None = None  # (B, 3, H, W) stage-1 result, J
    streaks: Tensor | None = None  # (B, 3, H, W) additive streak layer, signed
    occlusion: Tensor | None = None  # (B, 1, H, W) in [0, 1]
    transmission: Tensor | None = None  # (B, 1, H, W) in [t_min, 1]
    airlight: Tensor | None = None  # (B, 3, 1, 1) in [0, 1], or a map of the image's size
    hazy: Tensor | None = None  # (B, 3, H, W) streak-free, still hazy frame, H
    # What else there is to see, by name: (B, 1 or 3, H, W).
    pictures: dict[str, Tensor] | None = None
    features: Any = None  # anything else a training stage needs; never encoded

    def map(self, f: Any) -> Output:
        """Apply `f` to every tensor field and to every picture."""
        values = {x.name: getattr(self, x.name) for x in fields(self)}
        mapped = {n: f(v) if isinstance(v, Tensor) else v for n, v in values.items()}
        if self.pictures is not None:
            mapped["pictures"] = {name: f(value) for name, value in self.pictures.items()}
        return Output(**mapped)


@runtime_checkable
class RecurrentModel(Protocol):
    """The contract. See DESIGN in README for the laws that tests hold every model to.

    `step` and `flush` may have one more argument, `tiles: Tiles | None = None` (tiles.py): the
    model then computes the frame in these. One without it needs memory for whole frames.
    """

    latency: int  # frames between the newest input and the output it completes
    multiple: int  # height and width must be multiples of this; `Derainer` pads and crops back
    halo: int  # pixels around a tile that its result depends on

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> Any:
        """A fresh state for frames of (batch, 3, height, width)."""
        ...

    def step(self, frame: Tensor, state: Any) -> tuple[Output | None, Any]:
        """Take (B, 3, H, W); give the output of `latency` frames ago, or None, and the state."""
        ...

    def flush(self, state: Any) -> list[Output]:
        """The last outputs of a shot: min(latency, frames fed) of them."""
        ...


def stack_outputs(outputs: list[Output]) -> Output:
    """Stack outputs of single frames to one with a time axis: (B, …) -> (B, T, …)."""
    first = outputs[0]

    def column(name: str) -> Tensor | None:
        values = [getattr(o, name) for o in outputs]
        return torch.stack(values, 1) if isinstance(values[0], Tensor) else None

    return Output(**{x.name: column(x.name) for x in fields(first)})  # type: ignore[arg-type]


def run_clip(
    model: Any, clip: Tensor, state: Any = None, *, ends: bool = False
) -> tuple[Output, Any]:
    """Run steps and flush over a whole shot (B, T, 3, H, W); the shared body of `forward`.

    Without `state` the clip is a whole shot and the result has T frames. With one, the clip goes on
    where that state stopped and, unless the shot `ends` with it, nothing is flushed: the result has
    the frames completed so far.
    """
    batch, _, _, height, width = clip.shape
    if state is None:
        ends = True
        state = model.initial_state(batch, height, width, device=clip.device, dtype=clip.dtype)
    outputs: list[Output] = []
    for frame in clip.unbind(1):
        output, state = model.step(frame, state)
        if output is not None:
            outputs.append(output)
    if ends:
        outputs += model.flush(state)
    return stack_outputs(outputs), state
