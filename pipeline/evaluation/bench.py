"""`derain bench`: where the time goes, how fast the real pipeline is, and how much memory it takes.

Parts are timed one by one (decode, network, encode), the whole as users run it, against the ffmpeg
program transcoding the same file with the same settings. What is compared is run in interleaved
rounds, and medians are kept, since other programs come and go. Quality is measured in clips.py.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from derain.models import Derainer, DerainError, VideoModel, load_model
from derain.models.log import Log, say_nothing
from derain.models.ops.image_arrays import to_tensor, to_uint8
from derain.models.runtime.derainer import choose_device
from derain.models.runtime.engines import Engine
from derain.pipeline.evaluation.clock import Clocks
from derain.pipeline.evaluation.long_run import forth_and_back, long_run, memory
from derain.pipeline.evaluation.network_parts import engine_name, network_parts
from derain.pipeline.evaluation.nothing import Nothing
from derain.pipeline.rendered.scenes import demo_frames
from derain.pipeline.rendered.synth import SynthOptions, named_rain, rain_on
from derain.pipeline.streaming.derain_video import VideoOptions, derain_video
from derain.pipeline.video import Encoding, Frame, VideoReader, VideoWriter, write_rgb
from derain.pipeline.video.color import Rgb, to_bytes, to_float
from derain.stages.losses.metrics import psnr

ENCODING = Encoding(codec="libx264", crf=18, preset="veryfast")
# Rendered frames; longer clips play them forth and back, which comes round every 50 frames: both
# ends of a long run see the same ones.
LOOP = 26
HELD = 12  # frames whose difference from float32 is measured


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure.

    Args:
        model, weights, device, precision, engine: as `NetworkOptions` has them.
        size: width and height, even, at least 32.
        frames: of the clip for the parts and the whole, at least 2.
        rounds: interleaved repetitions; medians are kept.
        long: frames of a long run for memory and quality at its ends; 0 leaves it out.
    """

    model: str = "swift"
    weights: str | None = None
    device: str = "auto"
    precision: str = "auto"
    engine: Engine = "auto"
    size: tuple[int, int] = (640, 360)
    frames: int = 120
    rounds: int = 3
    long: int = 0


def clips(size: tuple[int, int]) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """LOOP frames of the demo's scene, clean and with rain, (H, W, 3) uint8 each."""
    width, height = size
    clean = [to_bytes(f) for f in demo_frames(height, width, LOOP)]
    settings = named_rain(SynthOptions(rain="shower"), height)
    rainy = [to_uint8(r.rainy[0]) for r in rain_on(map(to_float, clean), settings, seed=1)]
    return clean, rainy


