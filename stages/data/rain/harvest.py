"""Real rain as training material: films split into a background and the rain that fell before it.

Rain at a pixel is gone in the next frame, so the median of aligned neighbours is the scene behind
it. Two things are learned from that. The film itself, with its streaks replaced by the median, is a
pair of rain and truth. And the streaks, as opacities, can be laid over any other clip: real shapes,
blur, density and motion in time. Where neighbours disagree (leaves, people, water) nothing is
claimed: no truth there and no rain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError

Rng = np.random.Generator
Frame = NDArray[np.uint8]  # (H, W, 3) RGB
Grey = NDArray[np.float32]  # (H, W), grey levels
Map = NDArray[np.float32]  # (H, W, 2), x and y in pixels

SKY = 230.0  # grey level that streaks would have if they hid everything
PLACES = 6  # of which the wettest is taken: rain falls in parts of most films only
NEAREST = 15.0  # grey levels between sky and background below which rain cannot be measured


@dataclass(frozen=True, slots=True)
class HarvestSettings:
    """How rain is told from the scene. Grey levels, pixels, frames."""

    reach: int = 3  # frames looked at on each side
    faintest: float = 3.0  # above the median: where a streak begins to count
    full: float = 8.0  # above the median: a streak in full
    spread: float = 14.0  # between the quartiles of the neighbours beyond which nothing is certain
    blur: float = 2.0  # thins the streaks out before frames are matched
    repeated: float = 0.25  # mean change below which a frame repeats the one before
    around: int = 31  # pixels a side of the places that are asked whether it rains there
    rainlike: float = 2.0  # bright pixels for a dark one from which on it does


class Split(NamedTuple):
    """One frame of a film, or a film with time as its first axis."""

    rainy: Frame
    truth: Frame  # the same without the streaks
    certain: NDArray[np.uint8]  # (H, W), 255 where `truth` may be learned from, else 0
    opacity: NDArray[np.uint8]  # (H, W), of its streaks before a sky of grey level SKY, of 255
    passing: NDArray[np.int8]  # (H, W) grey levels above the scene behind, at most 127


def split_film(frames: list[Frame], settings: HarvestSettings | None = None) -> Split:
    """Split every frame of a shot that has neighbours on both sides; repeats are left out.

    Rain only brightens. Where as many pixels pass dark as bright, something else moves: there is no
    rain to harvest and no truth to learn from.

    Args:
        frames: of one shot, in order. The camera may move; what moves by itself is masked.
    """
    how = settings or HarvestSettings()
    film = Split(*map(np.stack, zip(*_split_frames(frames, how), strict=True)))
    size = (how.around, how.around)
    bright, dark = (cv2.blur((sign * film.passing > how.full).mean(0), size) for sign in (1, -1))
    rain = bright > how.rainlike * dark
    streak = film.passing > how.faintest
    return film._replace(
        opacity=film.opacity * rain, certain=np.where(streak & ~rain, np.uint8(0), film.certain)
    )


def _split_frames(frames: list[Frame], how: HarvestSettings) -> Iterator[Split]:
    kept = distinct(frames, how.repeated)
    if len(kept) <= 2 * how.reach:
        raise DerainError(
            f"The film has {len(kept)} frames that differ; cutting out rain takes "
            f"{2 * how.reach + 1} or more."
        )
    border = cv2.BORDER_REPLICATE
    for centre, around in find_neighbours(frames, kept, how.reach, how.blur):
        moved = [
            cv2.remap(frames[k], m, None, cv2.INTER_LINEAR, borderMode=border) for k, m in around
        ]
        yield _split(np.stack([frames[centre], *moved]), how)


def find_neighbours(
    frames: Sequence[Frame], kept: list[int], reach: int, blur: float
) -> Iterator[tuple[int, list[tuple[int, Map]]]]:
    """Where each frame is seen in its neighbours, by DIS flow at full size.

    Args:
        frames: (H, W, 3) uint8, of one shot.
        kept: indices of those that take part, rising; see `distinct`.
        reach: of these, how many on each side are neighbours.
        blur: pixels, of a Gaussian that thins streaks out before frames are matched.

    Yields:
        The index of a frame that has all its neighbours; and for each neighbour, in order, its
        index and a map (H, W, 2) for cv2.remap that moves it onto the frame.
    """
    soft = [
        cv2.GaussianBlur(cv2.cvtColor(frames[k], cv2.COLOR_RGB2GRAY), (0, 0), blur) for k in kept
    ]
    height, width = frames[0].shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for n in range(reach, len(kept) - reach):
        near = [m for m in range(n - reach, n + reach + 1) if m != n]
        yield kept[n], [(kept[m], grid + dis.calc(soft[n], soft[m], None)) for m in near]


def distinct(frames: Sequence[Frame], repeated: float) -> list[int]:
    """Indices of frames that do not repeat the one before: a repeat votes for its streaks.

    `repeated` is the mean change in grey levels below which a frame is one.
    """
    kept = [0]
    for k in range(1, len(frames)):
        if cv2.absdiff(frames[k], frames[kept[-1]]).mean() > repeated:
            kept.append(k)
    return kept


def _split(aligned: NDArray[np.uint8], how: HarvestSettings) -> Split:
    """`aligned` (2 reach + 1, H, W, 3): the frame, then its neighbours."""
    frame = aligned[0]
    ranked = np.sort(aligned, axis=0)
    middle = len(aligned) // 2
    median = ranked[middle]
    luma = ranked.astype(np.float32).mean(-1)
    spread = luma[-1 - middle // 2] - luma[middle // 2]
    grey, behind = frame.astype(np.float32).mean(-1), luma[middle]
    brighter = grey - behind
    streak = np.clip((brighter - how.faintest) / (how.full - how.faintest), 0, 1)
    # The soft rim of a streak belongs to it; what is no brighter than the scene does not.
    streak = np.maximum(streak, cv2.GaussianBlur(streak, (0, 0), 1.0)) * (brighter > 0)
    sure = cv2.blur(spread, (3, 3)) < how.spread
    truth = frame + streak[..., None] * (median.astype(np.float32) - frame)
    opacity = streak * sure * brighter / np.maximum(SKY - behind, NEAREST)
    return Split(
        rainy=frame,
        truth=np.rint(truth).clip(0, 255).astype(np.uint8),
        certain=np.where(sure | (streak < 0.05), 255, 0).astype(np.uint8),
        opacity=np.rint(opacity * 255).clip(0, 255).astype(np.uint8),
        passing=brighter.clip(-127, 127).astype(np.int8),
    )


def _wet_centre(film: NDArray[np.uint8], room: float, rng: Rng) -> list[float]:
    """x and y of the middle of the wettest of a few squares of 2 room pixels."""

    def wetness(centre: list[float]) -> float:
        left, top = (max(0, int(c - room)) for c in centre)
        size = max(1, int(2 * room))
        return float(film[:, top : top + size : 2, left : left + size].mean())

    bounds = [(min(room, n / 2), max(n - room, n / 2)) for n in film.shape[:0:-1]]
    centres = [[rng.uniform(*bound) for bound in bounds] for _ in range(PLACES)]
    return max(centres, key=wetness)


def sample_layer(film: NDArray[np.uint8], frames: int, crop: int, rng: Rng) -> Grey:
    """A piece of harvested rain, moved as one: (frames, crop, crop) opacities in [0, 1].

    Args:
        film: (T, H, W) opacities of a film, of 255.
        frames: length of the piece; a shorter film begins again.
        crop: height and width, pixels.
        rng: what is random.
    """
    stride = int(rng.choice([1, 1, 1, 2]))
    span = (frames - 1) * stride + 1
    if span > len(film):
        stride, span = 1, frames
    order = (int(rng.integers(0, max(1, len(film) - span + 1))) + stride * np.arange(frames)) % len(
        film
    )
    scale = float(np.exp(rng.uniform(np.log(0.5), np.log(1.6))))
    scale = max(scale, crop / min(film.shape[1:]))
    angle = np.radians(rng.uniform(-20, 20))
    across = -1.0 if rng.random() < 0.5 else 1.0
    gain = float(np.exp(rng.uniform(np.log(0.6), np.log(2.5))))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    turn = turn @ np.diag([across, 1.0])
    room = crop / scale / 2
    centre = _wet_centre(film[order[::4]], room, rng)
    matrix = np.concatenate([turn, (centre - turn @ [crop / 2, crop / 2])[:, None]], 1)
    layer = [
        cv2.warpAffine(
            film[k],
            matrix,
            (crop, crop),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for k in order
    ]
    return (np.stack(layer).astype(np.float32) * (gain / 255)).clip(0, 1)
