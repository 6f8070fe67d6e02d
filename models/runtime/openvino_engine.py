"""The core of `swift` in OpenVINO, which is faster than torch on CPUs, in 8-bit integers above all.

A compiled core is for one size, type of images and precision; all of a stream's are held here. Its
first frame is held to torch in float32: a precision that this CPU computes wrongly is not used.
What is slow to make is cached in the user's cache folder: the traced core, by what it was made
from, and OpenVINO's own compiled ones, which it names by model, settings and version.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from derain.models.cache import cache_folder, make_private, trim
from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.networks import restraint, swift, swift_core
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import Compared, CoreInputs, CoreOutputs, compare
from derain.models.ops import layers, scattering
from derain.models.ops.image_arrays import single
from derain.models.runtime import int8 as integers
from derain.models.runtime.int8 import ranges_of, with_int8
from derain.models.runtime.onnx_export import SMALL, input_shapes, trace_core
from derain.models.threads import torch_threads
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

NEEDED = ("image", "memory1", "memory2")
SIZES = 4  # compiled cores that are held; each takes memory
LIMIT = 200 << 20  # bytes of the cache folder


class Mode(NamedTuple):
    """Arithmetic of a compiled core: `int8` of most convolutions, `half` of all else."""

    int8: bool
    half: bool

    def __str__(self) -> str:
        return ("int8 and " if self.int8 else "") + ("bfloat16" if self.half else "float32")


def private_folder() -> Path | None:
    """Where compiled cores are kept, for this user alone; None where nothing can be kept."""
    folder = cache_folder("openvino")
    try:
        make_private(folder)
    except OSError:
        return None
    with suppress(OSError):  # another process may hold a file
        trim(folder, LIMIT)
    return folder if os.access(folder, os.W_OK) else None


@cache
def runtime() -> openvino.Core:
    """The one runtime of the process: it stays loaded, since threads of it may outlive a use."""
    return openvino.Core()


@cache
def traced_code() -> str:
    """A hash of the code that is traced: cores that other code made are made anew."""
    modules = (swift, swift_core, restraint, layers, scattering, integers)
    return sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()


class Form(NamedTuple):
    """What a compiled core is for. levels: images are uint8. half: half precision is asked for."""

    height: int
    width: int
    levels: bool
    half: bool


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
        self.threads = torch.get_num_threads()
        self._names = [name for name in CoreOutputs._fields if layers or name in NEEDED]
        self.wrong: set[Mode] = set()  # what this CPU computes wrongly, or not at all
        self._ranges = ranges_of(network) if int8 else None
        self._runtime, self._folder = runtime(), private_folder()
        self._code = traced_code()
        self._cpu = str(self._runtime.get_property("CPU", "FULL_DEVICE_NAME"))
        self._requests: dict[Form, openvino.InferRequest | None] = {}  # None: torch has to do

    def __call__(self, inputs: CoreInputs) -> CoreOutputs:
        """The core's outputs; besides integers in bfloat16 where autocast asks for it."""
        if len(inputs.frame) > 1:
            return self._in_torch(inputs)
        height, width = inputs.frame.shape[-2:]
        levels = inputs.frame.dtype == torch.uint8
        form = Form(height, width, levels, torch.is_autocast_enabled("cpu"))
        if form not in self._requests:
            while len(self._requests) >= SIZES:
                del self._requests[next(iter(self._requests))]
            self._requests[form] = self._open(inputs, form)
        request = self._requests[form]
        return self._in_torch(inputs) if request is None else self._run(request, inputs)

    def _in_torch(self, inputs: CoreInputs) -> CoreOutputs:
        with torch_threads(self.threads):
            return self.network.core(inputs)

    def _open(self, inputs: CoreInputs, form: Form) -> openvino.InferRequest | None:
        """The fastest arithmetic that is right here, or None."""
        for mode in self._modes(form.half):
            try:
                name, traced = self._traced(mode.int8)
                request = self._compile(traced, form, mode)
                if self._agrees(request, inputs, f"{name} {mode}"):
                    return request
                why = "computes wrongly"
            except RuntimeError:
                why = "cannot compute"
            self.wrong.add(mode)
            self.notice(f"OpenVINO {why} in {mode} on this CPU; something slower is used.")
        return None

    def _modes(self, half: bool) -> Iterator[Mode]:
        """What may be used, the fastest first."""
        for int8 in (True, False) if self._ranges is not None else (False,):
            for short in (True, False) if half else (False,):
                if Mode(int8, short) not in self.wrong:
                    yield Mode(int8, short)

    def _agrees(self, request: openvino.InferRequest, inputs: CoreInputs, name: str) -> bool:
        """Whether its first frame is near torch's in float32, found out once for each CPU."""
        known = sha256(f"{name} {self._cpu} {openvino.__version__}".encode()).hexdigest()
        marker = self._folder and self._folder / f"{known}.right"
        if marker and marker.is_file():
            return True
        with torch.autocast("cpu", enabled=False):
            exact = self._in_torch(inputs)
        error = (exact.image - self._run(request, inputs).image).square().mean()
        right = bool(-10 * torch.log10(error.clamp_min(1e-12)) >= LEAST_DB)
        if marker and right:
            with suppress(OSError):
                marker.touch()
        return right

    def _compile(self, traced: openvino.Model, form: Form, mode: Mode) -> openvino.InferRequest:
        results = dict(zip(CoreOutputs._fields, traced.get_results(), strict=True))
        model = openvino.Model([results[name] for name in self._names], traced.get_parameters())
        shapes = input_shapes(self.network, form.height, form.width, Compared)
        model.reshape(shapes)
        if form.levels:
            model = _with_levels(model, set(shapes).difference(SMALL, {"gain"}))
        settings = {
            hints.inference_precision: openvino.Type.bf16 if mode.half else openvino.Type.f32,
            properties.inference_num_threads: self.threads,
            # Else every process with one thread computes on the first core, beside idle ones.
            hints.enable_cpu_pinning: False,
            properties.cache_dir: str(self._folder or ""),
        }
        return self._runtime.compile_model(model, "CPU", settings).create_infer_request()

    def _run(self, request: openvino.InferRequest, inputs: CoreInputs) -> CoreOutputs:
        plain = CoreInputs(*map(_plain, inputs))
        # Not in the graph: torch needs a fifth of OpenVINO's time for it, or less in bytes.
        feed = {name: tensor.numpy() for name, tensor in compare(plain)._asdict().items()}
        found = request.infer(feed, share_inputs=True)
        arrays = {name: np.asarray(found[i]) for i, name in enumerate(self._names)}
        image = _channels_last(arrays.pop("image"))
        return CoreOutputs(image, **{name: torch.from_numpy(x) for name, x in arrays.items()})

    def _traced(self, int8: bool) -> tuple[str, openvino.Model]:
        """A name for what the core is made from, and the core: from the cache where it can be."""
        ranges = self._ranges if int8 else None
        made_by = f"{self._code} {openvino.__version__} {torch.__version__} {ranges}"
        digest = sha256(made_by.encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.contiguous().cpu().numpy().tobytes())
        name = digest.hexdigest()
        path = self._folder and self._folder / f"{name}.onnx"
        try:
            if path and path.is_file():
                return name, self._runtime.read_model(path.read_bytes())
        except (OSError, RuntimeError):
            pass  # it is made anew
        with TemporaryDirectory() as folder:
            network = self.network if ranges is None else with_int8(self.network, ranges)
            trace_core(network, Path(folder) / "core.onnx", kind=Compared)
            traced = (Path(folder) / "core.onnx").read_bytes()
        if path:
            try:
                write_whole(path, lambda file: file.write(traced))
            except OSError:
                self.notice(f"{path.parent} cannot be written; cores are compiled every time.")
        return name, self._runtime.read_model(traced)


def _with_levels(model: openvino.Model, images: set[str]) -> openvino.Model:
    """The core with some of its inputs in uint8."""
    prepared = PrePostProcessor(model)
    for name in images:
        image = prepared.input(name)
        image.tensor().set_element_type(openvino.Type.u8)
        image.preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    return prepared.build()


def _plain(tensor: Tensor) -> Tensor:
    """A tensor of one frame as (1, C, H, W), uint8 or float32, channel by channel.

    OpenCV takes colours apart in a tenth of the time that OpenVINO or torch need.
    """
    tensor = single(tensor.detach())
    image = tensor[0].permute(1, 2, 0)
    if image.shape[-1] != 3 or not image.is_contiguous():
        return tensor.contiguous()
    planes = np.empty((1, 3, *image.shape[:2]), image.numpy().dtype)
    cv2.split(image.numpy(), list(planes[0]))
    return torch.from_numpy(planes)


def _channels_last(planes: np.ndarray) -> Tensor:
    """(1, 3, H, W), channel by channel, as a tensor in the layout that images have here."""
    image = cv2.merge(list(planes[0]))
    return torch.from_numpy(image).permute(2, 0, 1)[None]
