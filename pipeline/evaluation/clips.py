"""Evaluation: models over validation pairs, over clean clips and over scenes without rain.

Figures are of the tensors a model gives, before any encoding. Here: running models, collecting
figures, averages. Definitions of figures are in `derain.stages.losses.metrics`, pairs in
`derain.stages.data.validation_pairs`, scenes in scenes.py, tables in tables.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from derain.configs.validation import Level
from derain.models import Derainer, DerainError, Output, VideoModel, load_model
from derain.models.log import Log, say_nothing
from derain.models.runtime.tiles import Tiles
from derain.pipeline.rendered.scenes import SCENES, render_scene
from derain.pipeline.streaming.temporal_smoothing import TemporalSmoother
from derain.pipeline.video import read_rgb
from derain.stages.data.validation_pairs import (
    Condition,
    Pair,
    iterate_pairs,
    load_pairs,
    read_checked,
    to_float,
)
from derain.stages.losses import metrics

State = tuple[Tensor, ...]
Record = dict[str, Any]  # what was measured: row, clip, camera, level, then figures by name
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


@dataclass(slots=True)
class Result:
    """What an evaluation found: records one by one, and sentences worth reading."""

    records: list[Record] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    pairs_sha256: str = ""

    def notice(self, text: str) -> None:
        """Keep a sentence once."""
        if text not in self.notices:
            self.notices.append(text)


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
    frames = [np.rint(frame * 255).astype(np.uint8) for frame in read_rgb(path)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


def run_model(
    model: VideoModel, rainy: Tensor, options: Options, notice: Log = say_nothing
) -> dict[str, Tensor]:
    """Run a model over one shot (T, 3, H, W).

    Returns:
        "image", and "recovered" where the model has it, on the CPU, each as long as the input.
    """
    bold = options.boldness if model.has_boldness else 0.5
    derainer = Derainer(model, options.device, options.precision, notice=notice, boldness=bold)
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
    """Rows of a table for one clip: input, each model, its first stage, itself reset."""
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


def evaluate_pairs(
    models: dict[str, VideoModel],
    pairs_file: Path,
    folder: Path,
    options: Options,
    progress: Log = say_nothing,
) -> Result:
    """Every model over every validation pair.

    Raises:
        DerainError: pairs file or clips cannot be used.
    """
    result = Result()
    pairs = load_pairs(pairs_file)
    result.pairs_sha256 = pairs.sha256
    for pair in iterate_pairs(
        pairs,
        folder,
        read_clip,
        levels=options.levels or None,
        frames=options.frames,
        condition=options.condition,
        notice=result.notice,
    ):
        progress(f"{pair.clip}, {pair.level}")
        flows = None if options.quick else metrics.clean_flows(pair.clean)
        for row, output in outputs_of(models, pair.rainy, options, result.notice):
            figures = measure(output, pair, flows, options, result.notice)
            result.records.append(
                {"row": row, "clip": pair.clip, "camera": pair.camera, "level": pair.level}
                | figures
            )
    return result


def measure(
    output: Tensor, pair: Pair, flows: Tensor | None, options: Options, notice: Log
) -> dict[str, float | None]:
    """All figures of one output, by the names of `metrics.DEFINITIONS`."""
    clean = pair.clean
    rainy = metrics.rainy_pixels(pair.rainy, clean)
    frames = metrics.psnr(output, clean)
    figures: dict[str, float | None] = {
        "psnr": frames.mean().item(),
        "psnr_worst": frames.min().item(),
        "psnr_rainy": metrics.masked_psnr(output, clean, rainy),
        "psnr_clean": metrics.masked_psnr(output, clean, ~rainy),
    }
    if options.quick:
        return figures
    output_y, clean_y = metrics.luma(output), metrics.luma(clean)
    figures |= {
        "psnr_y": metrics.psnr(output_y, clean_y).mean().item(),
        "ssim": metrics.ssim(output, clean).mean().item(),
        "ssim_y": metrics.ssim(output_y, clean_y).mean().item(),
        "temporal": metrics.temporal_error(output, clean, flows),
    }
    try:
        figures |= metrics.structural(output, clean)
    except DerainError as error:
        notice(str(error))
    try:
        network = metrics.load_lpips(options.lpips_weights)
        figures["lpips"] = metrics.lpips_distance(network, output, clean)
    except DerainError as error:
        if options.lpips_weights:  # asked for by name: that must not pass as a notice
            raise
        notice(str(error))
    return figures


def evaluate_clean(
    models: dict[str, VideoModel],
    pairs_file: Path,
    folder: Path,
    options: Options,
    progress: Log = say_nothing,
) -> Result:
    """Do no harm: the clean clips themselves through every model, PSNR against what went in."""
    result = Result()
    pairs = load_pairs(pairs_file)
    result.pairs_sha256 = pairs.sha256
    for clip in pairs.clips:
        progress(f"{clip.file}, no rain")
        clean = to_float(read_checked(clip, folder, read_clip)[: options.frames])
        result.records += harm(models, clean, None, clip.file, clip.camera, options, result.notice)
    return result


def evaluate_scenes(
    models: dict[str, VideoModel],
    options: Options,
    progress: Log = say_nothing,
    size: tuple[int, int] = (640, 360),
) -> Result:
    """Things that are not rain: every scene of scenes.py, width and height `size`."""
    result = Result()
    for name in SCENES:
        progress(f"scene {name}, no rain")
        scene = render_scene(name, options.frames or 24, size)
        result.records += harm(
            models, scene.clean, scene.focus, name, "moving", options, result.notice
        )
    return result


def harm(
    models: dict[str, VideoModel],
    clean: Tensor,
    focus: Tensor | None,
    clip: str,
    camera: str,
    options: Options,
    notice: Log,
) -> list[Record]:
    """What every model does to frames without rain; `focus` is a mask to look at by itself."""
    records = []
    for row, output in outputs_of(models, clean, options, notice):
        if row == INPUT:
            continue
        frames = metrics.psnr(output, clean)
        record: Record = {"row": row, "clip": clip, "camera": camera, "level": "none"}
        record |= {"psnr": frames.mean().item(), "psnr_worst": frames.min().item()}
        if focus is not None:
            record["psnr_focus"] = metrics.masked_psnr(output, clean, focus)
        records.append(record)
    return records


def average(records: list[Record], name: str) -> float | None:
    """Mean of a figure over records that have it; None where none has."""
    values = [r[name] for r in records if r.get(name) is not None]
    return sum(values) / len(values) if values else None


def worst_gain(records: list[Record], row: str) -> float | None:
    """The smallest PSNR gain of a row over the input on any clip and level of `records`."""
    before = {(r["clip"], r["level"]): r["psnr"] for r in records if r["row"] == INPUT}
    gains = [r["psnr"] - before[r["clip"], r["level"]] for r in records if r["row"] == row]
    return min(gains, default=None)
