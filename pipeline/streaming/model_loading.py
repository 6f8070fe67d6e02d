"""The network that a user's options name, and a `Derainer` that runs it as they say."""

from __future__ import annotations

from derain.models import Derainer, VideoModel, load_model
from derain.models.log import Log
from derain.pipeline.streaming.options import NetworkOptions


def open_derainer(
    options: NetworkOptions, model: VideoModel | None, notice: Log, layers: bool = True
) -> Derainer:
    """A fresh stream through the network that `options` name, or through `model` instead.

    Args:
        options: of the network and where it runs.
        model: under the contract, or None.
        notice: told what is done differently.
        layers: whether outputs need layers beside their image.

    Raises:
        DerainError: no such network, weights, device or precision, or a share outside of 0 to 1.
    """
    return Derainer(
        model if model is not None else load_model(options.model, options.weights),
        device=options.device,
        precision=options.precision,
        streaks=options.streaks,
        haze=options.haze,
        boldness=options.boldness,
        notice=notice,
        tile=options.tile,
        engine=options.engine,
        layers=layers,
    )
