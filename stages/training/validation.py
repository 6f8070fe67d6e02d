"""A quick look at a network while it trains (data/validation_clips.py says on what)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from derain.models.output import Output
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
    real: Tensor | None = None,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Look at a network.

    Args:
        model: under the contract; it goes to `device` and into evaluation mode.
        validation_clips: rainy clips (1, T, 3, H, W) with their truth.
        device: where it runs.
        dtype: of its convolutions, by autocast; float32 for none.
        progress: told before every clip how many of how many are done.
        real: (1, T, 3, H, W) of real rain, to look at.

    Returns:
        Mean PSNR in dB of every level: of the input, the recovered frame and the result; and
        "score", the mean of the results' levels, each counted up to ENOUGH. Images (3, H, W): of
        every level, of the layers that were found in the heavy one, and of real rain.
    """
    model = on_device(model, device).eval()
    sums: dict[str, list[float]] = {}
    images = {}

    def run(rainy: Tensor) -> Output:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            output: Output = model(rainy.to(device))[0]
        return output

    for done, clip in enumerate(validation_clips):
        progress(done, len(validation_clips))
        output = run(clip.rainy)
        image = output.image.cpu()
        sums.setdefault(f"{clip.level} input", []).append(decibels(clip.rainy, clip.clean))
        if output.recovered is not None:
            recovered = output.recovered.cpu()
            sums.setdefault(f"{clip.level} stage 1", []).append(decibels(recovered, clip.clean))
        sums.setdefault(clip.level, []).append(decibels(image, clip.clean))
        images[f"{clip.level}: rainy, output, clean"] = beside(clip.rainy, image, clip.clean)
        if clip.level == "heavy" and (layers := layers_of(output)):
            images["heavy: " + ", ".join(layers)] = beside(*layers.values())
    if real is not None and validation_clips:
        images["real rain: rainy, output"] = beside(real, run(real).image)
    figures = {name: float(np.mean(values)) for name, values in sums.items()}
    levels = {clip.level for clip in validation_clips}
    if levels:
        figures["score"] = float(np.mean([min(figures[level], ENOUGH) for level in levels]))
    return figures, images


def layers_of(output: Output) -> dict[str, Tensor]:
    """The layers (1, T, 1 or 3, H, W) that a network gives beside its images."""
    found = {
        "recovered": output.recovered,
        "streaks": output.streaks,
        "occlusion": output.occlusion,
        "transmission": output.transmission,
    }
    return {name: layer for name, layer in found.items() if layer is not None}


def beside(*clips: Tensor) -> Tensor:
    """The middle frames of clips (1, T, 1 or 3, H, W), side by side: (3, H, W n) in [0, 1]."""
    frames = [clip[0, clip.shape[1] // 2].float().cpu().clamp(0, 1) for clip in clips]
    return torch.cat([frame.expand(3, *frame.shape[1:]) for frame in frames], 2)
