"""Evaluation on data sets of single images, by the two protocols that papers report.

Each image is a shot of one frame. As the protocols want, what is measured is rounded to 8 bits,
image by image, and averaged; figures are `derain.stages.losses.metrics`', pairs are found by
`derain.stages.data.image_pairs`. Clips are measured in clips.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from torch import Tensor

from derain.models import DerainError, VideoModel
from derain.models.log import Log, say_nothing
from derain.models.ops.image_arrays import quantised, to_tensor
from derain.pipeline.evaluation.clips import Result, average, worst_gain
from derain.pipeline.evaluation.model_runs import INPUT, Options, run_model
from derain.stages.data.image_pairs import ImagePair, Side, find_pairs, read_pair
from derain.stages.losses import metrics

FIGURES = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 4),
    "psnr_y": ("PSNR-Y", 2),
    "ssim_y": ("SSIM-Y", 4),
}


def evaluate_images(
    models: dict[str, VideoModel],
    folder: Path,
    layout: str,
    clean_side: Side | None,
    options: Options,
    progress: Log = say_nothing,
) -> Result:
    """Every model over every pair of a data set.

    Args:
        models: by the names that tables show.
        folder: of the data set, or its list file.
        layout, clean_side: as `derain.stages.data.image_pairs.find_pairs` takes them.
        options: device and precision.
        progress: told how many pairs are done, as a line.

    Raises:
        DerainError: the files do not fit the layout, or have no truth to compare with.
    """
    result = Result()
    pairs = find_pairs(folder, layout, clean_side, result.notice)
    if any(pair.clean is None for pair in pairs):
        raise DerainError(
            "There is no truth to compare these images with; see what `derain image` makes of them."
        )
    for count, pair in enumerate(pairs, 1):
        progress(f"{count} of {len(pairs)}, {pair.name}")
        rainy, clean = load(pair)
        outputs = {INPUT: rainy}
        for name, model in models.items():
            outputs[name] = run_model(model, rainy, options, result.notice)["image"]
        for row, output in outputs.items():
            place = {"row": row, "clip": pair.name, "camera": "still", "level": layout}
            result.records.append(place | measure(output, clean))
    return result


def load(pair: ImagePair) -> tuple[Tensor, Tensor]:
    """The rainy image and its truth, (1, 3, H, W) in [0, 1] each."""
    rainy, clean = read_pair(pair)
    assert clean is not None
    return to_tensor(rainy)[None], to_tensor(clean)[None]


def measure(output: Tensor, clean: Tensor) -> dict[str, float]:
    """The figures of one image (1, 3, H, W), rounded to 8 bits: RGB, and MATLAB's Y."""
    output = quantised(output.clamp(0, 1))
    output_y, clean_y = metrics.luma(output), metrics.luma(clean)
    return {
        "psnr": metrics.psnr(output, clean).item(),
        "ssim": metrics.ssim(output, clean).item(),
        "psnr_y": metrics.psnr(output_y, clean_y).item(),
        "ssim_y": metrics.ssim(output_y, clean_y).item(),
    }


def image_table(result: Result) -> Table:
    """Means over the images of a set for every model, with the gain in PSNR over the input."""
    rows: Iterable[str] = dict.fromkeys(record["row"] for record in result.records)
    layout = result.records[0]["level"]
    count = sum(record["row"] == INPUT for record in result.records)
    table = Table(
        title=f"{layout}, {count} images: means, outputs rounded to 8 bits", title_justify="left"
    )
    table.add_column("model", no_wrap=True)
    for heading in ("gain", "worst", *(heading for heading, _ in FIGURES.values())):
        table.add_column(heading, justify="right", no_wrap=True)
    before = average([r for r in result.records if r["row"] == INPUT], "psnr") or 0.0
    for row in rows:
        mine = [record for record in result.records if record["row"] == row]
        means = {name: average(mine, name) or 0.0 for name in FIGURES}
        table.add_row(
            row,
            f"{means['psnr'] - before:+.2f}",
            f"{worst_gain(result.records, row) or 0.0:+.2f}",
            *(f"{means[name]:.{digits}f}" for name, (_, digits) in FIGURES.items()),
        )
    return table
