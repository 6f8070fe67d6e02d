"""The core in 8-bit integers: the ranges its convolutions see, and a copy that rounds as they do.

The copy stays in torch: it can be held to the network, and an engine that reads it from an ONNX
file computes its convolutions in integers. What reads or makes images stays as it is, and so do the
last features: small differences between bright frames would drown in 256 steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs

Ranges = dict[str, tuple[float, float]]
KEPT = ("head", "tail", "rain", "residual")  # last parts of names
CLIPPED = 1e-4  # share of a frame's values on each side that may lie outside of the range
LARGEST = 1e6  # of ranges that are believed
SAMPLED = 1_000_000  # values of a layer and frame that its range is taken from


class Int8Conv(nn.Module):
    """A convolution whose input and weights are rounded to 256 steps.

    Args:
        conv: the convolution.
        low: least value of its input that can be told apart from lower ones.
        high: likewise the greatest; zero lies between the two.
    """

    def __init__(self, conv: nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        low, high = min(low, 0.0), max(high, 0.0)
        self.step = max(high - low, 1e-6) / 255
        self.zero = round(-low / self.step)
        self.conv = conv
        steps = conv.weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-8) / 127
        self.register_buffer("steps", steps)
        self.register_buffer("zeros", torch.zeros(len(steps), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fake_quantize_per_tensor_affine(x.float(), self.step, self.zero, 0, 255)
        weight = torch.fake_quantize_per_channel_affine(
            self.conv.weight, self.get_buffer("steps"), self.get_buffer("zeros"), 0, -128, 127
        )
        conv = self.conv
        return nn.functional.conv2d(x, weight, conv.bias, conv.stride, conv.padding)


def observe_ranges(network: Swift, inputs: Iterable[CoreInputs]) -> Ranges:
    """The ranges of what the core's convolutions are shown, by their names.

    Args:
        network: in float32.
        inputs: of its core, from many frames with and without rain.
    """
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def watch(name: str, conv: nn.Conv2d) -> torch.utils.hooks.RemovableHandle:
        def look(_: nn.Module, shown: tuple[Tensor, ...]) -> None:
            seen[name].append(_range(shown[0]))

        return conv.register_forward_pre_hook(look)

    handles = [watch(*each) for each in _convolutions(network)]
    try:
        with torch.inference_mode():
            for each in inputs:
                network.core(each)
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: (min(low for low, _ in found), max(high for _, high in found))
        for name, found in seen.items()
    }


def ranges_of(network: Swift) -> Ranges | None:
    """Those that the network's weight file holds for its convolutions, or None.

    A file says what it likes: what is not a range for each of them is no range at all.
    """
    try:
        found = TypeAdapter(Ranges).validate_python(network.description.note.get("ranges"))
    except ValidationError:
        return None
    names = {name for name, _ in _convolutions(network)}
    whole = all(low < high and high - low < LARGEST for low, high in found.values())
    return found if names == set(found) and whole else None


def with_int8(network: Swift, ranges: Mapping[str, tuple[float, float]]) -> Swift:
    """A copy of the network whose convolutions round as 8-bit integers do.

    Args:
        network: in float32.
        ranges: from `observe_ranges`.
    """
    rounded = deepcopy(network)
    for name, conv in list(_convolutions(rounded)):
        parent, _, leaf = name.rpartition(".")
        setattr(rounded.get_submodule(parent), leaf, Int8Conv(conv, *ranges[name]))
    return rounded


def _convolutions(network: Swift) -> Iterator[tuple[str, nn.Conv2d]]:
    """The core's convolutions that integers are for."""
    for name, module in network.named_modules():
        in_core = isinstance(module, nn.Conv2d) and not name.startswith("haze_estimator")
        if in_core and name.rpartition(".")[2] not in KEPT:
            assert isinstance(module, nn.Conv2d)
            yield name, module


def _range(values: Tensor) -> tuple[float, float]:
    flat = values.float().flatten()
    flat = flat[:: max(1, len(flat) // SAMPLED)].sort().values
    outside = int(len(flat) * CLIPPED)
    return float(flat[outside]), float(flat[len(flat) - 1 - outside])
