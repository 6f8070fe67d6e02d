"""Training data of stage 2: clips with truth beside real rain without any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data.batch import Batch
from derain.stages.data.paired_samples import without_physics
from derain.stages.data.rendered_clips import (
    RainyClips,
    Samples,
    cached_clip,
    find_clips,
    frame_files,
)


class RefinementBatch(NamedTuple):
    """What a training step of stage 2 gets, float32."""

    pairs: Batch
    real: Tensor  # (B, T, 3, H, W); T = 0 where no real rain is given
    has_real: Tensor  # (B,) bool: which of `real` are real rain, `data.real_prob` of them; rest 0
    chance: Tensor  # (B, 4 + 3 T) in [0, 1): all that is random in the losses


class RealRain(RainyClips):
    """Crops of rainy clips as they are; `clean` is the same, for want of a truth."""

    def __getitem__(self, index: int) -> Batch:
        clip, _ = self._clean(np.random.default_rng((self.seed, index, 1)))
        frames = to_tensor(clip)
        return without_physics(frames, frames)


@dataclass
class RefinementSamples(Samples):
    """Samples with truth, each with one of real rain and random numbers of its own."""

    pairs: Samples
    real: RealRain | None
    seed: int

    def __post_init__(self) -> None:
        self.config, self.length = self.pairs.config, self.pairs.length

    def __getitem__(self, index: int) -> RefinementBatch:  # type: ignore[override]  # a batch of another kind
        pairs = self.pairs[index]
        prob = self.config.real_prob
        # Evenly among all samples of a run, however they are divided among batches and processes.
        taken = self.real is not None and int((index + 1) * prob) > int(index * prob)
        if self.real is None:
            real = pairs.rainy[:0]
        else:
            real = self.real[index].rainy if taken else torch.zeros_like(pairs.rainy)
        chance = np.random.default_rng((self.seed, index, 2)).random(
            4 + 3 * self.config.frames, np.float32
        )
        return RefinementBatch(pairs, real, torch.tensor(taken), torch.from_numpy(chance))


def refinement_samples(
    pairs: Samples, seed: int, cache: Path, notice: Log = say_nothing
) -> RefinementSamples:
    """`pairs` with the real rain of their `config.real`, if any.

    Args:
        pairs: samples with truth.
        seed: of the run.
        cache: for the decoded clips.
        notice: told of what is left out.

    Raises:
        DerainError: there are no clips at that place.
    """
    config = pairs.config
    if config.real is None:
        return RefinementSamples(pairs, None, seed)
    files = real_clips(Path(config.real), cache, notice)
    as_they_are = config.model_copy(
        update={"still_prob": 0.0, "moving_prob": 0.0, "flow_margin": 0}
    )
    return RefinementSamples(pairs, RealRain(files, as_they_are, seed, pairs.length), seed)


def real_clips(place: Path, cache: Path, notice: Log = say_nothing) -> list[Path]:
    """The rainy clips at a place, decoded: a video, a folder of frames, or a folder of both.

    Args:
        place: where they are.
        cache: for the decoded clips.
        notice: told of folders of images that are no frames of one clip; they are left out.

    Raises:
        DerainError: there are none.
    """
    if not place.exists():
        raise DerainError(f"There is no {place}; set data.real to a rainy video or a folder.")
    frames = place.is_dir() and frame_files(place)
    files = []
    for clip in [place] if frames or not place.is_dir() else find_clips(place):
        try:
            files.append(cached_clip(clip, cache))
        except DerainError:
            if not clip.is_dir():
                raise
            notice(f"{clip} is left out of the real rain: its images are no frames of one size.")
    if not files:
        raise DerainError(f"{place} holds no rainy clip; set data.real to a video or a folder.")
    return files
