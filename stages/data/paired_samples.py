"""Training on pairs from disk: samples and validation clips of image pairs and of clip pairs.

Which files belong together is in image_pairs.py and clip_pairs.py; rain rendered on clean clips,
which needs no pairs, is in rendered_clips.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from derain.configs.training import DataConfig, PairsConfig, TrainingConfig
from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data.batch import UNKNOWN, Batch
from derain.stages.data.clip_pairs import CLIP_LAYOUTS, ClipPair, find_clip_pairs, frames_of
from derain.stages.data.image_pairs import ImagePair, find_pairs, read_pair
from derain.stages.data.rendered_clips import Samples, cached_clip
from derain.stages.data.validation_clips import FRAMES, ValidationClip, to_clip

Rng = np.random.Generator
VALIDATION_CLIPS = 8  # pairs that a run is watched on


@dataclass
class PairedImages(Samples):
    """Crops of image pairs, as clips of one frame. Nothing is known of the physics."""

    pairs: list[ImagePair]
    config: DataConfig
    seed: int
    length: int
    distort: bool = False

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, index))
        pair = self.pairs[rng.integers(len(self.pairs))]
        rainy, clean = read_pair(pair)
        assert clean is not None
        both = np.concatenate([rainy, clean], 2)
        crop = self.config.crop
        both = distorted(both, crop, rng) if self.distort else cropped(both, crop, crop, rng)
        if rng.random() < 0.5:
            both = both[:, ::-1]
        images = to_tensor(both)
        return without_physics(images[None, :3], images[None, 3:])


@dataclass
class PairedClips(Samples):
    """Crops of clip pairs; the haze and the streaks come from the pair's layers where it has them.

    Args:
        clips: decoded files by layer, of each clip: "rainy", "clean" and what else there is.
    """

    clips: list[dict[str, Path]]
    config: DataConfig
    seed: int
    length: int

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng((self.seed, index))
        files = self.clips[rng.integers(len(self.clips))]
        layers = {name: np.load(file, mmap_mode="r") for name, file in files.items()}
        if len({layer.shape for layer in layers.values()}) > 1:
            shapes = ", ".join(f"{name} {layer.shape[:3]}" for name, layer in layers.items())
            raise DerainError(
                f"The clips of a pair should have as many frames of one size; there are {shapes}."
            )
        total, height, width = layers["rainy"].shape[:3]
        frames, crop = self.config.frames, self.config.crop
        if total < frames or min(height, width) < crop:
            raise DerainError(
                f"A clip of {total} frames of {width}x{height} is too small for data.frames "
                f"{frames} and data.crop {crop}; lower these or leave the clip out."
            )
        first = rng.integers(0, total - frames + 1)
        top, left = rng.integers(0, height - crop + 1), rng.integers(0, width - crop + 1)
        flip = rng.random() < 0.5

        def part(layer: np.ndarray) -> Tensor:
            cut = layer[first : first + frames, top : top + crop, left : left + crop]
            cut = cut[:, :, ::-1] if flip else cut
            return to_tensor(cut)

        parts = {name: part(layer) for name, layer in layers.items()}
        batch = without_physics(parts["rainy"], parts["clean"])
        if "hazy" not in parts:
            return batch
        return batch._replace(
            transmission=parts["transmission"].mean(1, keepdim=True),
            airlight=parts["airlight"].mean((-2, -1), keepdim=True),
            streaks=parts["rainy"] - parts["hazy"],
        )


def without_physics(rainy: Tensor, clean: Tensor) -> Batch:
    """A sample (T, 3, H, W) of which only the images are known: streaks and no haze."""
    frames, _, height, width = rainy.shape
    return Batch(
        rainy=rainy,
        clean=clean,
        transmission=rainy.new_ones(frames, 1, height, width),
        airlight=rainy.new_ones(frames, 3, 1, 1),
        streaks=rainy - clean,
        occlusion=rainy.new_full((frames, 1, height, width), UNKNOWN),
        boldness=rainy.new_full((1, 1, 1), 0.5),
        weight=rainy.new_ones(frames, 1, height, width),
    )


def cropped(image: np.ndarray, height: int, width: int, rng: Rng) -> np.ndarray:
    """A part (height, width, C) from anywhere, the last row too; small images are mirrored.

    Args:
        image: (H, W, C).
        height: pixels.
        width: pixels.
        rng: what is random.
    """
    below, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    if below or right:
        image = np.pad(image, ((0, below), (0, right), (0, 0)), "symmetric")
    top = rng.integers(0, image.shape[0] - height + 1)
    left = rng.integers(0, image.shape[1] - width + 1)
    return image[top : top + height, left : left + width]


def distorted(image: np.ndarray, crop: int, rng: Rng) -> np.ndarray:
    """RESCAN's and DCSFN's augmentation: stretched by 3/4 to 5/4 each way, turned by up to 30
    degrees. What turns in from outside is mirrored, not black as in the original.

    Args:
        image: (H, W, C).
        crop: height and width of the result, pixels.
        rng: what is random.
    """
    sides = rng.integers(crop * 3 // 4, crop * 5 // 4 + 1, 2)
    part = cropped(image, int(sides[0]), int(sides[1]), rng)
    part = cv2.resize(np.ascontiguousarray(part), (crop, crop), interpolation=cv2.INTER_LINEAR)
    turn = cv2.getRotationMatrix2D((crop / 2, crop / 2), float(rng.integers(-30, 30)), 1.0)

    def turned(image: np.ndarray) -> np.ndarray:
        image = np.ascontiguousarray(image)
        return cv2.warpAffine(image, turn, (crop, crop), borderMode=cv2.BORDER_REFLECT)

    return np.concatenate([turned(part[..., :3]), turned(part[..., 3:])], 2)


def paired_data(
    config: TrainingConfig, cache: Path, notice: Log
) -> tuple[Samples, list[ValidationClip]]:
    """Samples and validation clips of `config.pairs`; image pairs are for single-image networks.

    Args:
        config: with `pairs`.
        cache: folder of decoded clips.
        notice: told of what may spoil training.

    Raises:
        DerainError: the files do not fit the layout, or the layout does not fit the network.
    """
    assert config.pairs is not None
    chosen, length = config.pairs, config.steps * config.data.batch
    if config.single_image is not None:
        pairs = image_pairs(chosen, chosen.folder, notice)
        data = PairedImages(pairs, config.data, config.seed, length, chosen.distort)
        watched = image_pairs(chosen, chosen.validation, notice) if chosen.validation else []
        return data, [image_validation_clip(pair) for pair in spread(watched)]
    if chosen.layout not in CLIP_LAYOUTS:
        raise DerainError(
            f"'{config.model}' learns from clips, and pairs.layout '{chosen.layout}' is of single "
            f"images; choose one of {', '.join(CLIP_LAYOUTS)}."
        )
    clips = [decoded(pair, cache) for pair in find_clip_pairs(Path(chosen.folder), chosen.layout)]
    watched_clips = (
        find_clip_pairs(Path(chosen.validation), chosen.layout) if chosen.validation else []
    )
    validation_clips = [
        clip_validation_clip(decoded(pair, cache)) for pair in spread(watched_clips)
    ]
    return PairedClips(clips, config.data, config.seed, length), validation_clips


def image_pairs(chosen: PairsConfig, folder: str, notice: Log) -> list[ImagePair]:
    """The pairs with truth in a folder of `chosen.layout`, frames of clips included.

    Args:
        chosen: layout and which side is clean.
        folder: or a list file.
        notice: told of what may spoil training.
    """
    if chosen.layout in CLIP_LAYOUTS:
        return frames_of(find_clip_pairs(Path(folder), chosen.layout))
    pairs = find_pairs(Path(folder), chosen.layout, chosen.clean_side, notice)
    if any(pair.clean is None for pair in pairs):
        raise DerainError("Images without truth teach nothing; choose a layout of pairs.")
    return pairs


def decoded(pair: ClipPair, cache: Path) -> dict[str, Path]:
    """The layers of a clip pair as decoded files, by name."""
    names = ("rainy", "clean", "hazy", "transmission", "airlight")
    layers = {name: getattr(pair, name) for name in names}
    return {name: cached_clip(path, cache) for name, path in layers.items() if path is not None}


def spread(items: list[Any]) -> list[Any]:
    """At most VALIDATION_CLIPS of many, evenly chosen."""
    return items[:: max(1, -(-len(items) // VALIDATION_CLIPS))]


def image_validation_clip(pair: ImagePair) -> ValidationClip:
    """The middle of an image pair, to watch a run on."""
    rainy, clean = read_pair(pair)
    assert clean is not None
    return _validation_clip(rainy[None], clean[None])


def clip_validation_clip(files: dict[str, Path]) -> ValidationClip:
    """The middle of the first frames of a clip pair, to watch a run on."""
    return _validation_clip(
        *(np.load(files[name], mmap_mode="r")[:FRAMES] for name in ("rainy", "clean"))
    )


def _validation_clip(rainy: np.ndarray, clean: np.ndarray) -> ValidationClip:
    """(T, H, W, 3) uint8 twice."""
    return ValidationClip("pairs", to_clip(rainy), to_clip(clean))
