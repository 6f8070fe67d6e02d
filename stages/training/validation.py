"""A quick look at a network while it trains: fixed rain on clips it never sees.

The figures of record come from `derain eval`, on whole frames and fixed pairs; these are for
watching a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.runtime.derainer import on_device
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain
from derain.stages.losses.metrics import to_decibel

FRAMES, HEIGHT, WIDTH = 12, 256, 320
LEVELS = {
    "light": RainSettings(
        layers=(
            StreakLayer(0.03, 14, 1.0, 0.5, 0.0, 2.0, 0.0),
            StreakLayer(0.02, 30, 1.3, 0.6, 0.5, 1.5, 0.0),
        ),
        angle=6,
    ),
    "heavy": RainSettings(
        layers=(
            StreakLayer(0.1, 14, 1.0, 0.6, 0.0, 2.0, 0.0),
            StreakLayer(0.08, 35, 1.6, 0.8, 0.6, 1.5, 0.0),
            StreakLayer(0.05, 60, 2.5, 0.6, 0.3, 1.2, 1.0),
        ),
        angle=-12,
    ),
    "haze": RainSettings(
        layers=(
            StreakLayer(0.08, 14, 1.0, 0.6, 0.0, 2.0, 0.0),
            StreakLayer(0.05, 35, 1.6, 0.7, 0.5, 1.5, 0.0),
        ),
        angle=9,
        haze=0.7,
    ),
    "clean": RainSettings(layers=()),
}


class ValidationClip(NamedTuple):
    """One level of rain on one clip: (1, T, 3, H, W) each."""

    level: str
    rainy: Tensor
    clean: Tensor


def make_validation_clips(files: list[Path]) -> list[ValidationClip]:
    """Probes from decoded clips (.npy), cut from their middle."""
    validation_clips = []
    for seed, file in enumerate(files):
        clip = np.load(file, mmap_mode="r")
        clean = torch.from_numpy(middle(clip[:FRAMES])).permute(0, 3, 1, 2).float() / 255
        for level, settings in LEVELS.items():
            rainy = render_rain(clean, settings, seed).rainy
            validation_clips.append(ValidationClip(level, rainy[None], clean[None]))
    return validation_clips


def middle(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of (T, H, W, 3), a copy; sides are cut to multiples of 32, as networks may want.

    Raises:
        DerainError: it is smaller than that.
    """
    height, width = (
        min(n, m // 32 * 32) for n, m in zip((HEIGHT, WIDTH), clip.shape[1:3], strict=True)
    )
    if not height or not width:
        raise DerainError("To validate on, pictures must be at least 32x32; choose larger ones.")
    top, left = (clip.shape[1] - height) // 2, (clip.shape[2] - width) // 2
    return np.array(clip[:, top : top + height, left : left + width])


def decibels(a: Tensor, b: Tensor) -> float:
    """PSNR of values in [0, 1], pooled over everything given."""
    return to_decibel((a.float() - b.float()).square().mean()).item()


@torch.inference_mode()
def validate_model(
    model: nn.Module,
    validation_clips: list[ValidationClip],
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[dict[str, float], Tensor | None]:
    """Mean PSNR for each level, of the input, the recovered frame and the result; and a picture."""
    model = on_device(model, device).eval()
    sums: dict[str, list[float]] = {}
    picture = None
    for clip in validation_clips:
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
    return {name: float(np.mean(values)) for name, values in sums.items()}, picture
