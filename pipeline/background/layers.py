"""`derain background FILM --layers OUT`: the rain of a film, cut out for training.

Unlike the vote of estimate.py this asks for no camera that stands still: neighbours are aligned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from derain.models.errors import UsageError
from derain.pipeline.video import read_rgb
from derain.pipeline.video.color import to_bytes
from derain.stages.data.rain.films import PARTS, write_film
from derain.stages.data.rain.harvest import split_film

SEEN = 10  # of 255: opacity from which a pixel counts as rainy


@dataclass(frozen=True, slots=True)
class CutRain:
    """What was cut out of a film; `rainy` and `certain` are shares of its pixels."""

    frames: int
    rainy: float
    certain: float


def write_layers(source: str, folder: Path, count: int, *, overwrite: bool = False) -> CutRain:
    """Cut the rain out of the first `count` frames of a film.

    Args:
        source: a film of one shot.
        folder: for NAME.rainy.npy, NAME.truth.npy, NAME.certain.npy and NAME.opacity.npy.
        count: most frames; all are held in memory, at about 15 bytes a pixel.
        overwrite: whether files there may be replaced.

    Raises:
        UsageError: files of this name are there.
        DerainError: the film has too few frames that differ.
    """
    name = Path(source).stem
    for part in PARTS:
        if (folder / f"{name}.{part}.npy").exists() and not overwrite:
            raise UsageError(f"{folder} holds {name}.{part}.npy already; add -y to replace it.")
    frames = [to_bytes(frame) for frame in read_rgb(source, count)]
    split = split_film(frames)
    write_film(split, folder, name)
    return CutRain(
        frames=len(split.rainy),
        rainy=float((split.opacity > SEEN).mean()),
        certain=float((split.certain > 0).mean()),
    )
