"""Alignment and the window: neighbours are brought to where they belong, ends are filled."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from derain.models.ops.frame_window import (
    LENGTH,
    Window,
    change_that_stays,
    empty_window,
    fetch,
    look_ahead,
    push,
    rank,
    ready,
    stillness,
    unfinished,
)
from derain.models.ops.optical_flow import dis_flow


def scene(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    frame = torch.zeros(1, 3, height, width)
    for octave in (8, 16, 32):
        noise = torch.rand(1, 3, octave, octave * 2, generator=generator)
        frame += torch.nn.functional.interpolate(
            noise, (height, width), mode="bicubic", align_corners=False
        )
    return (frame / 3).clamp(0, 1)


def drifting(frames: int, step: int = 4) -> list[Tensor]:
    wide = scene(96, 160 + step * frames)
    return [wide[..., step * t : step * t + 160] for t in range(frames)]


def window_of(frames: list[Tensor]) -> Window:
    window = empty_window(1, *frames[0].shape[-2:], torch.device("cpu"))
    for frame in frames:
        window = push(window, frame, dis_flow)
    return window


def test_window_slides_and_says_when_an_output_is_due() -> None:
    window, due = empty_window(1, 96, 160, torch.device("cpu")), []
    for frame in drifting(8):
        window = push(window, frame, dis_flow)
        due.append(ready(window))
    assert due == [None, None, 2, 2, 2, 2, 2, 2]
    assert int(window.filled) == len(window.frames) == LENGTH
    assert len(window.forward) == len(window.backward) == LENGTH - 1
    assert list(unfinished(window)) == [3, 4]


def test_flow_computed_ahead_gives_the_same_window() -> None:
    frames = drifting(7)
    ahead = empty_window(1, 96, 160, torch.device("cpu"))
    for before, frame in zip([None, *frames], frames, strict=False):
        if before is not None:
            ahead = look_ahead(ahead, dis_flow(before, frame))
        ahead = push(ahead, frame, unexpected_flow)
    plain = window_of(frames)
    for name in ("frames", "forward", "backward"):
        for mine, theirs in zip(getattr(ahead, name), getattr(plain, name), strict=True):
            assert torch.equal(mine, theirs)


def unexpected_flow(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    raise AssertionError("this flow is known already")


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_median_removes_a_speck_at_either_end_of_a_shot(frames: int) -> None:
    clip = drifting(frames)
    for centre in (0, frames - 1):
        rainy = [x.clone() for x in clip]
        rainy[centre][..., 40:44, 80:84] = 1
        near = fetch(window_of(rainy), LENGTH - frames + centre)
        _, median = rank(near.frame, near.neighbours)
        error = (median - clip[centre])[..., 40:44, 80:84].abs().mean()
        assert float(error) < 0.1 * float((1 - clip[centre])[..., 40:44, 80:84].mean())


def test_stillness_is_small_where_something_does_not_move() -> None:
    clip = [x.clone() for x in drifting(5)]
    for frame in clip:
        frame[..., 20:30, 20:50] = 0.9
    near = fetch(window_of(clip), 2)
    still = stillness(near.frame, *near.unmoved[1:3])
    assert float(still[..., 20:30, 20:50].max()) == 0
    assert float(still.mean()) > 0.01


def test_ranked_neighbours_are_in_order() -> None:
    noisy = [frame + 0.1 * torch.rand_like(frame) for frame in drifting(5, step=1)]
    near = fetch(window_of(noisy), 2)
    ranked, median = rank(near.frame, near.neighbours)
    for low, high in pairwise(ranked):
        assert bool((low <= high).all())
    five = torch.stack([near.frame, *near.neighbours])
    torch.testing.assert_close(median, five.median(0).values)


def test_bytes_are_compared_as_floats_are() -> None:
    levels = [torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8) for _ in range(5)]
    floats = [x.float() for x in levels]
    for found, wanted in (
        (torch.cat(rank(levels[0], levels[1:])[0]), torch.cat(rank(floats[0], floats[1:])[0])),
        (rank(levels[0], levels[1:])[1], rank(floats[0], floats[1:])[1]),
        (stillness(*levels[:3]), stillness(*floats[:3])),
    ):
        assert found.dtype == torch.uint8
        torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0)


def test_of_frames_that_are_nearly_the_same_one_further_away_must_agree() -> None:
    scene, streak = torch.full((1, 3, 2, 2), 0.3), torch.full((1, 3, 2, 2), 0.7)

    def change(*frames: Tensor) -> float:
        before2, before, frame, after, after2 = frames
        still = stillness(frame, before, after)
        return float(change_that_stays(frame, [before2, before, after, after2], still).max())

    assert change(scene, scene, scene, scene, scene) == 0
    assert change(scene, scene, streak, scene, scene) > 0.3
    # A recording that shows every frame three times.
    assert change(scene, streak, streak, streak, scene) > 0.3
    # Rain passes two frames away.
    assert change(streak, scene, scene, scene, scene) == 0
