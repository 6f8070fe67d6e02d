"""Harvested rain on disk, and samples drawn from it: rain for other clips, films with their truth.

`derain background FILM --layers OUT` writes what `harvest.split_film` gives as arrays that can
be memory-mapped, OUT/FILM.rainy.npy and so on; `data.rain_layers=OUT` trains with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data.camera_motion import Corner, standing_view
from derain.stages.data.rain.harvest import PLACES, Split, sample_layer

Rng = np.random.Generator
PARTS = ("rainy", "truth", "certain", "opacity")
EMPTY = 1e-4  # mean opacity below which a film holds no rain worth laying over others


def write_film(split: Split, folder: Path, name: str) -> None:
    """Write the arrays of a film.

    Args:
        split: of the film.
        folder: made where it is missing.
        name: of the film, which begins the files' names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        np.save(folder / f"{name}.{part}.npy", getattr(split, part))


def find_films(folder: Path) -> list[Path]:
    """The films in a folder, each as the path of its arrays without their endings.

    Raises:
        DerainError: there are none.
    """
    films = [path.with_suffix("").with_suffix("") for path in sorted(folder.glob("*.rainy.npy"))]
    if not films:
        raise DerainError(
            f"{folder} holds no harvested rain; make it with derain background FILM --layers."
        )
    return films


def read_part(film: Path, part: str) -> NDArray[np.uint8]:
    """One array of a film, memory-mapped."""
    array: NDArray[np.uint8] = np.load(film.parent / f"{film.name}.{part}.npy", mmap_mode="r")
    return array


def lay_rain_over(clip: Tensor, films: list[Path], rng: Rng) -> Tensor:
    """A clip (T, 3, H, W) in [0, 1] with the rain of one of the films falling before it.

    Args:
        clip: (T, 3, H, W), RGB in [0, 1].
        films: as `find_films` gives them.
        rng: what is random.
    """
    height, width = clip.shape[-2:]
    layer = sample_layer(_rainy_part(films, rng), len(clip), max(height, width), rng)
    layer = layer[:, :height, :width]
    opacity = torch.from_numpy(layer)[:, None]
    light = float(rng.uniform(0.7, 0.98)) * float(clip.mean() * 2.0 + 0.1)
    sky = torch.full_like(clip[:1], min(1.0, light))
    return torch.lerp(clip, torch.maximum(sky, clip), opacity)


def _rainy_part(films: list[Path], rng: Rng) -> NDArray[np.uint8]:
    for _ in range(20):
        part = read_part(films[rng.integers(len(films))], "opacity")
        if part[:: max(1, len(part) // 4)].mean() > EMPTY * 255:
            return part
    raise DerainError("The harvested films hold hardly any rain; harvest others.")


def _wet_place(opacity: NDArray[np.uint8], side: int, rng: Rng) -> tuple[int, int]:
    """Top and left of the wettest of a few squares: rain falls in parts of most films only."""
    height, width = opacity.shape[1:]
    tops, lefts = (rng.integers(0, n - side + 1, PLACES) for n in (height, width))
    places = [(int(top), int(left)) for top, left in zip(tops, lefts, strict=True)]
    return max(places, key=lambda p: opacity[:, p[0] : p[0] + side : 2, p[1] : p[1] + side].mean())


class FilmPiece(NamedTuple):
    """A piece of a rainy film and its truth. T frames.

    rainy, clean: (T, 3, H, W) in [0, 1]. certain: (T, 1, H, W), 1 where `clean` is the truth, else
    0. corner: y and x of the network's crop in it.
    """

    rainy: Tensor
    clean: Tensor
    certain: Tensor
    corner: Corner


def film_piece(films: list[Path], frames: int, crop: int, margin: int, rng: Rng) -> FilmPiece:
    """Draw a piece of one of the films, where it rains.

    Args:
        films: as `find_films` gives them.
        frames: length of the piece.
        crop: height and width that the network sees, pixels.
        margin: around it, where there is as much.
        rng: what is random.
    """
    film = films[rng.integers(len(films))]
    *parts, opacity = (read_part(film, part) for part in PARTS)
    total, height, width = parts[0].shape[:3]
    start = int(rng.integers(0, max(1, total - frames + 1)))
    order = np.minimum(start + np.arange(frames), total - 1)
    side = min(round(crop * np.exp(rng.uniform(-0.3, 0.6))), height, width)
    place = _wet_place(opacity[order[::3]], side, rng)
    view = standing_view(frames, (height, width), side, place, crop, margin)
    flip = rng.random() < 0.5

    def piece(array: NDArray[np.uint8]) -> Tensor:
        cut = view.cut(array[order], cv2.INTER_LINEAR)
        cut = np.ascontiguousarray(cut[:, :, ::-1] if flip else cut)
        return to_tensor(cut.reshape(*cut.shape[:3], -1))

    rainy, clean, certain = map(piece, parts)
    corner = view.mirrored(crop) if flip else view.corner
    return FilmPiece(rainy, clean, (certain > 0.99).float(), corner)
