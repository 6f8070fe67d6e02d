"""Shared fixtures: small clips of every kind, made with PyAV, and tiny models.

Nothing here is random between runs: frames are made of sines and of generators with seeds.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

# As the command does: waiting threads must not spin. Before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from derain.models.networks.per_frame import PerFrame
from derain.models.output import Output
from derain.models.runtime.tiles import Tiles
from derain.models.video_model import VideoModel


class Identity(nn.Module):
    """Changes nothing."""

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy


class Invert(nn.Module):
    """Changes everything."""

    def forward(self, rainy: Tensor) -> Tensor:
        return 1 - rainy


class MemoryState(NamedTuple):
    """Three frames, how many were seen, and their running mean."""

    window: Tensor
    seen: Tensor
    memory: Tensor


class Recurrent(VideoModel[MemoryState]):
    """Latency 2 and a memory: what it gives depends on all frames of the shot so far."""

    latency, multiple, halo = 2, 4, 8
    supports_tiles, has_hidden_state = False, True

    def initial_state(
        self, batch: int, height: int, width: int, *, device: torch.device, dtype: torch.dtype
    ) -> MemoryState:
        plain = torch.zeros(batch, 3, height, width, device=device, dtype=dtype)
        seen = torch.zeros((), dtype=torch.int64)
        return MemoryState(torch.stack([plain] * 3, 1), seen, plain)

    def step(
        self, frame: Tensor, state: MemoryState, tiles: Tiles | None = None
    ) -> tuple[Output | None, MemoryState]:
        window = torch.cat([state.window[:, 1:], frame[:, None]], 1)
        state = MemoryState(window, state.seen + 1, (state.memory + frame) / 2)
        full = int(state.seen) > 2
        return (self._output(state, 0) if full else None), state

    def flush(self, state: MemoryState, tiles: Tiles | None = None) -> list[Output]:
        count = min(2, int(state.seen))
        return [self._output(state, 3 - count + i) for i in range(count)]

    def _output(self, state: MemoryState, index: int) -> Output:
        return Output((0.7 * state.window[:, index] + 0.3 * state.memory).clamp(0, 1))


@pytest.fixture
def identity() -> nn.Module:
    return PerFrame(Identity())


@pytest.fixture
def invert() -> nn.Module:
    return PerFrame(Invert())


@pytest.fixture
def recurrent() -> nn.Module:
    return Recurrent()


def pattern(index: int, width: int, height: int, scene: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: a smooth coloured pattern of its `scene`, moving with `index`."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x = x + 2 * index
    generator = np.random.default_rng(scene)
    channels = []
    for _ in range(3):
        value = np.full((height, width), 120.0)
        for _ in range(5):
            fx, fy = generator.uniform(-0.25, 0.25, 2)
            value += generator.uniform(8, 22) * np.sin(fx * x + fy * y + generator.uniform(0, 6))
        channels.append(value)
    return np.stack(channels, -1).clip(16, 235).astype(np.uint8)


@pytest.fixture
def draw_pattern() -> Callable[..., np.ndarray]:
    return pattern


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """`make_clip(name, frames=12, …)`: write a clip and give its path."""

    def make(
        name: str = "clip.mp4",
        *,
        frames: int = 12,
        size: tuple[int, int] = (64, 48),
        rate: int | Fraction = 25,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        options: dict[str, str] | None = None,
        time_base: Fraction | None = None,
        pts: list[int] | None = None,
        color: tuple[int, int, int, int] | None = (1, 1, 1, 1),
        audio: str | None = None,
        audio_start: float = 0.0,
        captions: list[tuple[float, float, str]] | None = None,
        draw: Callable[[int, int, int], np.ndarray] = pattern,
        prepare: Callable[[Any, Any], None] = lambda container, stream: None,
        adjust: Callable[[av.VideoFrame, int], av.VideoFrame] = lambda frame, index: frame,
    ) -> Path:
        path = tmp_path / name
        width, height = size
        base = time_base or 1 / Fraction(rate)
        with av.open(str(path), "w") as container:
            chosen = {"preset": "ultrafast", "crf": "10"} if codec == "libx264" else {}
            stream = container.add_stream(codec, rate=rate, options=options or chosen)
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            stream.time_base = stream.codec_context.time_base = base
            if color is not None:
                context = stream.codec_context
                context.colorspace, context.color_primaries = color[0], color[1]
                context.color_trc, context.color_range = color[2], color[3]
            sound = container.add_stream(audio, rate=48000) if audio else None
            if sound is not None:
                sound.metadata["language"] = "deu"
            form = "subrip" if path.suffix == ".mkv" else "mov_text"
            text = container.add_mux_stream(form) if captions else None
            prepare(container, stream)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(draw(index, width, height), format="rgb24")
                if color is not None:
                    matrix = {1: 1, 5: 5, 6: 5, 9: 9}[color[0]]
                    frame = frame.reformat(
                        format=pixel_format, dst_colorspace=matrix, dst_color_range=color[3]
                    )
                frame = adjust(frame, index)
                frame.pts = pts[index] if pts else index
                frame.time_base = base
                container.mux(stream.encode(frame))
            if sound is not None:
                _write_tone(container, sound, frames / float(rate), audio_start)
            for start, end, words in captions or []:
                data = words.encode()
                if path.suffix != ".mkv":
                    data = len(data).to_bytes(2, "big") + data
                packet = av.Packet(data)
                packet.stream, packet.time_base = text, Fraction(1, 1000)
                packet.pts = packet.dts = round(start * 1000)
                packet.duration = round((end - start) * 1000)
                container.mux(packet)
            container.mux(stream.encode(None))
        return path

    return make


def _write_tone(container: Any, stream: Any, seconds: float, start: float) -> None:
    done, total = 0, int(seconds * 48000)
    layout = stream.codec_context.layout.name
    format = stream.codec_context.format.name
    resampler = av.AudioResampler(format=format, layout=layout, rate=48000)
    while done < total:
        count = min(1024, total - done)
        wave = np.sin(np.arange(done, done + count) * 0.05).astype(np.float32)[None] * 0.3
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = done + int(start * 48000)
        for ready in resampler.resample(frame):
            container.mux(stream.encode(ready))
        done += count
    container.mux(stream.encode(None))


@pytest.fixture
def rescan_state() -> dict[str, Tensor]:
    """Weights under the keys of RESCAN's authors, as few as say GRU, excitation and a depth."""
    channels, cells = 4, 2
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(cells):
        for gate in "zrn":
            shapes[f"rnns.{k}.conv_x{gate}"] = (channels, channels if k else 3, 3, 3)
            shapes[f"rnns.{k}.conv_h{gate}"] = (channels, channels, 3, 3)
        shapes[f"rnns.{k}.se.fc.0"], shapes[f"rnns.{k}.se.fc.2"] = (6, channels), (channels, 6)
    shapes["dec.0"] = (channels, channels, 3, 3)
    shapes["dec.1.fc.0"], shapes["dec.1.fc.2"] = (6, channels), (channels, 6)
    shapes["dec.3"] = (3, channels, 1, 1)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) / 4
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator)
    return state


