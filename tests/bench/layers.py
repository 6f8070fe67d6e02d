"""How well a network's layers agree with those that were rendered: correlation over all pixels.

    python tests/bench/layers.py CLIPS [--models swift two_stage] [--samples 8] [--crop 192]

CLIPS are clean, and none that was learned from; rain is laid over as in training, half of the
samples with haze. Streaks are compared where no drop hides them. A layer that a network was not
taught is not shown by the product and marked here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from derain.configs.training import DataConfig
from derain.models import VideoModel, load_model
from derain.pipeline.distributed.work import set_threads
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import RainyClips, cached_clip, find_clips

import torch  # isort: skip  # after ours, which sets how its threads wait
from torch import Tensor  # isort: skip

NAMES = ("streaks", "transmission", "occlusion")


def layers(model: VideoModel, sample: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """Found and true values of each layer, flat, where both are known."""
    with torch.inference_mode():
        output = model(sample.rainy[None])[0]
    seen = sample.occlusion < 0.5
    pairs = {}
    for name in NAMES:
        found, true = getattr(output, name), getattr(sample, name)
        if found is None:
            continue
        found = found[0].expand_as(true)
        if name == "streaks":
            keep = seen.expand_as(true)
            found, true = found[keep], true[keep]
        pairs[name] = found.flatten(), true.flatten()
    return pairs


def main() -> None:
    """Read the command line, measure, print a line a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--models", nargs="+", default=["swift", "two_stage"])
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--frames", type=int, default=9)
    given = parser.parse_args()
    set_threads(1)
    config = DataConfig(
        clips=str(given.clips),
        frames=given.frames,
        crop=given.crop,
        batch=1,
        workers=0,
        clean_prob=0,
        haze_prob=0.5,
        still_prob=0,
        overlay_prob=0,
        thumbnails=0,
    )
    with tempfile.TemporaryDirectory() as cache:
        files = [cached_clip(clip, Path(cache)) for clip in find_clips(given.clips)]
        data = RainyClips(files, config, seed=1, length=given.samples)
        samples = [data[index] for index in range(given.samples)]
    for name in given.models:
        model = load_model(name)
        pairs = [layers(model, sample) for sample in samples]
        told = []
        for layer in pairs[0]:
            found, true = (torch.cat([each[layer][k] for each in pairs]).numpy() for k in (0, 1))
            known = true >= 0 if layer == "occlusion" else np.isfinite(true)
            told.append(
                f"{layer} {np.corrcoef(found[known], true[known])[0, 1]:.2f}"
                f"{' (not taught)' if layer in model.description.unlearned else ''}"
            )
        sys.stdout.write(f"{name}: {', '.join(told)}\n")


if __name__ == "__main__":
    main()
