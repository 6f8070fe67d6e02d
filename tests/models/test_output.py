"""Outputs: mapped field by field, stacked over time, freed of layers."""

from __future__ import annotations

import torch

from derain.models.output import LAYERS, Output, stack_outputs, without_layers


def full(value: float) -> Output:
    image = torch.full((1, 3, 2, 2), value)
    return Output(image, image, image, image[:, :1], image[:, :1], image, image, {"x": image}, "f")


def test_map_reaches_every_tensor_and_nothing_else() -> None:
    doubled = full(0.25).map(lambda x: 2 * x)
    for name in ("image", *LAYERS):
        assert float(getattr(doubled, name).mean()) == 0.5
    assert doubled.layers is not None and float(doubled.layers["x"].mean()) == 0.5
    assert doubled.features == "f"
    bare = Output(torch.zeros(1, 3, 2, 2)).map(lambda x: x + 1)
    assert float(bare.image.mean()) == 1
    assert bare.layers is None and all(getattr(bare, name) is None for name in LAYERS)


def test_frames_are_stacked_behind_the_batch() -> None:
    clip = stack_outputs([full(0.1), full(0.2), full(0.3)])
    assert clip.image.shape == (1, 3, 3, 2, 2)
    assert clip.transmission is not None and clip.transmission.shape == (1, 3, 1, 2, 2)
    assert torch.allclose(clip.image[0, :, 0, 0, 0], torch.tensor([0.1, 0.2, 0.3]))
    assert clip.layers is None and clip.features is None
    assert stack_outputs([Output(torch.zeros(1, 3, 2, 2))]).streaks is None


def test_named_layers_go_and_the_rest_stays() -> None:
    output = without_layers(full(0.5), {"streaks", "airlight"})
    there = {name for name in LAYERS if getattr(output, name) is not None}
    assert there == set(LAYERS) - {"streaks", "airlight"}
    assert output.image is not None and output.features == "f"
