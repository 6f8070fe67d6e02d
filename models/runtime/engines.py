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
from derain.models.runtime.int8 import ranges_of
from derain.models.video_model import VideoModel

Engine = Literal["auto", "torch", "openvino"]


def with_engine(
    model: VideoModel,
    engine: Engine,
    device: torch.device,
    notice: Log,
    precision: str = "auto",
    layers: bool = True,
) -> VideoModel:
    """The network, run by the chosen engine; the given one stays as it is.

    `auto` is OpenVINO on the CPU where it is installed: it needs about half of torch's CPU time for
    the core of `swift` in integers, and three quarters in bfloat16.

    Args:
        model: under the contract.
        engine: `auto`, `torch` or `openvino`.
        device: where the network runs.
        notice: called with a sentence when another engine has to do.
        precision: as asked for; `auto` is integers where the engine and the weights have them.
        layers: whether outputs need more than their image.

    Raises:
        DerainError: OpenVINO or int8 is asked for and is not there, or not for this network or
            device.
    """
    int8 = precision in ("auto", "int8")
    found = _with_engine(model, engine, device, notice, int8, layers)
    if precision == "int8" and not (found is not model and has_ranges(model)):
        raise DerainError(
            "--precision int8 is for OpenVINO on the CPU and for weights with ranges, which "
            "derain calibrate makes; leave it out, or use bf16 or fp32."
        )
    return found


def _with_engine(
    model: VideoModel, engine: Engine, device: torch.device, notice: Log, int8: bool, layers: bool
) -> VideoModel:
    asked = engine == "openvino"
    if engine == "torch" or not (asked or (is_faster(device) and _takes_core(model))):
        return model
    if device.type != "cpu":
        raise DerainError("--engine openvino is for the CPU; leave it out, or use --device cpu.")
    try:
        from derain.models.runtime.openvino_engine import OpenVinoCore

        found = with_core(model, lambda network: OpenVinoCore(network, notice, int8, layers))
    except (DerainError, RuntimeError, OSError) as error:
        if asked:
            raise DerainError(f"OpenVINO cannot be used: {error}") from error
        notice(f"OpenVINO cannot be used ({error}); torch does the work.")
        return model
    if found is model and asked:
        raise DerainError("Only swift and swift-plus run in OpenVINO; use --engine torch.")
    return found


def _network_of(model: VideoModel) -> Swift | None:
    """The network that has a core, at full size or at half; None where there is none."""
    inner = model.model if isinstance(model, HalfSize) else model
    return inner if isinstance(inner, Swift) and inner.has_hidden_state else None


def _takes_core(model: VideoModel) -> bool:
    """Whether the network has a core, and no other has been put into its place."""
    network = _network_of(model)
    return network is not None and network.engine is None


def with_core(model: VideoModel, core_of: Callable[[Swift], Core]) -> VideoModel:
    """A copy of the network that shares its weights and has another core."""
    network = _network_of(model)
    if network is None:
        return model
    found = copy(network)
    found.engine = core_of(network)
    return HalfSize(found).eval() if isinstance(model, HalfSize) else found


def has_engine(model: VideoModel) -> bool:
    """Whether another than torch computes the network's core."""
    network = _network_of(model)
    return network is not None and network.engine is not None


def is_faster(device: torch.device) -> bool:
    """Whether OpenVINO is there and faster than torch on this device."""
    return device.type == "cpu" and find_spec("openvino") is not None


def has_ranges(model: VideoModel) -> bool:
    """Whether the weights say what ranges integers are to cover."""
    network = _network_of(model)
    return network is not None and ranges_of(network) is not None
