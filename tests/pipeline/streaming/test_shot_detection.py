"""Cuts at the very frame, no false ones, and repeated frames that leave the window alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from derain.models import Derainer, Output, VideoModel
from derain.models.runtime.tiles import Tiles
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.shot_detection import ShotDetector
from derain.pipeline.streaming.shot_runner import Shots
from derain.pipeline.video import Encoding
from derain.pipeline.video.color import Color
from derain.pipeline.video.frames import Frame

SIZE = (160, 96)


def texture(seed: int, shift: int = 0) -> np.ndarray:
    """(H, W) uint8 of a landscape of its own, moved by `shift` pixels."""
    noise = np.random.default_rng(seed).normal(size=(12, 40)).cumsum(0).cumsum(1)
    noise = (noise - noise.min()) / np.ptp(noise)
    fine = np.kron(noise, np.ones((8, 8))) + 0.1 * np.kron(
        np.random.default_rng(seed + 1).normal(size=(24, 80)), np.ones((4, 4))
    )
    return (30 + 190 * fine[: SIZE[1], shift : shift + SIZE[0]]).clip(16, 235).astype(np.uint8)


def marks(lumas: list[np.ndarray], times: list[float] | None = None) -> list[Frame]:
    detector = ShotDetector()
    frames = []
    for index, luma in enumerate(lumas):
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(luma), format="gray")
        pts = round(1000 * times[index]) if times else index * 40
        frame = Frame(image, pts, Fraction(1, 1000), Color(1), index)
        detector.mark(frame)
        frames.append(frame)
    return frames


def cuts(lumas: list[np.ndarray], times: list[float] | None = None) -> list[int]:
    return [frame.index for frame in marks(lumas, times) if frame.cut]


def moving(seed: int, count: int, speed: int = 3) -> list[np.ndarray]:
    return [texture(seed, speed * i) for i in range(count)]


@pytest.mark.parametrize("seed", range(0, 60, 10))
def test_a_cut_is_found_at_its_frame(seed: int) -> None:
    assert cuts(moving(seed, 9) + moving(seed + 5, 7) + moving(seed + 7, 1) + moving(seed, 4)) == [
        9,
        16,
        17,
    ]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("level", [255, 0, 180])
def test_flashes_are_no_cuts(seed: int, level: int) -> None:
    film = moving(seed, 16)
    flash = [f.copy() for f in film]
    flash[6] = (0.3 * film[6] + 0.7 * level).astype(np.uint8)  # partial
    flash[10][:] = level  # complete, two frames
    flash[11][:] = level
    flash[14] = np.minimum(film[14].astype(int) + 60, 255).astype(np.uint8)
    assert cuts(flash) == []


@pytest.mark.parametrize("seed", range(5))
def test_fades_are_no_cuts(seed: int) -> None:
    film = moving(seed, 24, 2)
    down = [(f * max(0.0, 1 - i / 9)).astype(np.uint8) for i, f in enumerate(film[:12])]
    up = [(f * min(1.0, i / 9)).astype(np.uint8) for i, f in enumerate(film[12:])]
    assert cuts(down + up) == []


def test_a_dissolve_is_no_cut_and_fast_motion_neither() -> None:
    a, b = moving(3, 12, 1), moving(9, 12, 1)
    mix = [
        (x * (1 - i / 11) + y * (i / 11)).astype(np.uint8)
        for i, (x, y) in enumerate(zip(a, b, strict=True))
    ]
    assert cuts(mix) == []
    assert cuts([texture(4, 9 * i) for i in range(12)]) == []


def test_gaps_in_time_end_a_shot_and_a_variable_rate_does_not() -> None:
    film = moving(1, 10)
    steady = [0.04 * i for i in range(10)]
    assert cuts(film, [t + (0.6 if i >= 5 else 0) for i, t in enumerate(steady)]) == [5]
    assert cuts(film, [t + (0.3 if i >= 5 else 0) for i, t in enumerate(steady)]) == []
    assert cuts(film, [float(i) for i in range(10)]) == []  # a time lapse


def test_repeats_are_what_looks_the_same() -> None:
    film = moving(2, 5)
    noise = np.random.default_rng(0)
    again = film[1].copy()
    again[noise.random(again.shape) < 0.02] += 1  # of an encoder
    small = film[3].copy()
    small[40:52, 60:72] = 235  # something small appears
    found = marks([film[0], film[1], again, film[1], film[2], film[3], small])
    assert [f.index for f in found if f.repeat] == [2, 3]


class Count(VideoModel[tuple[Tensor, ...]]):
    """Latency 2; gives each frame plus its number in the shot over 255, to see what was fed."""

    latency, multiple, halo = 2, 1, 0

    def initial_state(self, batch: int, height: int, width: int, **_: Any) -> tuple[Tensor, ...]:
        return (torch.zeros(batch, 0, 3, height, width), torch.zeros(()))

    def step(
        self, frame: Tensor, state: tuple[Tensor, ...], tiles: Tiles | None = None
    ) -> tuple[Output | None, tuple[Tensor, ...]]:
        window, number = torch.cat([state[0], frame[:, None]], 1), state[1] + 1
        if window.shape[1] < 3:
            return None, (window, number)
        return Output(window[:, 0] + (number - 2) / 255), (window[:, 1:], number)

    def flush(self, state: tuple[Tensor, ...], tiles: Tiles | None = None) -> list[Output]:
        window, number = state
        count = window.shape[1]
        return [Output(window[:, i] + (number - count + 1 + i) / 255) for i in range(count)]


def feed(plan: str) -> list[tuple[int, int]]:
    """Frames as letters: `.` plain, `r` repeat, `c` cut; (index, number in its shot) that come."""
    shots = Shots(Derainer(Count(), device="cpu", precision="fp32"))
    done = []
    for index, kind in enumerate(plan):
        image = av.VideoFrame(4, 4, "rgb24")
        frame = Frame(
            image, index, Fraction(1), Color(0), index, cut=kind == "c", repeat=kind == "r"
        )
        frame.rgb = np.full((4, 4, 3), 0.1 * index % 0.5, np.float32)
        done += shots.push(frame)
        assert index + 1 - len(done) <= 2 + plan.count("r")
    done += shots.flush()
    return [(each.frame.index, round(float(each.residual.whole().mean()) * 255)) for each in done]


@pytest.mark.parametrize(
    ("plan", "numbers"),
    [
        (".", [1]),
        ("..", [1, 2]),
        ("......", [1, 2, 3, 4, 5, 6]),
        ("...c..", [1, 2, 3, 1, 2, 3]),
        (".c", [1, 1]),
        ("ccc", [1, 1, 1]),
        (".rr.r..", [1, 1, 1, 2, 2, 3, 4]),
        ("..r", [1, 2, 2]),
        (".r.c.r", [1, 1, 2, 1, 2, 2]),
        ("....rrrrrrr", [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4]),
    ],
)
def test_every_frame_comes_once_in_order_with_its_own_change(plan: str, numbers: list[int]) -> None:
    assert feed(plan) == list(enumerate(numbers))


def test_no_ghost_of_the_old_scene(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], recurrent: nn.Module
) -> None:
    def draw(index: int, width: int, height: int) -> np.ndarray:
        luma = texture(40, 2 * index) if index < 7 else texture(50, 2 * index)
        return np.repeat(luma[:height, :width, None], 3, 2)

    source = make_clip("in.mkv", codec="ffv1", frames=12, size=SIZE, draw=draw)
    alone = make_clip(
        "alone.mkv", codec="ffv1", frames=5, size=SIZE, draw=lambda i, w, h: draw(i + 7, w, h)
    )
    options = VideoOptions(precision="fp32", encoding=Encoding("ffv1"))
    report = derain_video(source, source.parent / "a.mkv", options, model=recurrent)
    derain_video(alone, source.parent / "b.mkv", options, model=recurrent)
    assert report.shots == 2
    a, b = contents(source.parent / "a.mkv"), contents(source.parent / "b.mkv")
    assert all(np.array_equal(x[0], y[0]) for x, y in zip(a.planes[7:], b.planes, strict=True))
    off = replace(options, scene_reset="off")
    report = derain_video(source, source.parent / "c.mkv", off, model=recurrent)
    assert report.shots == 1
    c = contents(source.parent / "c.mkv")
    assert not np.array_equal(c.planes[7][0], a.planes[7][0])
