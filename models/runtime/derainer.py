"""`Derainer`: a model run over a stream of frames, one shot at a time.

It pads to the model's multiple, chooses precision, keeps the state, notices frames that half
precision broke or that the memory is too small for, and recomposes the output when a dial is not
at 1. It knows nothing of video files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.models.ops.frame_window import Window
from derain.models.ops.image_arrays import as_float
from derain.models.ops.scattering import recompose
from derain.models.output import Output, without_layers
from derain.models.runtime.engines import Engine, has_engine, with_engine
from derain.models.runtime.frame_input import FrameLike
from derain.models.runtime.preparation import Prepared, Preparer
from derain.models.runtime.tile_planner import TilePlanner, is_exhausted
from derain.models.runtime.tiles import Tiles
from derain.models.threads import torch_threads
from derain.models.video_model import VideoModel

M = TypeVar("M", bound=nn.Module)

# How many there are, by kind.
DEVICES: dict[str, Callable[[], int]] = {
    "cpu": lambda: 1,
    "cuda": lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0,
    "mps": lambda: int(torch.backends.mps.is_available()),
    "xpu": lambda: torch.xpu.device_count() if torch.xpu.is_available() else 0,
}
DEVICE_NAMES = "auto, cpu, cuda, mps or xpu"

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; mps and xpu are taken when they are named.

    Raises:
        DerainError: no device of that name, or none here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DerainError(f"'{name}' is not a device; use {DEVICE_NAMES}.") from error
    if device.type not in DEVICES:
        raise DerainError(f"Networks do not run on '{name}' here; use {DEVICE_NAMES}.")
    count = DEVICES[device.type]()
    if not count:
        kind = device.type.upper()
        raise DerainError(f"There is no {kind} device here; use --device cpu.")
    if (device.index or 0) >= count:
        raise DerainError(f"There is no '{name}' here; the last one is {device.type}:{count - 1}.")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float16 on CUDA, bfloat16 on a CPU that computes in it, else float32."""
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        half = device.type == "cpu" and cpu_has_bf16()
        return torch.bfloat16 if half else torch.float32
    if name == "int8" and device.type == "cpu":
        return choose_precision("auto", device)  # of what is not in integers
    if name not in PRECISIONS:
        raise DerainError(f"'{name}' is not a precision here; use auto, {', '.join(PRECISIONS)}.")
    if name == "fp16" and device.type == "cpu":
        raise DerainError("float16 is not for the CPU; use --precision bf16 or fp32.")
    return PRECISIONS[name]


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def on_device(model: M, device: torch.device) -> M:
    """The model on `device` in the layout that convolutions are fastest in."""
    # torch's types lack this form of `to`.
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types no memory_format alone


