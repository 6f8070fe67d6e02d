"""`--tile` reaches the network, shows in no frame, and does not hinder `--resume`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from derain.models import Derainer, create_model
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.runtime.tiles import Tiles
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.temporal_smoothing import TemporalSmoother
from derain.pipeline.video.encoders import Encoding

OPTIONS = VideoOptions(model="median", device="cpu", precision="fp32", encoding=Encoding("ffv1"))


def test_a_number_is_pixels_a_side() -> None:
    derainer = open_derainer(replace(OPTIONS, tile="200"), None, print)
    assert derainer.tile_planner.tiles == Tiles(200, 64, 2)
    assert open_derainer(OPTIONS, None, print).tile_planner.tiles is None
    with pytest.raises(DerainError, match="--tile is auto, off or a number"):
        open_derainer(replace(OPTIONS, tile="small"), None, print)


def test_a_run_may_go_on_with_other_tiles() -> None:
    assert replace(OPTIONS, tile="200").output_settings() == OPTIONS.output_settings()
    assert replace(OPTIONS, haze=0.5).output_settings() != OPTIONS.output_settings()


def test_steadied_networks_work_in_tiles_too() -> None:
    torch.manual_seed(0)
    net = TemporalSmoother(
        PerFrame(create_model("rescan", unit="conv", channels=4, depth=4, se_hidden=0))
    )
    clip = torch.rand(3, 3, 96, 128)
    images = []
    for tile in ("off", "64"):
        derainer = Derainer(net, "cpu", "fp32", tile=tile)
        outputs = [derainer.push(frame) for frame in clip]
        images.append(torch.cat([output.image for output in outputs if output is not None]))
    assert float((images[0] - clip).abs().mean()) > 0.01
    # A value that rounds the other way moves the flow a little.
    assert float((images[0] - images[1]).abs().mean()) < 1e-3


def test_a_film_in_tiles_is_the_film(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    source = make_clip("clip.mkv", frames=6, size=(288, 160))
    films = []
    for tile in ("off", "128"):
        target = tmp_path / f"{tile}.mkv"
        report = derain_video(source, target, replace(OPTIONS, tile=tile))
        assert (report.frames_out, report.notices) == (6, [])
        films.append(contents(target))
    assert films[0].times == films[1].times
    for whole, tiled in zip(*(film.planes for film in films), strict=True):
        apart = [np.abs(a.astype(int) - b).max() for a, b in zip(whole, tiled, strict=True)]
        assert max(apart) <= 2
