"""The clean background of a rain video from a camera that stands still, by voting over time.

Rain is rare at a pixel and mostly brightens it, so the value a pixel has most often is the scene.
One value alone is noisy; its rank among all values is not, and the rank on which most pixels agree
gives the image. After the semi-automatic cleaning of Wang et al., "Spatial Attentive Single-Image
Deraining with a High Quality Real Rain Dataset", CVPR 2019, with the votes counted right: luma
kept in one piece, ranks of N - 1 steps throughout, whole numbers, values rounded.

Arrays in, arrays and figures out: reading is in frames.py, what is written in command.py and
pairs.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.pipeline.background.frames import Image

BAND = 1 << 16  # pixels that are voted on at a time
UNSTEADY = 40  # grey levels between a pixel's quartiles; rain is too rare to part them so far
SWAY = 0.3  # pixels by which a camera that stands still may seem to move
DARKER = 6  # grey levels below the background that noise does not reach


@dataclass(frozen=True, slots=True)
class Background:
    """The background and how far to trust it."""

    image: Image
    percentile: int  # of each pixel's values over time, dark to bright, that is the background
    share: float  # of the pixels that agree on it, 0 to 1; 0.6 to 0.7 is good
    frames: int  # that it was made of
    darker: float  # share of all values clearly darker than it, 0 to 1; rain only brightens
    shift: float  # pixels by which the camera moves
    flicker: float  # brightest frame over darkest, by their medians
    unsteady: NDArray[np.bool_]  # (H, W) where the scene itself changes
    warnings: list[str] = field(default_factory=list)


def estimate_background(frames: Sequence[Image], percentile: int | None = None) -> Background:
    """The background of frames of a still scene, (H, W, 3) uint8 RGB.

    Args:
        percentile: take this one, 0 to 100, instead of the elected one.

    Raises:
        DerainError: no frames, or no such percentile.
    """
    if not frames:
        raise DerainError("There are no frames; choose a clip or a part of it that has some.")
    if percentile is not None and not 0 <= percentile <= 100:
        raise DerainError(f"A percentile is between 0 and 100, not {percentile}.")
    shares, unsteady = vote(frames)
    chosen = elect(shares) if percentile is None else percentile
    image = take_percentile(frames, chosen)
    limit = image.sum(-1, dtype=np.int16) - 3 * DARKER
    darker = [float((frame.sum(-1, dtype=np.int16) < limit).mean()) for frame in frames]
    medians = [float(np.median(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY))) for f in frames]
    background = Background(
        image=image,
        percentile=chosen,
        share=float(shares[chosen]),
        frames=len(frames),
        darker=float(np.mean(darker)),
        shift=camera_shift(frames),
        flicker=max(medians) / max(1.0, min(medians)),
        unsteady=unsteady,
    )
    background.warnings.extend(_warnings(background))
    return background


def vote(frames: Sequence[Image]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The share of voters for each percentile, (101,), and where the scene changes, (H, W)."""
    height, width = frames[0].shape[:2]
    votes, voters = np.zeros(101, np.int64), 0
    unsteady = np.zeros((height, width), np.bool_)
    for rows in _bands(height, width):
        values = sorted_luma([frame[rows] for frame in frames])
        band_votes, band_voters = count_votes(values)
        votes += band_votes
        voters += band_voters
        low, high = values[len(values) // 4], values[3 * (len(values) - 1) // 4]
        unsteady[rows] = (high.astype(np.int16) - low > UNSTEADY).reshape(-1, width)
    return votes / max(1, voters), unsteady


def take_percentile(frames: Sequence[Image], percentile: int) -> Image:
    """This percentile over time of every pixel and channel."""
    image = np.empty_like(frames[0])
    for rows in _bands(*image.shape[:2]):
        image[rows] = rank_value(np.stack([frame[rows] for frame in frames]), percentile)
    return image


def sorted_luma(frames: Sequence[Image]) -> NDArray[np.uint8]:
    """The luma of each pixel over time, sorted: N frames (h, w, 3) -> (N, h w)."""
    luma = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).ravel() for frame in frames], 1)
    luma.sort(axis=1)
    return np.ascontiguousarray(luma.T)