def run_bench(options: BenchOptions, progress: Log = say_nothing) -> dict[str, object]:
    """Measure; returns figures by name, ready for JSON. Times are seconds a frame.

    Raises:
        DerainError: model, device, precision or size cannot be used.
    """
    model = load_model(options.model, options.weights)
    derainer = Derainer(model, options.device, options.precision, engine=options.engine)
    width, height = options.size
    if width % 2 or height % 2 or min(options.size) < 32 or options.frames < 2:
        raise DerainError("Use an even --size of at least 32x32 and 2 --frames or more.")
    progress(f"rendering a rainy scene of {width}x{height}")
    clean, rainy = clips(options.size)
    found: dict[str, object] = {
        "model": options.model,
        "device": _device_name(derainer.device),
        "precision": str(derainer.dtype).removeprefix("torch."),
        "engine": engine_name(derainer.model),
        "size": f"{width}x{height}",
        "frames": options.frames,
        "threads": torch.get_num_threads(),
        "encoding": "libx264 veryfast crf 18",
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "rainy.mp4"
        write_rgb(source, forth_and_back(rainy, options.frames), encoding=ENCODING)
        found |= whole(source, folder, model, options, progress)
        if options.long:
            progress(f"a long run of {options.long} frames")
            found |= long_run(
                folder, model, clean, rainy, _settings(options), options.long, progress
            )
        # Last: what holding whole clips leaves behind would count as memory of the long run.
        found |= parts(source, folder, model, options, progress)
    progress("flow, alignment and core of the network")
    derainer = Derainer(model, options.device, options.precision, engine=options.engine)
    found["network_cpu_ms"] = network_parts(derainer, map(channels_first, rainy))
    progress("difference from float32 on the CPU")
    found["db_from_cpu_float32"] = from_float32(model, rainy[:HELD], options)
    return found


def _settings(options: BenchOptions) -> VideoOptions:
    return VideoOptions(
        device=options.device,
        precision=options.precision,
        engine=options.engine,
        encoding=ENCODING,
        overwrite=True,
    )


def whole(
    source: Path, folder: Path, model: VideoModel, options: BenchOptions, progress: Log
) -> dict[str, object]:
    """The pipeline as users run it, the same with a network that does nothing, and ffmpeg.

    Args:
        source: the rainy film, of `options.frames` frames.
        folder: for what is written; it is there.
        model: to measure, in float32.
        options: how often, and on which device.
        progress: told what is being measured, as a line.

    Returns:
        Wall and CPU seconds a frame by part, medians of the rounds.
    """
    target = folder / "out.mp4"
    settings = _settings(options)
    nothing = Nothing()
    runs: dict[str, Callable[[], object]] = {
        "pipeline": lambda: derain_video(source, target, settings, model=model),
        "pipeline_without_network": lambda: derain_video(
            source,
            target,
            replace(settings, device="cpu", precision="auto", engine="torch"),
            model=nothing,
        ),
    }
    program = shutil.which("ffmpeg")
    if program:
        command = [program, "-v", "error", "-y", "-i", str(source), "-c:v", "libx264"]
        command += ["-preset", "veryfast", "-crf", "18", str(target)]
        runs["ffmpeg"] = lambda: subprocess.run(command, check=True)
    else:
        progress("the ffmpeg program is not there: no comparison with it")
    clocks = Clocks()
    for number in range(options.rounds):
        for name, run in runs.items():
            progress(f"round {number + 1} of {options.rounds}: {name}")
            with clocks.timing(name):
                run()
    times = clocks.per_frame(options.frames)
    found: dict[str, object] = {**times}
    found["fps"] = 1 / times["pipeline"]["wall"]
    found["peak_memory_mib"] = memory("VmHWM")
    device = choose_device(options.device)
    if device.type == "cuda":
        found["peak_gpu_memory_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    if program:
        ratio = times["pipeline_without_network"]["cpu"] / times["ffmpeg"]["cpu"]
        found["cpu_ratio_without_network_to_ffmpeg"] = ratio
    return found


def parts(
    source: Path, folder: Path, model: VideoModel, options: BenchOptions, progress: Log
) -> dict[str, object]:
    """Decode, network and encode by themselves, one after the other in this thread.

    Args:
        source: the rainy film, of `options.frames` frames.
        folder: for what is written; it is there.
        model: to measure, in float32.
        options: how often, and on which device.
        progress: told what is being measured, as a line.

    Returns:
        Wall and CPU seconds a frame by part, medians of the rounds.
    """
    clocks = Clocks()
    count = min(options.frames, 60)  # frames that are held at once
    for number in range(options.rounds):
        progress(f"round {number + 1} of {options.rounds}: decode, network, encode")
        with VideoReader(source) as reader:
            frames: list[Frame] = []
            images: list[Rgb] = []
            with clocks.timing("decode"):
                for frame in reader.frames():
                    images.append(reader.fill_rgb(frame))
                    frames.append(frame)
                    if len(frames) == count:
                        break
            tensors = list(map(channels_first, images))
            derainer = Derainer(
                model, options.device, options.precision, notice=progress, engine=options.engine
            )
            with clocks.timing("network"):
                results = derained(derainer, tensors)
            residuals = [
                (result - tensor).permute(1, 2, 0).contiguous().numpy()
                for result, tensor in zip(results, tensors, strict=True)
            ]
            with clocks.timing("encode"):
                target = folder / "parts.mp4"
                with VideoWriter(target, reader.video, ENCODING, overwrite=True) as writer:
                    for frame, residual in zip(frames, residuals, strict=True):
                        writer.write(frame, residual)
    return dict(clocks.per_frame(count))


def derained(derainer: Derainer, frames: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The images of one shot, each (3, H, W).

    They go to the CPU at once: that waits for the device, and lets the other layers go.
    """
    images = [out.image[0].cpu() for x in frames if (out := derainer.push(x)) is not None]
    return images + [out.image[0].cpu() for out in derainer.flush()]


def channels_first(image: Rgb) -> torch.Tensor:
    """(H, W, 3) as a tensor of its own type, (3, H, W)."""
    return torch.from_numpy(image).permute(2, 0, 1)


def from_float32(model: VideoModel, rainy: list[NDArray[np.uint8]], options: BenchOptions) -> float:
    """PSNR in dB between the chosen device and precision and float32 on the CPU.

    Args:
        model: to measure.
        rainy: frames (H, W, 3) of one shot.
        options: device and precision.
    """
    results = []
    chosen = (options.device, options.precision, options.engine)
    plain: tuple[str, str, Engine] = ("cpu", "fp32", "torch")
    for device, precision, engine in (chosen, plain):
        derainer = Derainer(model, device, precision, engine=engine)
        results.append(torch.stack(derained(derainer, map(to_tensor, rainy))).float())
    return psnr(*results).mean().item()


def _device_name(device: str | torch.device) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(torch.device(device))
    return str(device)
