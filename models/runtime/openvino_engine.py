"""The core of `swift` in OpenVINO: on CPUs with matrix units (AMX) it is faster than torch.

A compiled core is for one size and precision; all of a stream's are held here. What is slow to make
is cached in the user's cache folder: the traced core, by what it was made from, and OpenVINO's own
compiled ones, which it names by model, settings and version.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs, CoreOutputs
from derain.models.runtime.onnx_export import trace_core
from derain.models.whole_file import write_whole

try:
    import openvino
    import openvino.properties as properties
    import openvino.properties.hint as hints
except ImportError as error:
    raise DerainError(
        "OpenVINO is not installed; pip install 'derain[openvino]', or use --engine torch."
    ) from error

LEAST_DB = 50  # of bfloat16 to float32 in torch: some CPUs multiply it wrongly
TRACE = 1  # version of what trace_core writes


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
    """

    def __init__(self, network: Swift, notice: Log) -> None:
        self.network, self.notice = network, notice
        self.half_is_wrong = False
        self._runtime, self._folder = openvino.Core(), cache_folder()
        if self._folder is not None:
            self._runtime.set_property({properties.cache_dir: str(self._folder)})
        self._onnx = self._traced()
        self._requests: dict[tuple[int, int, bool], openvino.InferRequest] = {}

    def __call__(self, inputs: CoreInputs) -> CoreOutputs:
        """The core's outputs, in bfloat16 where autocast asks for it and it is right here."""
        half = torch.is_autocast_enabled("cpu") and not self.half_is_wrong
        _, _, height, width = inputs.clear.shape
        if len(inputs.clear) > 1:
            return self.network.core(inputs)
        request = self._requests.get((height, width, half))
        if request is not None:
            return _run(request, inputs)
        request = self._compile(height, width, half)
        outputs = _run(request, inputs)
        if half and not self._agrees(inputs, outputs):
            self.half_is_wrong = True
            self.notice("This CPU computes wrongly in bfloat16; float32 is used, which is slower.")
            return self(inputs)
        self._requests[height, width, half] = request
        return outputs

    def _agrees(self, inputs: CoreInputs, outputs: CoreOutputs) -> bool:
        with torch.autocast("cpu", enabled=False):
            exact = self.network.core(inputs)
        error = (exact.image - outputs.image).square().mean()
        return bool(-10 * torch.log10(error.clamp_min(1e-12)) >= LEAST_DB)

    def _compile(self, height: int, width: int, half: bool) -> openvino.InferRequest:
        model = self._runtime.read_model(self._onnx)
        memory = [1, self.network.hidden, height // 8, width // 8]
        shapes = {name: [1, 3, height, width] for name in CoreInputs._fields}
        shapes |= {"stillness": [1, 1, height, width], "memory1": memory, "memory2": memory}
        model.reshape(shapes)
        settings = {
            hints.inference_precision: openvino.Type.bf16 if half else openvino.Type.f32,
            properties.inference_num_threads: torch.get_num_threads(),
        }
        return self._runtime.compile_model(model, "CPU", settings).create_infer_request()

    def _traced(self) -> bytes:
        """The core as ONNX for any size, from the cache where it is there and whole."""
        digest = sha256(f"{TRACE} {openvino.__version__} {torch.__version__}".encode())
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
            trace_core(self.network, Path(folder) / "core.onnx")
            traced = (Path(folder) / "core.onnx").read_bytes()
        if path:
            try:
                write_whole(path, lambda file: file.write(traced))
            except OSError:
                self.notice(f"{path.parent} cannot be written; cores are compiled every time.")
        return traced


def _run(request: openvino.InferRequest, inputs: CoreInputs) -> CoreOutputs:
    feed = {name: _plain(tensor) for name, tensor in inputs._asdict().items()}
    found = request.infer(feed, share_inputs=True)
    tensors = (torch.from_numpy(np.asarray(found[i])) for i in range(len(CoreOutputs._fields)))
    return CoreOutputs(*tensors)


def _plain(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()
