"""The core of `swift` in OpenVINO, which is faster than torch on CPUs, in 8-bit integers above all.

A compiled core is for one size and precision; all of a stream's are held here. Its first frame is
held to torch in float32: a precision that this CPU computes wrongly is not used. What is slow to
make is cached in the user's cache folder: the traced core, by what it was made from, and OpenVINO's
own compiled ones, which it names by model, settings and version.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs, CoreOutputs
from derain.models.runtime.int8 import ranges_of, with_int8
from derain.models.runtime.onnx_export import IMAGES, input_shapes, trace_core
from derain.models.whole_file import write_whole

try:
    import openvino
    import openvino.properties as properties
    import openvino.properties.hint as hints
    from openvino.preprocess import PrePostProcessor
except ImportError as error:
    raise DerainError(
        "OpenVINO is not installed; pip install 'derain[openvino]', or use --engine torch."
    ) from error

LEAST_DB = 50  # of a precision to float32 in torch: some CPUs multiply bfloat16 wrongly
TRACE = 3  # version of what is traced

NEEDED = ("image", "memory1", "memory2")

Mode = Literal["int8", "bf16", "fp32"]


def cache_folder() -> Path | None:
    """Where compiled cores are kept, for this user alone; None where nothing can be kept."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "derain" / "openvino"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


class OpenVinoCore:
    """Runs the core of a network in OpenVINO; see `swift_core.Core`.

    Args:
        network: in float32, on the CPU.
        notice: called with a sentence when something is done differently.
        int8: whether convolutions may be in integers, where the weights have ranges for them.
        layers: whether the outputs have more than what the next frame needs.
    """

    def __init__(
        self, network: Swift, notice: Log, int8: bool = False, layers: bool = True
    ) -> None:
        self.network, self.notice = network, notice
        self._names = [name for name in CoreOutputs._fields if layers or name in NEEDED]
        self.wrong: set[Mode] = set()  # what this CPU computes wrongly
        self._ranges = ranges_of(network) if int8 else None
        self._runtime, self._folder = openvino.Core(), cache_folder()
        if self._folder is not None:
            self._runtime.set_property({properties.cache_dir: str(self._folder)})
        self._requests: dict[tuple[int, int, bool], openvino.InferRequest] = {}

    def __call__(self, inputs: CoreInputs) -> CoreOutputs:
        """The core's outputs; besides integers in bfloat16 where autocast asks for it."""
        if len(inputs.frame) > 1:
            return self.network.core(inputs)
        _, _, height, width = inputs.frame.shape
        half = torch.is_autocast_enabled("cpu")
        request = self._requests.get((height, width, half))
        if request is not None:
            return self._run(request, inputs)
        for mode in self._modes(half):
            request = self._compile(height, width, mode, half)
            outputs = self._run(request, inputs)
            if mode == "fp32" or self._agrees(inputs, outputs):
                break
            self.wrong.add(mode)
            self.notice(f"This CPU computes wrongly in {mode}; another precision is used.")
        self._requests[height, width, half] = request
        return outputs

    def _modes(self, half: bool) -> Iterator[Mode]:
        """What may be used, the fastest first."""
        if self._ranges is not None and "int8" not in self.wrong:
            yield "int8"
        if half and "bf16" not in self.wrong:
            yield "bf16"
        yield "fp32"

    def _agrees(self, inputs: CoreInputs, outputs: CoreOutputs) -> bool:
        with torch.autocast("cpu", enabled=False):
            exact = self.network.core(inputs)
        error = (exact.image - outputs.image).square().mean()
        return bool(-10 * torch.log10(error.clamp_min(1e-12)) >= LEAST_DB)

    def _compile(self, height: int, width: int, mode: Mode, half: bool) -> openvino.InferRequest:
        model = self._runtime.read_model(self._traced(mode))
        results = dict(zip(CoreOutputs._fields, model.get_results(), strict=True))
        model = openvino.Model([results[name] for name in self._names], model.get_parameters())
        model.reshape(input_shapes(self.network, height, width))
        model = _channels_last(model)
        short = half and mode != "fp32" and "bf16" not in self.wrong
        settings = {
            hints.inference_precision: openvino.Type.bf16 if short else openvino.Type.f32,
            properties.inference_num_threads: torch.get_num_threads(),
        }
        return self._runtime.compile_model(model, "CPU", settings).create_infer_request()

    def _run(self, request: openvino.InferRequest, inputs: CoreInputs) -> CoreOutputs:
        feed = {name: _plain(name, tensor) for name, tensor in inputs._asdict().items()}
        found = request.infer(feed, share_inputs=True)
        tensors = {
            name: torch.from_numpy(np.asarray(found[i])) for i, name in enumerate(self._names)
        }
        tensors["image"] = tensors["image"].permute(0, 3, 1, 2)
        return CoreOutputs(**tensors)

    def _traced(self, mode: Mode) -> bytes:
        """The core as ONNX for any size, from the cache where it is there and whole."""
        ranges = self._ranges if mode == "int8" else None
        made_by = f"{TRACE} {openvino.__version__} {torch.__version__} {ranges}"
        digest = sha256(made_by.encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.contiguous().cpu().numpy().tobytes())
        path = self._folder and self._folder / f"{digest.hexdigest()}.onnx"
        try:
            if path and path.is_file():
                cached = path.read_bytes()
                self._runtime.read_model(cached)
                return cached
        except (OSError, RuntimeError):
            pass  # it is made anew
        with TemporaryDirectory() as folder:
            network = self.network if ranges is None else with_int8(self.network, ranges)
            trace_core(network, Path(folder) / "core.onnx")
            traced = (Path(folder) / "core.onnx").read_bytes()
        if path:
            try:
                write_whole(path, lambda file: file.write(traced))
            except OSError:
                self.notice(f"{path.parent} cannot be written; cores are compiled every time.")
        return traced


def _channels_last(model: openvino.Model) -> openvino.Model:
    """The model with images in the layout that torch has them in here, so that none is copied."""
    prepare = PrePostProcessor(model)
    images = [*map(prepare.input, IMAGES), prepare.output(0)]
    for image in images:
        image.tensor().set_layout(openvino.Layout("NHWC"))
        image.model().set_layout(openvino.Layout("NCHW"))
    return prepare.build()


def _plain(name: str, tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().float()
    if name in IMAGES:
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.contiguous().numpy()
