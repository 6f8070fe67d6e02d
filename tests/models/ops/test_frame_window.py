"""Alignment and the window: neighbours are brought to where they belong, ends are filled."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from derain.models.ops.frame_window import (
    LENGTH,
    Window,
    empty_window,
    fetch,
    look_ahead,
    push,
    rank,
    ready,
    stillness,
    unfinished,
)
from derain.models.ops.optical_flow import _warp_opencv, _warp_torch, compose_flows, dis_flow, warp


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


def test_flow_finds_a_shift_and_warp_undoes_it() -> None:
    a, b = drifting(2)
    there, back = dis_flow(a, b)
    middle = there[..., 10:-10, 10:-10]
    # Half size: a shift of 4 pixels is 2 of the flow's.
    assert abs(float(middle[:, 0].median()) + 2) < 0.1
    assert abs(float(back[..., 10:-10, 10:-10][:, 0].median()) - 2) < 0.1
    moved = warp(b, there, a)
    error = (moved - a)[..., 10:-10, 10:-10].abs().mean()
    assert float(error) < 0.2 * float((b - a)[..., 10:-10, 10:-10].abs().mean())


def test_where_a_neighbour_has_nothing_the_fallback_stands() -> None:
    image, fallback = torch.zeros(1, 3, 40, 60), torch.ones(1, 3, 40, 60)
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0] = 10  # 20 pixels to the right
    for fetched in (_warp_opencv(image, flow, fallback), _warp_torch(image, flow, fallback)):
        assert float(fetched[..., 41:].min()) == 1
        assert float(fetched[..., :39].max()) == 0


def test_both_ways_of_warping_agree() -> None:
    image = scene(64, 96)
    generator = torch.Generator().manual_seed(1)
    flow = torch.nn.functional.interpolate(
        torch.randn(1, 2, 4, 6, generator=generator) * 3, (32, 48), mode="bicubic"
    )
    fallback = 1 - image
    a, b = _warp_opencv(image, flow, fallback), _warp_torch(image, flow, fallback)
    assert float((a - b).abs().mean()) < 2e-3  # borders, where both blend with the fallback, too
    outside = torch.full((1, 2, 32, 48), 1000.0)
    for warped in (_warp_opencv, _warp_torch):
        assert torch.equal(warped(image, outside, fallback), fallback)


def test_composed_flow_is_the_way_in_two_steps() -> None:
    first, second = torch.zeros(1, 2, 30, 40), torch.zeros(1, 2, 30, 40)
    first[:, 0], second[:, 1] = 3, -2
    both = compose_flows(first, second)[..., 8:-8, 8:-8]
    torch.testing.assert_close(both[:, 0], torch.full_like(both[:, 0], 3))
    torch.testing.assert_close(both[:, 1], torch.full_like(both[:, 1], -2))


def test_warp_passes_gradients_when_asked() -> None:
    image = scene(32, 48).requires_grad_()
    warp(image, torch.zeros(1, 2, 16, 24), image).sum().backward()
    assert image.grad is not None
    torch.testing.assert_close(image.grad, torch.ones_like(image))


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
    still = stillness(near.frame, *near.unmoved)
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
