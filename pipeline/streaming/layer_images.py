"""Images of what a network estimated besides the finished frame: streaks, stages, attention, …"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.models.output import Output

FIELDS = ("recovered", "streaks", "occlusion", "transmission", "airlight", "hazy")
SIGNED = {"streaks"}


def layers_as_images(output: Output) -> dict[str, NDArray[np.uint8]]:
    """The layers an output has, by name, as (H, W, 3) or (H, W) uint8; signed ones around grey."""
    height, width = output.image.shape[-2:]
    layers = {name: getattr(output, name) for name in FIELDS} | (output.layers or {})
    images = {}
    for name, value in layers.items():
        if value is None:
            continue
        array = value[0].detach().float().cpu().numpy().transpose(1, 2, 0)
        if name in SIGNED:
            array = array / 2 + 0.5
        array = np.broadcast_to(array, (height, width, array.shape[2]))
        images[name] = np.rint(array.clip(0, 1) * 255).astype(np.uint8).squeeze()
    return images


def write_layers(folder: Path, index: int, output: Output) -> None:
    """Write them as `folder/NAME/000001.png`, counted from 1.

    Args:
        folder: made where it is missing.
        index: of the frame, from 0 on.
        output: of the network.
    """
    for name, image in layers_as_images(output).items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        bgr = image[..., ::-1] if image.ndim == 3 else image
        if not cv2.imwrite(str(place / f"{index + 1:06d}.png"), bgr):
            raise DerainError(f"{place} cannot be written; choose another folder for --layers.")
