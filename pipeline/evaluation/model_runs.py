"""Running the models that are compared: each over one shot, with its rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from derain.configs.validation import Level
from derain.models import Derainer, DerainError, Output, VideoModel, load_model
from derain.models.log import Log, say_nothing
from derain.models.runtime.tiles import Tiles
from derain.pipeline.streaming.temporal_smoothing import TemporalSmoother
from derain.pipeline.video import read_rgb
from derain.pipeline.video.color import to_bytes
from derain.stages.data.validation_pairs import Condition

State = tuple[Tensor, ...]
INPUT = "input"  # the row of the rainy input itself


@dataclass(frozen=True, slots=True)
class Options:
    """How to evaluate.

    Args:
        device, precision: as `Derainer` takes them.
        levels: only these; empty for all.
        frames: only the first so many of each clip.
        reset_hidden_state: add a row with the hidden state, not the window, reset before
            every frame.
        quick: PSNR alone.
        lpips_weights: AlexNet's file for LPIPS.
        boldness: as `Derainer` takes it.
        condition: of all pairs: a codec after the rain, or another scene.
    """

    device: str = "auto"
    precision: str = "auto"
    levels: tuple[Level, ...] = ()
    frames: int | None = None
    reset_hidden_state: bool = False
    quick: bool = False
    lpips_weights: Path | None = None
    boldness: float = 0.5
    condition: Condition | None = None


class StatelessAblation(VideoModel[State]):
    """A model whose hidden state is reset before every step; its window of frames is kept.

    Raises:
        DerainError: the model remembers nothing.
    """

    def __init__(self, model: VideoModel[State]) -> None:
        super().__init__()
        if not model.has_hidden_state:
            raise DerainError("This model has no hidden state; leave out --reset-hidden-state.")
        self.model, self.has_boldness = model, model.has_boldness
        self.latency, self.multiple, self.halo = model.latency, model.multiple, model.halo
        self.memory_profile, self.supports_tiles = model.memory_profile, model.supports_tiles

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> State:
        return self.model.initial_state(batch, height, width, device=device, dtype=dtype)

    def with_boldness(self, state: State, boldness: Tensor | float) -> State:
        """As the model has it."""
        return self.model.with_boldness(state, boldness)

    def step(
        self, frame: Tensor, state: State, tiles: Tiles | None = None
    ) -> tuple[Output | None, State]:
        """One step from a fresh hidden state."""
        return self.model.step(frame, self.model.reset_hidden_state(state), tiles)

    def flush(self, state: State, tiles: Tiles | None = None) -> list[Output]:
        """The last outputs; the hidden state is reset before the first of them."""
        return self.model.flush(self.model.reset_hidden_state(state), tiles)


def load_models(
    names: list[str], weights: Path | None = None, *, steady: bool = False
) -> dict[str, VideoModel]:
    """Load models by name or weight file, `median` first; `steady`: each steadied, too.

    Args:
        names: of networks, or weight files.
        weights: for the one name.
        steady: whether each is there with its results smoothed over time, too.

    Raises:
        DerainError: unknown names or weights, one weight file for several models, the same model
            twice, or a model that cannot be steadied.
    """
    if weights is not None and len(names) != 1:
        raise DerainError("--weights goes with exactly one model; name weight files as models.")
    models = {"median": load_model("median")}
    for name in names:
        label = Path(name).stem if Path(name).suffix else name
        if label in models and label != name:
            label = name  # runs of one preset leave files of one name
        if label in models and label != "median":
            raise DerainError(f"'{name}' is named twice; once is enough.")
        models[label] = load_model(name, weights)
        if steady:
            models[f"{label}, steady"] = TemporalSmoother(models[label])
    return models


def read_clip(path: Path) -> Tensor:
    """Decode a clip: (T, 3, H, W) uint8 RGB."""
    frames = [to_bytes(frame) for frame in read_rgb(path)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def run_model(
    model: VideoModel, rainy: Tensor, options: Options, notice: Log = say_nothing
) -> dict[str, Tensor]:
    """Run a model over one shot (T, 3, H, W).

    Args:
        model: run as one shot from a fresh state.
        rainy: (T, 3, H, W), RGB in [0, 1], on the CPU.
        options: device, precision and boldness.
        notice: told what the run did differently.

    Returns:
        "image", and "recovered" where the model has it, on the CPU, each as long as the input.
    """
    bold = options.boldness if model.has_boldness else 0.5
    # Torch: figures are of the weights, whatever else is installed.
    derainer = Derainer(
        model, options.device, options.precision, notice=notice, boldness=bold, engine="torch"
    )
    outputs = [output for frame in rainy if (output := derainer.push(frame)) is not None]
    outputs += derainer.flush()
    layers = {"image": torch.cat([o.image for o in outputs]).float().cpu()}
    stage_1 = [o.recovered for o in outputs if o.recovered is not None]
    if stage_1:
        layers["recovered"] = torch.cat(stage_1).float().cpu()
    return layers


def outputs_of(
    models: dict[str, VideoModel], frames: Tensor, options: Options, notice: Log
) -> Iterator[tuple[str, Tensor]]:
    """Rows of a table for one clip: input, each model, its first stage, itself reset.

    Args:
        models: by the names that tables show.
        frames: (T, 3, H, W), RGB in [0, 1].
        options: of the evaluation.
        notice: told what a run did differently.
    """
    yield INPUT, frames
    for name, model in models.items():
        layers = run_model(model, frames, options, notice)
        if "recovered" in layers:
            yield f"{name}, stage 1", layers["recovered"]
        yield name, layers["image"]
        if options.reset_hidden_state and model.has_hidden_state:
            yield (
                f"{name}, hidden state reset",
                run_model(StatelessAblation(model), frames, options)["image"],
            )
