"""Tiles give what whole frames give."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models import Derainer, DerainError, create_model, load_model
from derain.models.networks.per_frame import PerFrame
from derain.models.ops.frame_window import empty_window, fetch, push
from derain.models.ops.optical_flow import _warp_opencv, _warp_torch, dis_flow
from derain.models.runtime.tiles import Mean, Tiles, compute, spatial_mean
from derain.models.video_model import SingleImageModel
from derain.pipeline.streaming.checkpoints import tensors_of

Run = Callable[[Derainer, Tensor], Tensor]
DATA = Path(__file__).resolve().parents[3] / "../shared/data"
GREY = 1 / 255


def scene(frames: int, height: int, width: int, step: int = 3) -> Tensor:
    """(T, 3, H, W): a texture that drifts, brighter to the right, with streaks that do not."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, height // 10, width // 10, generator=generator)
    size = (height, width + step * frames)
    texture = F.interpolate(coarse, size, mode="bicubic").clamp(0, 1)[0]
    texture = 0.6 * texture + torch.linspace(0, 0.3, size[1])
    clip = torch.stack([texture[..., step * t : step * t + width] for t in range(frames)])
    streaks = (torch.rand(frames, 1, height, width, generator=generator) < 0.01).float()
    streaks = F.max_pool2d(streaks, (9, 1), stride=1, padding=(4, 0))
    return (clip + 0.3 * streaks).clamp(0, 1)


def exactly(model: nn.Module, tile: str | int = "off", **more: Any) -> Derainer:
    return Derainer(model, device="cpu", precision="fp32", tile=tile, **more)


def p999(found: Tensor, wanted: Tensor) -> float:
    """The largest difference but for one value in a thousand, in any frame."""
    apart = (found - wanted).abs().flatten(1)
    return float(apart.kthvalue(int(0.999 * apart.shape[1]), 1).values.max())


# Cutting and putting together


@pytest.mark.parametrize(
    ("height", "width", "tiles"),
    [
        (64, 96, Tiles(16, 8, 8)),
        (1080, 1920, Tiles(500, 64, 8)),
        (40, 1000, Tiles(48, 5, 4)),
        (7, 5, Tiles(3, 2)),
    ],
)
def test_tiles_cover_every_pixel_once_and_keep_to_multiples(
    height: int, width: int, tiles: Tiles
) -> None:
    count = torch.zeros(height, width, dtype=torch.int64)
    for tile in tiles.cut(height, width):
        top, bottom, left, right = tile.inner
        count[top:bottom, left:right] += 1
        assert max(bottom - top, right - left) <= tiles.size + tiles.multiple - 1
        for inner, outer, length in zip(
            tile.inner, tile.outer, (height, height, width, width), strict=True
        ):
            assert outer % tiles.multiple == 0 or outer == length
            assert abs(inner - outer) >= tiles.halo or outer in (0, length)
    assert bool((count == 1).all())


def test_pieces_at_any_stride_are_put_together() -> None:
    frame = torch.rand(1, 3, 48, 80)
    quarter = F.avg_pool2d(frame, 4)
    whole, small, one, many = compute(
        lambda tile: (
            tile.crop(frame),
            tile.crop(quarter),
            torch.ones(1, 3, 1, 1),
            (torch.ones(()),),
        ),
        frame,
        Tiles(16, 8, 8),
    )
    torch.testing.assert_close((whole, small), (frame, quarter), atol=0, rtol=0)
    assert one.shape == (1, 3, 1, 1)
    assert many[0].shape == ()


@pytest.mark.parametrize("warp", [_warp_opencv, _warp_torch])
@pytest.mark.parametrize("stride", [1, 8])
def test_a_tile_fetches_from_the_whole_frame(warp: Any, stride: int) -> None:
    torch.manual_seed(0)
    frame = torch.rand(1, 3, 64, 96)
    image = F.avg_pool2d(frame, stride)
    flow = 40 * torch.randn(1, 2, 1, 1).expand(1, 2, 32, 48) + torch.randn(1, 2, 32, 48)
    if stride == 8:  # resized flow differs at a tile's border; a halo is made for that
        flow = flow.mean((2, 3), keepdim=True).expand_as(flow)
    whole = warp(image, flow, torch.zeros_like(image))
    for tile in Tiles(32, 0, 8).cut(64, 96):
        own = tile.crop(image)
        part = warp(image, tile.crop(flow), torch.zeros_like(own), tile.corner(image))
        torch.testing.assert_close(part, tile.crop(whole), atol=1e-5, rtol=0)


