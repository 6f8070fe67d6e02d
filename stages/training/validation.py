"""A quick look at a network while it trains (data/validation_clips.py says on what)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from derain.models.runtime.derainer import on_device
from derain.stages.data.validation_clips import ValidationClip
from derain.stages.losses.metrics import to_decibel

ENOUGH = 45.0  # dB; beyond it little is to win, and clean clips would outweigh rainy ones


def decibels(a: Tensor, b: Tensor) -> float:
    """PSNR of values in [0, 1], pooled over everything given."""
    return to_decibel((a.float() - b.float()).square().mean()).item()


@torch.inference_mode()
def validate_model(
    model: nn.Module,
    validation_clips: list[ValidationClip],
    device: torch.device,
    dtype: torch.dtype,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, float], Tensor | None]:
    """Look at a network.

    Args:
        model: under the contract; it goes to `device` and into evaluation mode.
        validation_clips: what it is shown.
        device: where it runs.
        dtype: in which precision.
        progress: told before every clip how many of how many are done.

    Returns:
        Mean PSNR in dB of every level: of the input, the recovered frame and the result; "score",
        the mean of the results' levels, each counted up to ENOUGH; and a picture (3, H, W) of
        rainy, output and clean side by side.
    """
    model = on_device(model, device).eval()
    sums: dict[str, list[float]] = {}
    picture = None
    for done, clip in enumerate(validation_clips):
        progress(done, len(validation_clips))
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output, _ = model(clip.rainy.to(device))
        image = output.image.cpu()
        sums.setdefault(f"{clip.level} input", []).append(decibels(clip.rainy, clip.clean))
        if output.recovered is not None:
            recovered = output.recovered.cpu()
            sums.setdefault(f"{clip.level} stage 1", []).append(decibels(recovered, clip.clean))
        sums.setdefault(clip.level, []).append(decibels(image, clip.clean))
        if clip.level == "heavy":
            middle = image.shape[1] // 2
            picture = torch.cat([x[0, middle] for x in (clip.rainy, image, clip.clean)], 2)
    figures = {name: float(np.mean(values)) for name, values in sums.items()}
    levels = {clip.level for clip in validation_clips}
    if levels:
        figures["score"] = float(np.mean([min(figures[level], ENOUGH) for level in levels]))
    return figures, picture
