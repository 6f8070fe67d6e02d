"""How a camera moves over a scene: views of clips and stills, pans, shakes, jerks, zoom.

A view is a little larger than the crop that the network learns from where the frame is: its flow is
then that of a large frame, which knows what comes in from outside the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Frames = NDArray[np.uint8]  # (T, H, W, 3)
Path = NDArray[np.float64]  # (T, 2) x and y, pixels
Corner = tuple[int, int]  # y and x

FASTEST = 40.0  # pixels a frame, of a pan
CLEAR = 0.08  # response of the phase correlation from which on a shift is believed


@dataclass(frozen=True, slots=True)
class View:
    """Where the pixels of a clip come from.

    tops, lefts: (T,) of the part of every source frame. source: its height and width. size: of the
    image it becomes, rows and columns, even. corner: y and x of the network's crop in it.
    """

    tops: NDArray[np.int64]
    lefts: NDArray[np.int64]
    source: tuple[int, int]
    size: tuple[int, int]
    corner: Corner

    def mirrored(self, crop: int) -> Corner:
        """The corner of the crop, of so many pixels a side, once left is right."""
        return self.corner[0], self.size[1] - self.corner[1] - crop

    def cut(self, frames: NDArray[np.uint8], enlarge: int = cv2.INTER_CUBIC) -> NDArray[np.uint8]:
        """The view of frames (T, H, W) or (T, H, W, 3), resized."""
        rows, columns = self.size
        how = cv2.INTER_AREA if self.source[0] > rows else enlarge
        parts = []
        for frame, top, left in zip(frames, self.tops, self.lefts, strict=True):
            part = frame[top : top + self.source[0], left : left + self.source[1]]
            parts.append(cv2.resize(np.ascontiguousarray(part), (columns, rows), interpolation=how))
        return np.stack(parts)


def standing_view(
    frames: int, size: tuple[int, int], side: int, place: tuple[int, int], crop: int, margin: int
) -> View:
    """A square of the source with as much around it as there is, up to a margin.

    Args:
        frames: length of the view.
        size: height and width of the source.
        side: of the square, source pixels.
        place: its top and left.
        crop: pixels of the square in the view.
        margin: pixels around it in the view, at most.
    """
    scale = crop / side
    starts, lengths, before, after = [], [], [], []
    for whole, start in zip(size, place, strict=True):
        # Even, so that flow at half size is cut where pixels are.
        low, high = (
            min(margin, int(room * scale)) // 2 * 2 for room in (start, whole - start - side)
        )
        starts.append(start - round(low / scale))
        lengths.append(side + round(low / scale) + round(high / scale))
        before.append(low)
        after.append(high)
    return View(
        tops=np.full(frames, starts[0]),
        lefts=np.full(frames, starts[1]),
        source=(lengths[0], lengths[1]),
        size=(crop + before[0] + after[0], crop + before[1] + after[1]),
        corner=(before[0], before[1]),
    )


def moving_view(view: View, size: tuple[int, int], rng: Rng) -> View:
    """The view of a camera that moves within the source, there and back where it comes to an end.

    Args:
        view: one that stands still, as `standing_view` makes it.
        size: height and width of the source.
        rng: what is random.
    """
    scale = view.size[0] / view.source[0]
    path = camera_path(len(view.tops), rng) / scale
    moved = []
    for starts, whole, length, way in zip(
        (view.tops, view.lefts), size, view.source, (path[:, 1], path[:, 0]), strict=True
    ):
        room = whole - length
        place = np.rint(starts + way).astype(np.int64) % max(1, 2 * room)
        moved.append(room - np.abs(place - room) if room else starts)
    return View(moved[0], moved[1], view.source, view.size, view.corner)


def camera_path(frames: int, rng: Rng) -> Path:
    """Where a camera looks, (T, 2) pixels around zero: it stands, drifts, pans, shakes or jerks."""
    kind = rng.random()
    if kind < 0.65:
        speed = rng.normal(0, rng.choice([0.5, 2.0, 6.0]), 2)
    else:  # a pan, mostly sideways
        angle = rng.normal(0, 0.3) + np.pi * rng.integers(2)
        speed = rng.uniform(6, FASTEST) * np.array([np.cos(angle), np.sin(angle)])
    speeds = speed + rng.normal(0, 0.3, (frames, 2))
    if rng.random() < 0.25:  # held in a hand
        periods, phases = rng.uniform(3, 12, 2), rng.uniform(0, 2 * np.pi, 2)
        turns = np.arange(frames)[:, None] * 2 * np.pi / periods + phases
        speeds += rng.uniform(0.5, 6) * np.sin(turns)
    if rng.random() < 0.3 and frames > 1:
        speeds[rng.integers(1, frames)] += rng.normal(0, 25, 2)
    path = np.cumsum(speeds, 0)
    return path - path.mean(0)


def panned_still(image: NDArray[np.uint8], frames: int, side: int, rng: Rng) -> Frames:
    """A still image seen by a moving camera: (frames, side, side, 3).

    Args:
        image: (H, W, 3) uint8.
        frames: length of the clip.
        side: height and width of the view, pixels.
        rng: what is random.
    """
    height, width = image.shape[:2]
    path = camera_path(frames, rng)
    times = np.arange(frames)
    speed = rng.normal(0, rng.choice([0.004, 0.004, 0.015]))
    zoom = rng.uniform(0.7, 1.6) * (1 + speed * (times - frames / 2))
    turn = rng.normal(0, 0.003) * times
    centre = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height])
    # Of a frame time, in which a rolling shutter reads from the first row to the last.
    readout = rng.uniform(0.2, 0.9) if rng.random() < 0.3 else 0.0
    skews = readout * np.gradient(path, axis=0) if frames > 1 else np.zeros_like(path)
    clip = []
    for k in range(frames):
        c, s = np.cos(turn[k]) / zoom[k], np.sin(turn[k]) / zoom[k]
        matrix = np.array([[c, -s, 0.0], [s, c, 0.0]])
        matrix[:, 1] += skews[k] / side
        matrix[:, 2] = centre + path[k] - matrix[:, :2] @ [side / 2, side / 2]
        clip.append(
            cv2.warpAffine(
                image,
                matrix,
                (side, side),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        )
    return np.stack(clip)


def measured_path(clip: Frames) -> NDArray[np.float32]:
    """How far the image of a clip has moved since its first frame, (T, 2) x and y in pixels.

    By phase correlation at half size: what turns or zooms has one shift for the whole image, and
    what cannot be told counts as standing.
    """
    small = [
        cv2.resize(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY),
            None,
            fx=0.5,
            fy=0.5,
            interpolation=cv2.INTER_AREA,
        ).astype(np.float32)
        for frame in clip
    ]
    window = cv2.createHanningWindow(small[0].shape[::-1], cv2.CV_32F)
    steps = [(0.0, 0.0)]
    for before, after in pairwise(small):
        shift, response = cv2.phaseCorrelate(before, after, window)
        steps.append((2 * shift[0], 2 * shift[1]) if response > CLEAR else (0.0, 0.0))
    return np.cumsum(steps, 0).astype(np.float32)
