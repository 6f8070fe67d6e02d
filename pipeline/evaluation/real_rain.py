"""A measure for real rain, which has no truth: what passes within a frame, and what was changed.

Rain is bright and gone in the next frame. Five frames of the rainy film are aligned by optical
flow; a pixel that is more than T grey levels brighter than their median is a streak, or something
else that passes. What share of such pixels a result still has says how much rain is left; blur
would lower it, too, so the change where there was no streak stands beside it. Every result is
aligned along the same flow, that of the rainy film.

Noise, texture and compression pass as often dark as bright; rain only brightens. What passes bright
in excess of what passes dark is rain, and the share of it that is left is of rain alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.stages.data.rain.harvest import distinct, find_neighbours

Frames = NDArray[np.uint8]  # (T, H, W, 3) RGB
Grey = NDArray[np.uint8]  # (H, W)

THRESHOLDS = (6, 12, 24)  # grey levels above the aligned median
REACH = 2  # frames on each side
STEADY = 2  # grey levels from the aligned median within which nothing passes
REPEATED = 0.25  # mean change in grey levels below which a frame repeats the one before
# Excess of bright over dark, as shares of the bright and of all pixels, below which rain cannot be
# told from what else passes.
EXCESS, RAIN = 0.25, 5e-4
BLUR = 2.0  # pixels: thins the streaks out before frames are matched


@dataclass(frozen=True, slots=True)
class RealRainFigures:
    """Of one result on one film.

    Args:
        left: share of streak pixels left, for each of THRESHOLDS; 1 for the film itself.
        rain_left: the same of rain alone: bright pixels less dark ones, after over before. None
            where the film shows no rain to speak of at that threshold.
        psnr_steady: of the result against the film where nothing passes, dB.
        temporal: mean change along the motion from frame to frame, grey levels.
    """

    left: tuple[float, ...]
    rain_left: tuple[float | None, ...]
    psnr_steady: float
    temporal: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Where a frame is seen in its neighbours: maps for cv2.remap, and where all of them exist."""

    centre: int
    neighbours: tuple[int, ...]  # indices of frames
    maps: tuple[NDArray[np.float32], ...]  # (H, W, 2) each
    inside: NDArray[np.bool_]  # (H, W)


def film_motion(frames: Frames) -> list[Motion]:
    """The motion around every distinct frame that has two distinct neighbours on each side."""
    height, width = frames.shape[1:3]
    found = []
    kept = distinct(list(frames), REPEATED)
    for centre, around in find_neighbours(list(frames), kept, REACH, BLUR):
        neighbours, maps = zip(*around, strict=True)
        inside = np.logical_and.reduce(
            [(m >= 0).all(-1) & (m[..., 0] <= width - 1) & (m[..., 1] <= height - 1) for m in maps]
        )
        found.append(Motion(centre, neighbours, maps, inside))
    return found


def _grey(frame: Frames) -> Grey:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def aligned_median(greys: dict[int, Grey], motion: Motion) -> tuple[Grey, Grey]:
    """The median of five aligned frames, (H, W), and the frame before, aligned."""
    fetched = [
        cv2.remap(greys[k], m, None, cv2.INTER_LINEAR)
        for k, m in zip(motion.neighbours, motion.maps, strict=True)
    ]
    stack = np.stack([*fetched, greys[motion.centre]])
    return np.partition(stack, REACH, axis=0)[REACH], fetched[REACH - 1]


def measure(rainy: Frames, result: Frames, motions: list[Motion]) -> RealRainFigures:
    """What a result left of the rain of a film, and what it changed besides.

    Args:
        rainy, result: (T, H, W, 3).
        motions: of `rainy`, from `film_motion`.
    """
    wanted = {k for m in motions for k in (m.centre, *m.neighbours)}
    before, after = ({k: _grey(clip[k]) for k in wanted} for clip in (rainy, result))
    # Bright and dark pixels that pass, at every threshold.
    streaks, left = np.zeros((len(THRESHOLDS), 2)), np.zeros((len(THRESHOLDS), 2))
    squared, pixels, change, inside = 0.0, 0, 0.0, 0
    for motion in motions:
        median, _ = aligned_median(before, motion)
        passing = before[motion.centre].astype(np.int16) - median
        own, earlier = aligned_median(after, motion)
        remaining = after[motion.centre].astype(np.int16) - own
        streaks += _count(passing[motion.inside])
        left += _count(remaining[motion.inside])
        steady = (np.abs(passing) <= STEADY) & motion.inside
        error = rainy[motion.centre][steady].astype(np.float32) - result[motion.centre][steady]
        squared, pixels = squared + float(np.square(error).sum()), pixels + error.size
        moved = np.abs(after[motion.centre].astype(np.float32) - earlier)[motion.inside]
        change, inside = change + float(moved.sum()), inside + moved.size
    return RealRainFigures(
        left=tuple(float(x) for x in left[:, 0] / np.maximum(streaks[:, 0], 1)),
        rain_left=tuple(
            _excess_left(x, y, inside) for x, y in zip(streaks.tolist(), left.tolist(), strict=True)
        ),
        psnr_steady=float(10 * np.log10(255**2 / max(squared / max(pixels, 1), 1e-4))),
        temporal=change / max(inside, 1),
    )


def _count(passing: NDArray[np.int16]) -> NDArray[np.float64]:
    """(len(THRESHOLDS), 2): how many pixels pass brighter than each threshold, and darker."""
    return np.array([[(sign * passing > level).sum() for sign in (1, -1)] for level in THRESHOLDS])


def _excess_left(before: list[float], after: list[float], pixels: int) -> float | None:
    """The share of rain left, from bright and dark pixels before and after, of so many in all."""
    excess = before[0] - before[1]
    if excess < max(EXCESS * before[0], RAIN * pixels):
        return None
    return (after[0] - after[1]) / excess
