"""Layers of the single-image networks: every stage's image and the attention, as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.models import Derainer, create_model, save_model
from derain.models.networks.per_frame import PerFrame
from derain.models.video_model import Network, SingleImageModel
from derain.pipeline.image.derain_images import derain_images
from derain.pipeline.image.image_file import read_image
from derain.pipeline.streaming.layer_images import layers_as_images, write_layers
from derain.pipeline.streaming.options import VideoOptions

HEIGHT, WIDTH = 21, 30  # no multiple of what DCSFN pads to
SMALL = {
    "rescan": {"channels": 8, "stages": 3},
    "remaen": {"channels": 8, "stages": 2},
    "dcsfn": {"channels": 4, "blocks": 1},
    "spanet": {"channels": 8},
}
LAYERS = {
    "rescan": ["stage1", "stage2", "stage3"],
    "remaen": ["stage1", "stage2"],
    "dcsfn": ["stage1"],
    "spanet": ["attention1", "attention2", "attention3", "attention4"],
}


@pytest.fixture(params=SMALL)
def net(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    return create_model(request.param, **SMALL[request.param])


def test_every_layer_has_the_size_of_the_frame(net: Network) -> None:
    names = LAYERS[net.description.name]
    output = Derainer(PerFrame(net), device="cpu").push(torch.rand(3, HEIGHT, WIDTH))
    assert output is not None
    images = layers_as_images(output)
    assert list(images) == names
    for image in images.values():
        assert image.shape[:2] == (HEIGHT, WIDTH)
    if names[-1].startswith("stage"):  # the last stage is the result
        last = np.rint(output.image[0].permute(1, 2, 0).numpy() * 255)
        assert np.abs(images[names[-1]] - last).max() == 0


def test_stages_of_a_frame_are_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = create_model("rescan", **SMALL["rescan"])
    assert isinstance(net, SingleImageModel)
    frame = torch.rand(3, HEIGHT, WIDTH)
    output = Derainer(PerFrame(net), device="cpu", precision="fp32").push(frame)
    assert output is not None
    write_layers(tmp_path, 6, output)
    with torch.inference_mode():
        _, stages = net.forward_layers(frame[None])
    for i, stage in enumerate(stages.values(), 1):
        found = cv2.imread(str(tmp_path / f"stage{i}" / "000007.png"))[..., ::-1]
        expected = stage[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
        assert np.abs(found - expected).max() <= 0.5 + 1e-3


def test_derain_image_writes_the_attention(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_model(create_model("spanet", channels=8), tmp_path / "small.safetensors")
    cv2.imwrite(str(tmp_path / "in.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    options = VideoOptions(
        model="spanet",
        weights=str(tmp_path / "small.safetensors"),
        device="cpu",
        layers=str(tmp_path / "layers"),
    )
    assert derain_images([str(tmp_path / "in.png")], str(tmp_path / "out.png"), options) == 0
    written = sorted(path.name for path in (tmp_path / "layers").iterdir())
    assert written == [f"in.{name}.png" for name in LAYERS["spanet"]]
    assert read_image(tmp_path / "layers" / "in.attention1.png").grey
