"""Where a film is cut: at its shots first, and inside those that are long."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np

from derain.models.video_model import VideoModel
from derain.pipeline.distributed.plan import Segment

# Frames until a cold start of swift agrees with a run that goes on, to 1/255 at the 99.9th
# percentile (tests/bench/warm_up.py). Where anything moves, 1 to 48 do on ten real films; a scene
# that stands still is remembered for longer: 195 and 258 frames.
HIDDEN_STATE_WARM_UP = 104
STILL_WARM_UP = 260
STILL = 1.0  # of 255, mean change of brightness in a second below which a scene stands still
SECOND = 25  # frames
STEADY_WARM_UP = 24  # of --steady, which keeps 0.6 of what was before
GROUP = 60.0  # seconds of short shots in one segment, where no shot is divided


@dataclass(frozen=True, slots=True)
class Context:
    """What a network must see around a segment, in frames that do not repeat the one before.

    Between the begin of the shot and that of a warm-up lies an even number of such frames, since
    networks look at the haze of every second one. still_warm_up: where the scene stands still.
    """

    warm_up: int
    latency: int
    still_warm_up: int = 0


def context_of(model: VideoModel, steady: bool) -> Context:
    """The context that a network needs.

    Args:
        model: the network that runs.
        steady: whether its results are blended over time.
    """
    window = 2 * model.latency + 1
    least = max(window, STEADY_WARM_UP if steady else 0)
    if not model.has_hidden_state:
        return Context(least, model.latency, least)
    return Context(max(least, HIDDEN_STATE_WARM_UP), model.latency, STILL_WARM_UP)


def still_shots(thumbnails: Sequence[bytes], shots: Sequence[int]) -> set[int]:
    """The first frames of those shots that stand still.

    Args:
        thumbnails: brightness of every frame, of one size.
        shots: the frames that begin one.
    """
    still = set()
    for begin, end in pairwise([*shots, len(thumbnails)]):
        shown = np.frombuffer(b"".join(thumbnails[begin:end]), np.uint8)
        grey = shown.reshape(end - begin, -1).astype(np.int16)
        changes = np.abs(grey[SECOND:] - grey[:-SECOND]).mean(1)
        if not len(changes) or np.median(changes) < STILL:
            still.add(begin)
    return still


def cut_segments(
    pts: Sequence[int],
    time_base: Fraction,
    shots: Sequence[int],
    repeats: Sequence[int],
    context: Context,
    seconds: float,
    first: int = 0,
    still: Collection[int] = (),
) -> list[Segment]:
    """Cut a film. Short shots go together, long ones are divided evenly.

    Args:
        pts: of all frames, rising.
        time_base: their unit in seconds.
        shots: the frames that begin a shot, the first one too.
        repeats: frames that show what the one before showed.
        context: what the network must see around a segment.
        seconds: how long a segment should be at most; 0 divides no shot.
        first: frames before this one only warm up.
        still: those of `shots` in which the scene stands still.

    Returns:
        Segments from frame `first` to the last, without thumbnails.
    """
    total = len(pts)
    bounds = sorted({0, *shots, total})
    edges = _edges(pts, time_base, bounds, seconds, first)
    fed = _fed_before(total, repeats)
    return [
        Segment(
            number=number,
            context_from=_warm_up_from(begin, bounds, fed, context, still),
            first=begin,
            end=end,
            context_to=_look_ahead_to(end, bounds, fed, context.latency),
        )
        for number, (begin, end) in enumerate(pairwise(edges))
    ]


def _edges(
    pts: Sequence[int], time_base: Fraction, bounds: list[int], seconds: float, first: int
) -> list[int]:
    """Where segments begin, and the end."""
    edges = [first]
    for begin, end in pairwise(bounds):
        if end <= first:
            continue
        begin = max(begin, first)
        if float((pts[end - 1] - pts[edges[-1]]) * time_base) > (seconds or GROUP):
            edges.append(begin)
        if seconds:
            ticks = pts[end - 1] - pts[begin]
            pieces = max(1, ceil(float(ticks * time_base) / seconds))
            edges += [bisect_left(pts, pts[begin] + ticks * k / pieces) for k in range(1, pieces)]
    return sorted({*edges, len(pts)})


def _fed_before(total: int, repeats: Sequence[int]) -> list[int]:
    """For each frame, and behind the last, how many before it the network is fed."""
    repeated = set(repeats)
    counts = [0]
    for index in range(total):
        counts.append(counts[-1] + (index not in repeated))
    return counts


def _warm_up_from(
    begin: int, bounds: list[int], fed: list[int], context: Context, still: Collection[int]
) -> int:
    """The frame that a segment's reading begins with."""
    shot = bounds[bisect_right(bounds, begin) - 1]
    if shot == begin:
        return begin
    warm_up = context.still_warm_up if shot in still else context.warm_up
    wanted = max(fed[shot], fed[begin] - warm_up)
    wanted -= (wanted - fed[shot]) % 2
    return bisect_left(fed, wanted + 1) - 1  # the frame that is fed after so many


def _look_ahead_to(end: int, bounds: list[int], fed: list[int], latency: int) -> int:
    """The frame behind those that the network must see to finish a segment."""
    shot_end = bounds[bisect_left(bounds, end)]
    return min(shot_end, max(end, bisect_left(fed, fed[end] + latency)))