PATIENCE = 240.0  # seconds until a test gives up on a busy machine
# Modules that processes of `Forked` have from the start: derain first, which sets torch's waiting.
LOADED = [
    "derain.models",
    "torch",
    "derain.pipeline.streaming.derain_video",
    "derain.pipeline.cli.main",
    "derain.stages.training.loop",
]
COMMAND = "from derain.pipeline.cli.main import main; main()"
# What a script of `Forked` begins with: its standard streams go to the test.
STREAMS = """
import os, sys
for number, pipe in enumerate(PIPES, 1):
    os.dup2(pipe.fileno(), number)
    pipe.close()
"""


class Forked:
    """A script in a process of its own that begins with torch, PyAV and the pipeline loaded.

    It is forked from one that loaded them once, where systems can: loading takes seconds. It has
    what the tests use of `subprocess.Popen`.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        ways = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in ways else "spawn")
        context.set_forkserver_preload(LOADED)
        readers, writers = zip(*(context.Pipe(duplex=False) for _ in range(2)), strict=True)
        begin = f"{STREAMS}sys.argv = {['derain', *arguments]!r}\n"
        names = {"__name__": "__main__", "PIPES": writers}
        self.process = context.Process(target=exec, args=(begin + script, names))
        self.process.start()
        for writer in writers:
            writer.close()
        out, err = (os.dup(reader.fileno()) for reader in readers)
        self.stdout, self.stderr = open(out, "rb"), open(err)  # noqa: SIM115

    @property
    def pid(self) -> int:
        """The number by which the system knows it."""
        assert self.process.pid is not None
        return self.process.pid

    def communicate(self) -> tuple[bytes, str, int]:
        """What it still says by both streams, and the exit code, once it has ended."""
        said = self.stdout.read(), self.stderr.read()
        return *said, self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode

    def close(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.join()
        self.stdout.close()
        self.stderr.close()


def start_forked() -> Iterator[Callable[..., Forked]]:
    """`forked(*words, script=COMMAND)`: a process; what still runs at the end is killed."""
    started: list[Forked] = []

    def start(*words: str, script: str = COMMAND) -> Forked:
        started.append(Forked(script, *words))
        return started[-1]

    yield start
    for each in started:
        each.close()


forked = pytest.fixture(start_forked, name="forked")
forked_for_module = pytest.fixture(start_forked, scope="module", name="forked_for_module")