def count_votes(values: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
    """Votes of pixels for percentiles, from sorted values (N, n); and how many pixels voted.

    A pixel votes for every whole percentile within the ranks of its most frequent value, of the
    smallest such value where there are several. If no whole percentile is there it does not vote.
    """
    count = len(values)
    best, last = np.ones(values.shape[1], np.int32), np.zeros(values.shape[1], np.int32)
    run = best.copy()
    for i in range(1, count):
        run = np.where(values[i] == values[i - 1], run + 1, 1)
        longer = run > best
        best[longer], last[longer] = run[longer], i
    first = last - best + 1
    steps = max(1, count - 1)
    low, high = -(-100 * first // steps), 100 * last // steps
    votes = low <= high
    change = np.bincount(low[votes], minlength=102) - np.bincount(high[votes] + 1, minlength=102)
    return np.cumsum(change)[:101], int(votes.sum())


def elect(votes: NDArray[np.float64]) -> int:
    """The middle of the first stretch of percentiles with the most votes."""
    first = int(votes.argmax())
    rest = np.flatnonzero(votes[first:] != votes[first])
    length = int(rest[0]) if len(rest) else len(votes) - first
    return first + (length - 1) // 2


def rank_value(stack: NDArray[np.uint8], percentile: int) -> NDArray[np.uint8]:
    """A percentile over the first axis, linear between two ranks, rounded."""
    steps = len(stack) - 1
    low, rest = divmod(percentile * steps, 100)
    high = min(low + 1, steps)
    ordered = np.partition(stack, (low, high), axis=0)
    a, b = ordered[low].astype(np.int32), ordered[high].astype(np.int32)
    return ((100 * a + rest * (b - a) + 50) // 100).astype(np.uint8)


def camera_shift(frames: Sequence[Image], most: int = 12) -> float:
    """How far the camera moves, in pixels: a tenth of the clip lies further from its middle.

    Medians of four neighbouring frames are compared with the middle one by phase correlation: in a
    still scene, heavy rain shifts them by 0.15 pixels at most.
    """
    height, width = frames[0].shape[:2]
    scale = max(1.0, max(height, width) / 640)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    group = 4 if len(frames) >= 12 else 1
    if min(size) < 16 or len(frames) < 2:
        return 0.0  # too little to tell

    def prepare(start: int) -> NDArray[np.float32]:
        small = [
            cv2.cvtColor(cv2.resize(f, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
            for f in frames[start : start + group]
        ]
        return np.median(np.stack(small), axis=0).astype(np.float32)

    middle = prepare((len(frames) - group) // 2)
    if middle.std() < 2:
        return 0.0  # nothing to hold on to
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    starts = np.unique(np.linspace(0, len(frames) - group, most).astype(int))
    # OpenCV multiplies images of some sizes by the window in place: give it copies.
    moves = [cv2.phaseCorrelate(middle.copy(), prepare(int(i)), window)[0] for i in starts]
    return float(np.quantile([math.hypot(x, y) for x, y in moves], 0.9)) * scale


def _bands(height: int, width: int) -> Iterator[slice]:
    rows = max(1, BAND // width)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def _warnings(found: Background) -> list[str]:
    moving = float(found.unsteady.mean())
    checks = [
        (
            found.shift > SWAY,
            f"The camera moves by about {found.shift:.1f} pixels: "
            "steady the clip first, or choose a part where it stands still.",
        ),
        (
            found.frames < 50,
            f"There are only {found.frames} frames; rain may be left with fewer than 50.",
        ),
        (
            found.share < 0.4,
            f"Only {found.share:.0%} of the pixels agree on the background; "
            "choose a part with fewer moving things or less rain.",
        ),
        (
            moving > 0.02,
            f"{moving:.0%} of the image is not still; what moves there is not background.",
        ),
        (
            found.darker > 0.05,
            f"{found.darker:.0%} of the values are darker than the background, which rain cannot "
            "be the cause of: look for shadows and moving things.",
        ),
        (
            found.flicker > 1.1,
            f"The light changes by {found.flicker - 1:.0%}; choose a part with steady light.",
        ),
    ]
    return [text for wrong, text in checks if wrong]
