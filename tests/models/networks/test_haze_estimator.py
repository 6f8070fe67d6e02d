"""The haze estimator: haze from the whole frame, and what `swift` does with haze that is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models import create_model, load_model
from derain.models.networks.haze_estimator import (
    FINE,
    GRID,
    Haze,
    HazeEstimator,
    full_size,
    haze_confidence,
    thumbnail,
    weigh_by_confidence,
)
from derain.models.networks.swift import HAZE_KEPT
from derain.models.ops.scattering import T_MIN, add_haze
from derain.pipeline.rendered.scenes import SCENES, render_scene


def scene(height: int = 48, width: int = 64) -> Tensor:
    """(1, 3, H, W) with dark, bright and coloured parts."""
    torch.manual_seed(0)
    coarse = torch.rand(1, 3, 6, 8)
    return F.interpolate(coarse, (height, width), mode="nearest")


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (128, 128), (201, 333)])
def test_any_size_gives_one_grid_and_one_colour(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    haze = HazeEstimator()(torch.rand(2, 3, *size))
    assert haze.transmission.shape == (2, 1, GRID, GRID)
    assert haze.airlight.shape == (2, 3, 1, 1)
    assert haze.transmission.min() >= T_MIN
    assert haze.transmission.max() <= 1


def test_a_thumbnail_of_a_thumbnail_is_itself() -> None:
    """Training shows the haze estimator small images; they must mean the same as whole frames."""
    small = torch.rand(1, 3, FINE, FINE)
    torch.testing.assert_close(thumbnail(small), small)


def test_haze_does_to_thumbnails_what_it_does_to_frames() -> None:
    t, airlight = torch.tensor(0.6), torch.tensor([0.7, 0.7, 0.75]).view(1, 3, 1, 1)
    frame = torch.rand(1, 3, 300, 400)
    torch.testing.assert_close(
        thumbnail(add_haze(frame, t, airlight)),
        add_haze(thumbnail(frame), t, airlight),
        atol=1e-5,
        rtol=0,
    )


def test_known_haze_is_taken_off_exactly() -> None:
    """An untrained `swift` changes nothing; what remains is the inversion of the given haze."""
    net = create_model("swift")
    ramp = torch.linspace(0.4, 0.9, GRID).view(1, 1, GRID, 1).expand(1, 1, GRID, GRID)
    haze = Haze(ramp, torch.tensor([0.8, 0.8, 0.85]).view(1, 3, 1, 1))
    clean = scene()
    hazy = add_haze(clean, full_size(haze.transmission, 48, 64), haze.airlight)
    clip = hazy[:, None].expand(-1, 6, -1, -1, -1)
    with torch.inference_mode():
        output, state = net.eval()(clip, haze=haze)
    assert output.image.shape == clip.shape
    torch.testing.assert_close(output.image[:, 5], clean, atol=1e-4, rtol=0)
    torch.testing.assert_close(state.haze.transmission, haze.transmission)


def test_haze_settles_from_estimate_to_estimate() -> None:
    """An odd frame moves what is held of the haze by a tenth, not by all; every second is seen."""
    net = create_model("swift").eval()
    with torch.no_grad():
        net.haze_estimator.thin.bias.fill_(
            -1
        )  # haze wherever an image tells of it; a white one does not
    # The second output looks at nothing new, so a white frame there is overlooked.
    frames = [scene(), torch.ones(1, 3, 48, 64), *[scene()] * 6, *[torch.ones(1, 3, 48, 64)] * 5]
    with torch.inference_mode():
        state = net.initial_state(1, 48, 64, device=torch.device("cpu"), dtype=torch.float32)
        held = []
        for frame in frames:
            output, state = net.step(frame, state)
            if output is not None:
                held.append(float(state.haze.transmission.mean()))
        alone = float(weigh_by_confidence(net.haze_estimator(frames[-1])).transmission.mean())
    assert max(held[:8]) - min(held[:8]) < 1e-6
    assert held[8] - held[7] == pytest.approx((1 - HAZE_KEPT) * (alone - held[7]), rel=0.01)
    assert held[9] == held[8]
    assert abs(alone - held[7]) > 0.01


def test_haze_that_is_in_doubt_is_left_alone() -> None:
    """And what is surely there is taken off as it is."""
    doubtful, sure = (torch.full((1, 1, GRID, GRID), t) for t in (0.92, 0.6))
    assert float(haze_confidence(doubtful)) < 0.01
    assert float(haze_confidence(sure)) > 0.99
    light = torch.full((1, 3, 1, 1), 0.8)
    assert weigh_by_confidence(Haze(doubtful, light)).transmission.min() > 0.999
    torch.testing.assert_close(
        weigh_by_confidence(Haze(sure, light)), Haze(sure, light), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("name", ["swift", "swift-plus", "swift-open"])
def test_pale_images_without_structure_come_back(name: str) -> None:
    """A white wall, an overcast sky, a title before its letters: not haze, whatever it is like."""
    net = load_model(name)
    sky = torch.linspace(0.75, 0.9, 64).view(64, 1).expand(64, 64)
    for pale in (torch.full((64, 64), 0.7), torch.full((64, 64), 0.9), sky):
        clip = pale.expand(1, 5, 3, 64, 64)
        with torch.inference_mode():
            output, _ = net(clip)
        assert (output.image - clip).abs().max() < 0.02


@pytest.mark.parametrize("name", ["swift", "swift-plus", "swift-open"])
def test_soft_images_without_haze_are_left_alone(name: str) -> None:
    """Rendered scenes have little contrast, as blurred ones have; far hills are pale."""
    haze_estimator = load_model(name).haze_estimator
    for scene_name in SCENES:
        frame = render_scene(scene_name, frames=1).clean
        for looked_at in (frame, F.avg_pool2d(frame, 5, 1, 2)):
            with torch.inference_mode():
                assert haze_confidence(haze_estimator(looked_at).transmission) < 0.2, scene_name