@dataclass
class Derainer:
    """Run `model` over one stream. Several Derainers may share one model: the state is here.

    Args:
        model: under the contract (video_model.py), in float32; it is moved to the device.
        device: auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:1, mps, xpu, …
        precision: auto, fp32, bf16, fp16 or int8; of the network's body. Physics stay in float32.
        streaks: share of the streaks to remove: 0 leaves them, 1 removes all. Networks that do
            not tell streaks from haze blend their result with the input.
        haze: share of the haze to remove, 0 to 1.
        notice: called with a sentence, from the thread that pushes, when something had to be done
            differently than asked.
        tile: pixels a side of the tiles that frames are derained in; `auto` uses tiles where the
            memory asks for them, `off` never does.
        boldness: 0 leaves what might not be rain, 1 removes what might be; it may be set anew
            between two frames.
        engine: what runs the network's core: `torch`, `openvino`, or `auto` for the faster of them.
        layers: whether outputs need layers beside their image; without, an engine saves the time.

    Raises:
        DerainError: a share beyond 0 to 1, no such device, precision, engine or size of tiles.
    """

    model: VideoModel
    device: str | torch.device = "auto"
    precision: str = "auto"
    streaks: float = 1.0
    haze: float = 1.0
    notice: Log = say_nothing
    tile: str | int = "auto"
    boldness: float = 0.5
    engine: Engine = "auto"
    layers: bool = True
    state: Any = field(default=None, init=False)
    _waiting: deque[Tensor] = field(default_factory=deque, init=False)
    _preparer: Preparer | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        dials = {"streaks": self.streaks, "haze": self.haze, "boldness": self.boldness}
        for name, dial in dials.items():
            if not 0 <= dial <= 1:
                raise DerainError(f"--{name} is a share between 0 and 1, not {dial:g}.")
        if self.boldness != 0.5 and not self.model.has_boldness:
            self.notice("This network has no dial for boldness; it does what it always does.")
        if isinstance(self.device, str):
            self.device = choose_device(self.device)
        self.dtype = choose_precision(self.precision, self.device)
        model = on_device(self.model, self.device).eval()
        self.model = with_engine(
            model, self.engine, self.device, self.notice, self.precision, self.layers
        )
        self.tile_planner = TilePlanner(self.model, self.tile, self.device, self.notice)
        self._size: tuple[int, int] | None = None

    @property
    def latency(self) -> int:
        """Frames between an input and its output."""
        return self.model.latency

    @torch.inference_mode()
    def push(self, frame: FrameLike | Prepared) -> Output | None:
        """Feed one frame.

        Args:
            frame: RGB, NumPy or torch, (H, W, 3) or (3, H, W) or either with a batch before it;
                uint8, or float in [0, 1]. Or what a `preparer` made of it, maybe in another thread.

        Returns:
            The output that belongs to the frame `latency` pushes earlier, or None while there is
            none yet.

        Raises:
            DerainError: it is no such frame, the size changed inside a shot, the memory is too
                small even for tiles, or the network gives no finite numbers.
        """
        if not isinstance(frame, Prepared):
            self._preparer = self._preparer or self.preparer()
            frame = self._preparer.take(frame)
        size = (frame.frame.shape[-2], frame.frame.shape[-1])
        if self._size not in (None, size):
            raise DerainError("The frame size changed inside a shot; call flush() before.")
        try:
            return self._push(frame)
        except Exception as error:
            self.reset()  # the next frame begins a shot, whatever became of this one
            if is_exhausted(error) and not isinstance(error, DerainError):
                raise DerainError(
                    f"There is not enough memory for frames of {size[1]}x{size[0]}; "
                    "make them smaller first."
                ) from error
            raise

    @torch.inference_mode()
    def flush(self) -> list[Output]:
        """End the shot: its last outputs, in order. The next frame starts a new one."""
        if self.state is None:
            return []
        try:
            outputs, _ = self._in_memory(lambda tiles: (self.model.flush(self.state, tiles), None))
            return [self._finish(output) for output in outputs]
        finally:
            self.reset()

    def stream(self, frames: Iterable[FrameLike]) -> Iterator[Output]:
        """Derain the frames of one shot: as many outputs as frames, in order.

        Where the loop over it is left early, the next frame begins a new shot.
        """
        try:
            for frame in frames:
                output = self.push(frame)
                if output is not None:
                    yield output
            yield from self.flush()
        finally:
            self.reset()

    def _push(self, frame: Prepared) -> Output | None:
        flows = None if self.state is None else frame.flows
        if self.state is None:
            self.begin(frame)
        if flows is not None:
            self.state = self.model.look_ahead(self.state, flows)
        self.state = self.model.with_boldness(self.state, self.boldness)
        self._waiting.append(frame.frame)
        output, self.state = self._in_memory(
            lambda tiles: self.model.step(frame.padded, self.state, tiles)
        )
        return None if output is None else self._finish(output)

    def preparer(self) -> Preparer:
        """What prepares the frames of a stream for `push`; it may be used in another thread."""
        assert isinstance(self.device, torch.device)
        return Preparer(self.model, self.device)

    def begin(self, frame: Prepared, waiting: Iterable[Prepared] = ()) -> None:
        """Begin a shot of frames like `frame`, which is not fed by it.

        Args:
            frame: any one of the shot.
            waiting: frames that are owed an output, where a saved state is put back after it.
        """
        self._size = (frame.frame.shape[-2], frame.frame.shape[-1])
        batch, _, height, width = frame.padded.shape
        self.tile_planner.plan(height, width)
        self._waiting.clear()
        self.state = self.model.initial_state(
            batch, height, width, device=frame.padded.device, dtype=frame.padded.dtype
        )
        self._waiting.extend(each.frame for each in waiting)

    def reset(self) -> None:
        """Forget the shot without giving its last outputs."""
        self.state, self._size = None, None
        self._waiting.clear()
        self._preparer = None

    def _in_memory(self, run: Callable[[Tiles | None], tuple[Any, Any]]) -> tuple[Any, Any]:
        """Run, guarded, in the tiles of now; where the memory runs out, again in smaller ones."""
        while True:
            try:
                return self._guarded(partial(run, self.tile_planner.tiles))
            except Exception as error:
                if not is_exhausted(error):
                    raise
            # Not before here is what the failed attempt had computed let go.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            assert self._size is not None
            self.tile_planner.shrink(*self._size)

    def _guarded(self, run: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
        """Run in the chosen precision; if anything is not finite, once more in float32."""
        assert isinstance(self.device, torch.device)
        half = self.dtype != torch.float32
        # What is left for torch beside another engine is not worth its threads, which would spin.
        threads = 1 if has_engine(self.model) else torch.get_num_threads()
        with torch_threads(threads), torch.autocast(self.device.type, self.dtype, enabled=half):
            result = run()
        if _finite(result):
            return result
        if half:
            result = run()
            if _finite(result):
                self.notice("Half precision broke on a frame; it was redone in float32.")
                return result
        raise DerainError(
            "The network gives numbers that are not finite; try --precision fp32, "
            "or check the weights."
        )

    def _finish(self, output: Output) -> Output:
        rainy = self._waiting.popleft()
        height, width = rainy.shape[-2:]

        def crop(value: Tensor) -> Tensor:
            full = value.shape[-2] >= height and value.shape[-1] >= width
            return value[..., :height, :width] if full else value

        output = output.map(crop)
        # The dials need transmission and airlight whether they were learned or not.
        shown = without_layers(output, self.model.description.unlearned)
        if self.streaks == 1 and self.haze == 1:
            return shown
        image = recompose(
            as_float(rainy),
            output.image,
            output.transmission,
            output.airlight,
            self.streaks,
            self.haze,
        )
        return replace(shown, image=image)


def _finite(value: object) -> bool:
    """Whether what a model gave back is finite: images, and everything it will remember.

    The window of input frames is not looked at: a model that broke shows it in its own numbers.
    """
    # A sum is finite only if every part is, and costs one pass; together they are waited for once.
    sums = [t.sum(dtype=torch.float32) for t in _floats(value)]
    return not sums or bool(torch.stack(sums).isfinite().all())


def _floats(item: object) -> Iterator[Tensor]:
    # No closure that calls itself: it would keep every frame's tensors until Python looks for
    # cycles, which took tens of megabytes.
    if isinstance(item, Tensor):
        if item.is_floating_point():
            yield item
    elif isinstance(item, Output):
        yield item.image
    elif isinstance(item, (list, tuple)) and not isinstance(item, Window):
        for part in item:
            yield from _floats(part)
