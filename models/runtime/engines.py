"""What runs a network's core: torch, or OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from importlib.util import find_spec
from typing import Literal

import torch

from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import Core
from derain.models.runtime.half_size import HalfSize
from derain.models.video_model import VideoModel

Engine = Literal["auto", "torch", "openvino"]


def with_engine(model: VideoModel, engine: Engine, device: torch.device, notice: Log) -> VideoModel:
    """The network, run by the chosen engine; the given one stays as it is.

    `auto` is OpenVINO where it was measured to be faster: on a CPU with AMX the core takes 39 ms of
    a 640x360 frame where torch takes 58. With AVX512-BF16 alone it takes 53 ms of CPU time for 65,
    which its longer start eats on short films.

    Args:
        model: under the contract.
        engine: `auto`, `torch` or `openvino`.
        device: where the network runs.
        notice: called with a sentence when another engine has to do.

    Raises:
        DerainError: OpenVINO is asked for and is not there, or not for this network or device.
    """
    asked = engine == "openvino"
    if engine == "torch" or not (asked or is_faster(device)):
        return model
    if device.type != "cpu":
        raise DerainError("--engine openvino is for the CPU; leave it out, or use --device cpu.")
    try:
        from derain.models.runtime.openvino_engine import OpenVinoCore

        found = with_core(model, lambda network: OpenVinoCore(network, notice))
    except (DerainError, RuntimeError, OSError) as error:
        if asked:
            raise DerainError(f"OpenVINO cannot be used: {error}") from error
        notice(f"OpenVINO cannot be used ({error}); torch does the work.")
        return model
    if found is model and asked:
        raise DerainError("Only swift and swift-plus run in OpenVINO; use --engine torch.")
    return found


def with_core(model: VideoModel, core_of: Callable[[Swift], Core]) -> VideoModel:
    """A copy of the network that shares its weights and has another core."""
    if isinstance(model, HalfSize):
        inner = with_core(model.model, core_of)
        return model if inner is model.model else HalfSize(inner).eval()
    if not isinstance(model, Swift) or not model.has_hidden_state:
        return model
    found = copy(model)
    found.engine = core_of(model)
    return found


def is_faster(device: torch.device) -> bool:
    """Whether OpenVINO is there and faster than torch on this device."""
    amx = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return bool(amx) and find_spec("openvino") is not None
