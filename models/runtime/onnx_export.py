"""Writing the core of a network as an ONNX file, for programs that run without torch.

The file holds what swift_core.py describes, with its names: aligned, normalised frames go in, the
hidden states go in and come out. It knows nothing of alignment.
"""

from __future__ import annotations

import json
import warnings
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import Compared, CoreInputs, CoreOutputs
from derain.models.runtime.int8 import ranges_of, with_int8
from derain.models.video_model import VideoModel
from derain.models.whole_file import write_whole

OPSET = 17
# What the exporter has to be shown where the file is for frames of any size.
ANY_SIZE = (64, 64)
OUTPUTS = CoreOutputs._fields
# Inputs that are not of the frame's size.
SMALL = ("airlight", "caution", "standing", "memory1", "memory2")

Inputs = type[CoreInputs] | type[Compared]
ExportPrecision = Literal["fp32", "fp16", "int8"]


class _Flat(nn.Module):
    """The core, or its body, with plain tensors as arguments, in the order of `kind`."""

    def __init__(self, network: Swift, kind: Inputs) -> None:
        super().__init__()
        self.network, self.kind = network, kind

    def forward(self, *tensors: Tensor) -> CoreOutputs:
        if self.kind is Compared:
            return self.network.body(Compared(*tensors))
        return self.network.core(CoreInputs(*tensors))


def export_core(
    network: VideoModel,
    path: Path,
    size: tuple[int, int] | None = None,
    precision: ExportPrecision = "fp32",
) -> None:
    """Write the network's core to `path`, with its state as inputs and outputs.

    Args:
        network: `swift` or `swift-plus`, in float32.
        path: the file; one that is there is replaced once the new one is whole.
        size: width and height that the file is for, multiples of 8; None for any.
        precision: of the convolutions' weights and arithmetic; inputs and outputs are float32. For
            int8 the weights need ranges (int8.py).

    Raises:
        DerainError: a network without such a core, a size that does not fit, no onnx package.
    """
    try:
        import onnx
    except ImportError as error:
        raise DerainError(
            "Exporting needs the onnx package; pip install 'derain[onnx]'."
        ) from error
    if not isinstance(network, Swift) or not network.has_hidden_state:
        raise DerainError("Only swift and swift-plus can be exported; choose one of them.")
    width, height = size or ANY_SIZE
    if width % network.multiple or height % network.multiple or min(width, height) < 8:
        raise DerainError(f"--size is of multiples of {network.multiple}, such as 640x360.")
    with TemporaryDirectory() as folder:
        trace_core(in_precision(network, precision), Path(folder) / "core.onnx", size)
        model = onnx.load(Path(folder) / "core.onnx")
    onnx.helper.set_model_props(model, _metadata(network, size, precision))
    try:
        write_whole(path, lambda target: target.write(model.SerializeToString()))
    except OSError as error:
        raise DerainError(f"{path} cannot be written ({error}); choose another place.") from error


def trace_core(
    network: Swift, path: Path, size: tuple[int, int] | None = None, kind: Inputs = CoreInputs
) -> None:
    """Write the core as plain ONNX, which torch does by itself.

    Args:
        network: whose core is written.
        path: file to write, .onnx.
        size: width and height that it is for, None for any.
        kind: what goes in: frames and neighbours, or what `compare` made of them.
    """
    width, height = size or ANY_SIZE
    shapes = input_shapes(network, height, width, kind)
    axes = {name: {2: "height", 3: "width"} for name in shapes if name not in SMALL}
    axes |= {name: {2: "height_8", 3: "width_8"} for name in ("memory1", "memory2")}
    # Casts of the caller's half precision would be traced, too.
    plain = torch.autocast("cpu", enabled=False)
    with warnings.catch_warnings(), torch.no_grad(), plain:
        warnings.simplefilter("ignore")  # of shapes that a trace holds fast: all are ours
        torch.onnx.export(
            _Flat(network, kind).eval(),
            tuple(_grey(shapes).values()),
            str(path),
            input_names=list(shapes),
            # A name in and out would be one tensor.
            output_names=[f"new_{name}" if name in shapes else name for name in OUTPUTS],
            dynamic_axes=None if size else axes,
            opset_version=OPSET,
            dynamo=False,
        )


def example_inputs(network: Swift, height: int, width: int) -> CoreInputs:
    """Inputs of the right shapes, grey everywhere.

    Args:
        network: whose hidden states have their channels.
        height: of the frame, pixels, a multiple of 8.
        width: of the frame, pixels, a multiple of 8.
    """
    return CoreInputs(**_grey(input_shapes(network, height, width)))


def _grey(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    found = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    return found | {"gain": torch.ones(shapes["gain"])}


def input_shapes(
    network: Swift, height: int, width: int, kind: Inputs = CoreInputs
) -> dict[str, list[int]]:
    """The shapes of the core's inputs for one frame, by name.

    Args:
        network: whose hidden states have their channels.
        height: of the frame, pixels, a multiple of 8.
        width: of the frame, pixels, a multiple of 8.
        kind: what goes in.
    """
    plane, memory = [1, 1, height, width], [1, network.hidden, height // 8, width // 8]
    others = {
        "still": plane,
        "change": plane,
        "gain": plane,
        "airlight": [1, 3, 1, 1],
        "caution": [1, 1, 1, 1],
        "standing": [1, 1, 1, 1],
        "memory1": memory,
        "memory2": memory,
    }
    return {name: others.get(name, [1, 3, height, width]) for name in kind._fields}


def in_precision(network: Swift, precision: ExportPrecision) -> Swift:
    """The network itself, or a copy of it with fewer bits in its convolutions.

    Raises:
        DerainError: int8 is asked for and the weights have no ranges.
    """
    if precision == "fp32":
        return network
    if precision == "int8":
        ranges = ranges_of(network)
        if ranges is None:
            raise DerainError(
                "These weights have no ranges for 8-bit integers; derain calibrate makes them."
            )
        return with_int8(network, ranges)
    half = deepcopy(network)
    for layer in half.modules():
        if isinstance(layer, nn.Conv2d):
            layer.half()
    return half


def _metadata(
    network: Swift, size: tuple[int, int] | None, precision: ExportPrecision
) -> dict[str, str]:
    """What a program that runs the file has to know, as the file's own properties."""
    return {
        "derain.model": network.description.name,
        "derain.settings": json.dumps(network.description.settings),
        "derain.precision": precision,
        "derain.size": f"{size[0]}x{size[1]}" if size else "any multiples of 8",
        "derain.latency": str(network.latency),
        "derain.inputs": ", ".join(CoreInputs._fields),
        "derain.state": "new_memory1 and new_memory2 of a frame, moved along the flow to the next, "
        "are its memory1 and memory2; zeros at first",
        "derain.normalisation": "RGB in [0, 1], NCHW float32",
    }
