"""What a run learns from and by which losses, as its preset says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from derain.configs.training import TrainingConfig
from derain.models.cache import cache_folder, trim
from derain.models.errors import UsageError
from derain.models.log import Log
from derain.stages.data.clip_cache import LIMIT, RECENT
from derain.stages.data.paired_samples import paired_data
from derain.stages.data.rain.films import find_films
from derain.stages.data.real_rain import real_clips, refinement_samples
from derain.stages.data.rendered_clips import RainyClips, Samples, cached_clip, find_clips
from derain.stages.data.validation_clips import (
    FRAMES,
    ValidationClip,
    make_validation_clips,
    stills,
    to_clip,
)
from derain.stages.losses.losses import Objective
from derain.stages.losses.paper import paper_objective
from derain.stages.losses.recovery import video_objective
from derain.stages.losses.refinement import refinement_objective
from derain.stages.losses.single_image import single_image_objective


def make_objective(config: TrainingConfig, device: torch.device) -> Objective:
    """The losses of a run, and the discriminator where it has one."""
    if config.single_image is not None:
        return single_image_objective(config.single_image)
    if config.recipe == "paper":
        return paper_objective(config, device)
    if config.refinement is not None:
        return refinement_objective(config, device)
    return video_objective(config.loss)


def make_data(config: TrainingConfig, notice: Log) -> tuple[Samples, list[ValidationClip]]:
    """What the network learns from, and what it is watched on."""
    cache = cache_folder("clips")
    if config.pairs is not None:
        data, validation_clips = paired_data(config, cache, notice)
    else:
        data, validation_clips = _rendered(config, cache)
    if config.refinement is not None:
        data = refinement_samples(data, config.seed, cache, notice)
    if gone := trim(cache, LIMIT, RECENT):
        notice(f"{len(gone)} decoded clips unused for days left {cache}; see derain cache.")
    return data, validation_clips


def _rendered(config: TrainingConfig, cache: Path) -> tuple[Samples, list[ValidationClip]]:
    if config.data.clips is None:
        raise UsageError(
            "The network learns from clean videos: name their folder, --set data.clips=CLIPS."
        )
    clips = find_clips(Path(config.data.clips), config.data.licence_classes)
    files = [cached_clip(path, cache) for path in clips]
    length = config.steps * config.data.batch
    validation_clips = []
    if config.data.validation:
        validation_clips = make_validation_clips(
            [cached_clip(p, cache) for p in find_clips(Path(config.data.validation))]
        )
        validation_clips = (
            validation_clips if config.single_image is None else stills(validation_clips)
        )
    films = find_films(Path(config.data.rain_layers)) if config.data.rain_layers else []
    return RainyClips(files, config.data, config.seed, length, films), validation_clips


def real_example(config: TrainingConfig) -> Tensor | None:
    """The start of the first clip of real rain, (1, T, 3, H, W), where there is any."""
    if config.data.real is None:
        return None
    first = real_clips(Path(config.data.real), cache_folder("clips"))[0]
    return to_clip(np.load(first, mmap_mode="r")[:FRAMES])
