"""8-bit integers: the copy that rounds stays close to the network, and ranges are not trusted."""

from __future__ import annotations

import pytest
import torch

from derain.models import load_model
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs
from derain.models.runtime.int8 import Int8Conv, observe_ranges, ranges_of, with_int8
from derain.models.runtime.onnx_export import input_shapes


@pytest.fixture
def network() -> Swift:
    model = load_model("swift")
    assert isinstance(model, Swift)
    return model


def inputs(network: Swift, seed: int) -> CoreInputs:
    """A noisy frame, and neighbours that differ from it as rain does."""
    generator = torch.Generator().manual_seed(seed)
    shapes = input_shapes(network, 48, 64)
    frame = torch.rand(shapes["frame"], generator=generator)
    near = (frame + 0.1 * torch.randn(shapes["frame"], generator=generator)).clamp(0, 1)
    found = {name: torch.zeros(shape) for name, shape in shapes.items()}
    images = [name for name, shape in shapes.items() if shape == shapes["frame"]]
    found |= dict.fromkeys(images, near) | {"frame": frame}
    return CoreInputs(**found | {"gain": torch.ones(shapes["gain"])})


def test_the_copy_rounds_and_stays_close(network: Swift) -> None:
    seen = [inputs(network, seed) for seed in range(3)]
    ranges = observe_ranges(network, seen)
    rounded = with_int8(network, ranges)
    assert sum(isinstance(each, Int8Conv) for each in rounded.modules()) == len(ranges) == 31
    assert not any(isinstance(each, Int8Conv) for each in network.modules())
    with torch.inference_mode():
        for each in seen:
            error = (rounded.core(each).image - network.core(each).image).square().mean()
            assert 0 < float(error) < 1e-4


def test_a_range_covers_what_was_seen(network: Swift) -> None:
    one = observe_ranges(network, [inputs(network, 0)])
    both = observe_ranges(network, [inputs(network, 0), inputs(network, 1)])
    assert all(both[n][0] <= one[n][0] and both[n][1] >= one[n][1] for n in one)
    assert any(both[n] != one[n] for n in one)


def test_shipped_weights_have_ranges(network: Swift) -> None:
    ranges = ranges_of(network)
    assert ranges is not None and all(low < high for low, high in ranges.values())


@pytest.mark.parametrize(
    "said", [None, [], {"trunk1.down1": (0, 1)}, "wide", {"trunk1.down1": "a"}]
)
def test_what_is_no_range_for_each_convolution_is_none(network: Swift, said: object) -> None:
    network.description.note["ranges"] = said
    assert ranges_of(network) is None
    network.description.note["ranges"] = dict.fromkeys(observe_ranges(network, []), (0.0, 1.0))
    assert ranges_of(network) is None


@pytest.mark.parametrize("wrong", [(1.0, 1.0), (2.0, -1.0), (float("nan"), 1.0)])
def test_an_empty_range_is_none(network: Swift, wrong: tuple[float, float]) -> None:
    ranges = ranges_of(network)
    assert ranges is not None
    network.description.note["ranges"] = ranges | {"trunk1.down1": wrong}
    assert ranges_of(network) is None
