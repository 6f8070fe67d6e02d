"""Batches: what a training step gets, and what is done to whole samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from derain.models.ops.optical_flow import FLOW_SCALE, dis_flow
from derain.stages.data.camera_motion import Corner

UNKNOWN = -1.0
IMAGES = ("rainy", "clean", "transmission", "streaks", "occlusion", "weight")


class Batch(NamedTuple):
    """What a training step gets, float32, each (B, T, C, H, W)."""

    rainy: Tensor
    clean: Tensor
    transmission: Tensor  # C = 1
    airlight: Tensor  # C = 3, H = W = 1
    streaks: Tensor
    occlusion: Tensor  # C = 1; UNKNOWN where nobody knows which rain is drops and which streaks
    boldness: Tensor  # (B, 1, 1, 1) in [0, 1], what the network is asked for
    weight: Tensor  # C = 1: of the squared error; 0 where nobody knows the truth
    # Small whole frames for a haze estimator (thumbnails.py), with their number in the place of T.
    thumbnails: Tensor = torch.empty(0)
    thumbnail_streaks: Tensor = torch.empty(0)
    thumbnail_transmission: Tensor = torch.empty(0)
    thumbnail_airlight: Tensor = torch.empty(0)
    # (B, T - 1, 4, H / 2, W / 2): from each frame to the next, and back, as the larger frame around
    # the crop has it. Without it a network computes its own.
    flows: Tensor = torch.empty(0)


def frozen(batch: Batch, index: int) -> Batch:
    """A sample that shows one of its frames all the time."""
    frames = {
        name: getattr(batch, name)[index : index + 1].expand_as(getattr(batch, name))
        for name in IMAGES
        if getattr(batch, name).shape[0] > 1
    }
    return batch._replace(**frames)


def cropped(batch: Batch, corner: Corner, crop: int, *, flows: bool) -> Batch:
    """The network's crop of a view; with `flows`, those of the whole view go with it.

    Args:
        batch: a sample, (T, C, H, W).
        corner: y and x of the crop in it.
        crop: its height and width, pixels.
        flows: whether they are wanted.
    """
    y, x = corner
    parts = {name: getattr(batch, name)[..., y : y + crop, x : x + crop] for name in IMAGES}
    if flows and len(batch.rainy) > 1:
        there, back = dis_flow(batch.rainy[:-1], batch.rainy[1:])
        half = tuple(n // FLOW_SCALE for n in (y, x, crop))
        whole = torch.cat([there, back], 1)
        parts["flows"] = whole[..., half[0] : half[0] + half[2], half[1] : half[1] + half[2]]
    return batch._replace(**{name: part.contiguous() for name, part in parts.items()})


def turned(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """In a share of the samples, a film taken with a camera held upright: rain falls sideways.

    Args:
        batch: a sample, (T, C, H, H).
        share: of the samples, in [0, 1].
        rng: what is random.
    """
    if rng.random() >= share:
        return batch
    back = rng.random() < 0.5

    def turn(frames: Tensor) -> Tensor:
        frames = frames.transpose(-1, -2)
        return (frames.flip(-1) if back else frames).contiguous()

    turned = batch._replace(**{name: turn(getattr(batch, name)) for name in IMAGES})
    if not batch.flows.numel():
        return turned
    x1, y1, x2, y2 = turn(batch.flows).unbind(-3)
    side = -1 if back else 1
    return turned._replace(flows=torch.stack([side * y1, x1, side * y2, x2], -3))
