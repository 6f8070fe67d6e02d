"""Sheets of images to look at: what a network learns from, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_uint8
from derain.stages.data.batch import Batch
from derain.stages.data.real_rain import RefinementBatch

HEIGHT, BAR = 160, 18  # pixels of an image and of the line above it
Row = list[tuple[str, Tensor]]  # names and images (1 or 3, H, W) in [0, 1]


def sample_row(sample: object, name: str) -> Row:
    """The layers of one sample (T, C, H, W), or of a batch with one, at its middle frame."""
    pairs = sample.pairs if isinstance(sample, RefinementBatch) else sample
    assert isinstance(pairs, Batch)
    middle = len(pairs.rainy) // 2
    row = [
        (f"{name} rainy", pairs.rainy[middle]),
        ("clean", pairs.clean[middle]),
        ("streaks", pairs.streaks[middle].abs()),
        ("occlusion", pairs.occlusion[middle]),
        ("transmission", pairs.transmission[middle]),
    ]
    if isinstance(sample, RefinementBatch) and bool(sample.has_real):
        row.append(("real rain", sample.real[middle]))
    return row


def unbatched(batch: Any, index: int) -> Any:
    """One sample of a batch, or of a batch of batches."""
    if isinstance(batch, Tensor):
        return batch[index] if batch.numel() else batch
    return type(batch)(*(unbatched(part, index) for part in batch))


def draw_sheet(rows: list[Row]) -> NDArray[np.uint8]:
    """Images with their names above them: (H, W, 3) uint8 RGB."""
    drawn = [np.concatenate([_tile(name, image) for name, image in row], 1) for row in rows]
    width = max(part.shape[1] for part in drawn)
    padded = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0))) for part in drawn]
    return np.concatenate(padded)


def _tile(name: str, layer: Tensor) -> NDArray[np.uint8]:
    image = to_uint8(layer.expand(3, *layer.shape[1:]))
    width = max(1, round(image.shape[1] * HEIGHT / image.shape[0]))
    image = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    tile = np.zeros((HEIGHT + BAR, width, 3), np.uint8)
    tile[BAR:] = image
    cv2.putText(tile, name, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255,) * 3, 1, cv2.LINE_AA)
    return tile


def write_sheet(rows: list[Row], path: Path) -> None:
    """Write a sheet as the kind of image that the path's ending says.

    Raises:
        DerainError: OpenCV knows no such kind, or it cannot be written.
    """
    image = np.ascontiguousarray(draw_sheet(rows)[..., ::-1])
    try:
        _, content = cv2.imencode(path.suffix or ".", image)
    except cv2.error as error:
        raise DerainError(f"{path} is no image that can be written; name it .png.") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())
    except OSError as error:
        raise DerainError(f"{path} cannot be written ({error.strerror}).") from error
