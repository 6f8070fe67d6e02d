"""Evaluation: models over validation pairs, over clean clips and over scenes without rain.

Figures are of the tensors a model gives, before any encoding. Here: collecting figures and
averages; running models is in model_runs.py. Definitions of figures are in
`derain.stages.losses.metrics`, pairs in `derain.stages.data.validation_pairs`, scenes in scenes.py,
tables in tables.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from derain.models import DerainError, VideoModel
from derain.models.log import Log, say_nothing
from derain.pipeline.evaluation.model_runs import INPUT, Options, outputs_of, read_clip
from derain.pipeline.rendered.scenes import SCENES, render_scene
from derain.stages.data.validation_pairs import (
    Pair,
    iterate_pairs,
    load_pairs,
    read_checked,
    to_float,
)
from derain.stages.losses import metrics

Record = dict[str, Any]  # what was measured: row, clip, camera, level, then figures by name


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


def evaluate_pairs(
    models: dict[str, VideoModel],
    pairs_file: Path,
    folder: Path,
    options: Options,
    progress: Log = say_nothing,
) -> Result:
    """Every model over every validation pair.

    Args:
        models: by the names that tables show; each is run from a fresh state on every clip.
        pairs_file: which clips there are (`configs/validation.yaml`).
        folder: where the clean clips lie, as files of the names that the pairs file has.
        options: device, precision, which levels, frames and figures.
        progress: told which clip is being measured, as a line.

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
    """All figures of one output, by the names of `metrics.DEFINITIONS`.

    Args:
        output: (T, 3, H, W), RGB in [0, 1].
        pair: its truth and its rain.
        flows: of the clean frames, (T - 1, 2, H, W), for the temporal error; None leaves it out.
        options: which figures.
        notice: told why a figure is missing.
    """
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
    """Do no harm: the clean clips themselves through every model, PSNR against what went in.

    Args:
        models: by the names that tables show; each is run from a fresh state on every clip.
        pairs_file: which clips there are (`configs/validation.yaml`).
        folder: where the clean clips lie, as files of the names that the pairs file has.
        options: device, precision, which levels, frames and figures.
        progress: told which clip is being measured, as a line.
    """
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
    """Things that are not rain: every scene of scenes.py, width and height `size`.

    Args:
        models: by the names that tables show.
        options: of the evaluation.
        progress: told which scene is being measured.
        size: width and height, pixels.
    """
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
    """What every model does to frames without rain; `focus` is a mask to look at by itself.

    Args:
        models: by the names that tables show.
        clean: (T, 3, H, W), RGB in [0, 1].
        focus: (T, 1, H, W) or None.
        clip: the name that tables show.
        camera: how it moves, by which figures are given apart.
        options: of the evaluation.
        notice: told what a run did differently.
    """
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
