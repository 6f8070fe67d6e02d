"""`Output`: what a model gives for one frame or one clip."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# The fields of an output that show what a network thinks of the rain.
LAYERS = ("recovered", "hazy", "streaks", "occlusion", "transmission", "airlight")


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives for one frame, or for a clip with a time axis after the batch axis.

    Images are float32 RGB in [0, 1]. Fields that a model does not have are None.
    """

    image: Tensor  # (B, 3, H, W) the finished frame
    recovered: Tensor | None = None  # (B, 3, H, W) stage-1 result, J
    streaks: Tensor | None = None  # (B, 3, H, W) additive streak layer, signed, in [-1, 1]
    occlusion: Tensor | None = None  # (B, 1, H, W) in [0, 1]
    transmission: Tensor | None = None  # (B, 1, H, W) in [t_min, 1]
    airlight: Tensor | None = None  # (B, 3, 1, 1) in [0, 1], or a map of the image's size
    hazy: Tensor | None = None  # (B, 3, H, W) streak-free, still hazy frame, H
    # What else there is to see, by name: (B, 1 or 3, H, W).
    layers: dict[str, Tensor] | None = None
    features: object = None  # anything else a training stage needs; never encoded

    def map(self, function: Callable[[Tensor], Tensor]) -> Output:
        """Apply `function` to every tensor field and to every layer."""

        def mapped(value: Tensor | None) -> Tensor | None:
            return None if value is None else function(value)

        layers = self.layers
        if layers is not None:
            layers = {name: function(value) for name, value in layers.items()}
        return Output(
            function(self.image),
            mapped(self.recovered),
            mapped(self.streaks),
            mapped(self.occlusion),
            mapped(self.transmission),
            mapped(self.airlight),
            mapped(self.hazy),
            layers,
            self.features,
        )


def without_layers(output: Output, names: Collection[str]) -> Output:
    """The same without some of the layers beside its image."""
    if not names:
        return output

    def kept(name: str, layer: Tensor | None) -> Tensor | None:
        return None if name in names else layer

    return replace(
        output,
        recovered=kept("recovered", output.recovered),
        hazy=kept("hazy", output.hazy),
        streaks=kept("streaks", output.streaks),
        occlusion=kept("occlusion", output.occlusion),
        transmission=kept("transmission", output.transmission),
        airlight=kept("airlight", output.airlight),
    )


def stack_outputs(outputs: list[Output]) -> Output:
    """Stack outputs of single frames to one with a time axis: (B, …) -> (B, T, …).

    Layers and features are left out.
    """

    def column(values: list[Tensor | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.stack(there, 1) if there else None

    return Output(
        image=torch.stack([each.image for each in outputs], 1),
        recovered=column([each.recovered for each in outputs]),
        streaks=column([each.streaks for each in outputs]),
        occlusion=column([each.occlusion for each in outputs]),
        transmission=column([each.transmission for each in outputs]),
        airlight=column([each.airlight for each in outputs]),
        hazy=column([each.hazy for each in outputs]),
    )
