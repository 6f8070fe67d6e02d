"""Where the network's own time goes: flow, alignment, the core, and the rest of a step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from derain.models import Derainer, VideoModel
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import Core, CoreInputs, CoreOutputs
from derain.models.ops.frame_window import fetch, ready
from derain.models.runtime.engines import has_engine, with_core
from derain.pipeline.evaluation.clock import Clock


def engine_name(model: VideoModel) -> str:
    """What computes the network's core."""
    return "openvino" if has_engine(model) else "torch"


def timed(core: Core, clock: Clock) -> Core:
    """The core, whose work `clock` counts."""

    def run(inputs: CoreInputs) -> CoreOutputs:
        with clock:
            return core(inputs)

    return run


@torch.inference_mode()
def network_parts(derainer: Derainer, frames: Iterable[Tensor]) -> dict[str, float]:
    """CPU time in milliseconds a frame, of all threads.

    Args:
        derainer: fresh; its network gets a clock.
        frames: of one shot, (3, H, W) RGB in [0, 1]. The first that give an output are not
            counted: engines compile then.

    Returns:
        `flow`, and what a step takes besides: `alignment` (neighbours fetched), `core`
        and `rest`. Networks without a window have no alignment, and all but `swift` no core.
    """
    flow, step, alignment, core = Clock(), Clock(), Clock(), Clock()
    clocks = {"flow": flow, "step": step, "alignment": alignment, "core": core}

    def with_clock(network: Swift) -> Core:
        return timed(network.engine or network.core, core)

    derainer.model = with_core(derainer.model, with_clock)
    preparer, counted = derainer.preparer(), 0
    for frame in frames:
        with flow:
            prepared = preparer.take(frame)
        with step:
            output = derainer.push(prepared)
        if output is not None and isinstance(derainer.model, Swift):
            with alignment:
                fetch(derainer.state.window, ready(derainer.state.window) or 0)
        counted += output is not None
        if counted == 1:
            for clock in clocks.values():
                clock.cpu = 0.0
    share = 1e3 / max(1, counted - 1)
    parts = {name: share * clock.cpu for name, clock in clocks.items()}
    whole = parts.pop("step")
    return parts | {"rest": max(0.0, whole - parts["alignment"] - parts["core"])}


def ratios(found: dict[str, object], before: dict[str, object]) -> dict[str, float]:
    """This run's times as a share of another's, by name: 0.5 is twice as fast.

    Args:
        found, before: what `run_bench` gives; names that only one of them has are left out.
    """
    shares: dict[str, float] = {}
    for name, value in found.items():
        other = before.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            shares |= {f"{name} {key}": x for key, x in ratios(value, other).items()}
        elif isinstance(value, float) and isinstance(other, float) and other:
            shares[name] = value / other
    return shares