def test_alignment_of_a_tile_is_that_of_the_frame_however_fast_the_motion() -> None:
    window = empty_window(1, 96, 128, torch.device("cpu"))
    for frame in scene(5, 96, 128, step=20):
        window = push(window, frame[None], dis_flow)
    assert max(float(flow.abs().max()) for flow in window.forward) > 8
    for centre in (0, 2, 4):
        whole = fetch(window, centre)
        for tile in Tiles(32, 16, 8).cut(96, 128):
            part = fetch(window, centre, tile)
            for mine, theirs in (
                (part.frame, whole.frame),
                *zip(part.neighbours, whole.neighbours, strict=True),
                *zip(part.unmoved, whole.unmoved, strict=True),
                (part.to_previous, whole.to_previous),
            ):
                wanted = tile.core(tile.crop(theirs))
                torch.testing.assert_close(tile.core(mine), wanted, atol=2e-2, rtol=0)
                assert float((tile.core(mine) - wanted).abs().mean()) < 1e-4


class Centred(SingleImageModel):
    """Takes the mean over the frame off; asks for the mean of what is left, too."""

    multiple, halo, uses_means = 4, 4, True

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        centred = rainy - mean(rainy)[:, :, None, None] + 0.4
        return centred + 0.5 * mean(F.avg_pool2d(rainy, 2))[:, :, None, None], {}


def test_means_are_over_the_frame(run: Run) -> None:
    clip = scene(2, 50, 70)
    whole = run(exactly(PerFrame(Centred())), clip)
    found = run(exactly(PerFrame(Centred()), 16), clip)
    torch.testing.assert_close(found, whole, atol=1e-6, rtol=0)


# Networks

NETWORKS: dict[str, dict[str, Any]] = {
    "dcsfn": {"channels": 4, "blocks": 1, "scales": 2},
    "remaen": {"channels": 8, "stages": 1},
    "rescan": {"channels": 8, "stages": 2},
    "spanet": {"channels": 8},
    "two_stage": {"width": 8, "blocks": 1, "unshuffle": 1},
    "swift": {},
    "median": {},
}


def network(name: str) -> nn.Module:
    if name in ("swift", "median"):
        return load_model(name)
    torch.manual_seed(0)
    net = create_model(name, **NETWORKS[name])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    return (net if name == "two_stage" else PerFrame(net)).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_whole_frames_give(run: Run, name: str) -> None:
    model = network(name)
    smallest = exactly(model).tile_planner.least
    clip = scene(4 if model.latency else 1, smallest + 24, 2 * smallest - 20)
    whole, tiled = exactly(model), exactly(model, smallest)
    assert tiled.tile_planner.tiles is not None
    wanted = run(whole, clip)
    assert float((wanted - clip).abs().max()) > 4 * GREY
    assert p999(run(tiled, clip), wanted) < 2 * GREY


def test_tiles_may_change_inside_a_shot_and_leave_no_trace_in_the_state() -> None:
    model, clip = load_model("swift"), scene(7, 144, 264)
    whole, tiled = exactly(model), exactly(model)
    wanted, found = [], []
    for frame, size in zip(clip, (0, 128, 0, 200, 136, 128, 0), strict=True):
        tiled.tile_planner.tiles = Tiles(size, 64, 8) if size else None
        wanted.append(whole.push(frame))
        found.append(tiled.push(frame))
        states = [list(tensors_of(derainer.state)) for derainer in (tiled, whole)]
        for mine, theirs in zip(*states, strict=True):
            assert mine.shape == theirs.shape
            assert float((mine - theirs).abs().double().mean()) < 0.01
    images = [torch.cat([o.image for o in outputs if o]) for outputs in (found, wanted)]
    assert p999(*images) < 2 * GREY


@pytest.mark.slow
@pytest.mark.parametrize("name", ["courtyard_streaks", "windscreen_drops_truck"])
def test_seams_of_swift_on_a_real_clip_after_40_frames(run: Run, name: str) -> None:
    from derain.pipeline.video import read_rgb

    path = DATA / f"real_rain/{name}.mp4"
    if not path.is_file():
        pytest.skip("the real clips are not here")
    frames = [torch.from_numpy(x.copy()).permute(2, 0, 1) for x in islice(read_rgb(path), 44)]
    clip = torch.stack(frames)[..., 40:296, 100:484]
    model = load_model("swift")
    wanted = run(exactly(model), clip)
    assert p999(run(exactly(model, 128), clip)[-4:], wanted[-4:]) < 2 * GREY


@pytest.mark.parametrize(
    ("tile", "words"),
    [("large", "auto, off or a number"), ("-5", "auto, off or a number"), (8, "at least 16")],
)
def test_tiles_that_make_no_sense(tile: str | int, words: str) -> None:
    with pytest.raises(DerainError, match=words):
        exactly(PerFrame(Centred()), tile)


def test_a_network_that_takes_whole_frames_says_so(run: Run, recurrent: nn.Module) -> None:
    assert run(exactly(recurrent, "auto"), scene(3, 16, 16)).shape[0] == 3
    with pytest.raises(DerainError, match="does not work in tiles"):
        exactly(recurrent, 64)
