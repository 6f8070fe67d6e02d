"""A look at a run before it is started: what it learns from, how long it will take.

`try_run` takes a few steps of a run that leaves nothing but a sheet; `look_at_data` shows samples
and what every augmentation does to one of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch

from derain.configs.training import TrainingConfig
from derain.models.errors import DerainError
from derain.models.log import Log
from derain.models.ops.optical_flow import dis_flow
from derain.models.runtime.derainer import choose_device, on_device
from derain.stages.data.batch import Batch
from derain.stages.data.loading import batches
from derain.stages.data.real_rain import RefinementBatch, RefinementSamples
from derain.stages.data.rendered_clips import RainyClips, Samples
from derain.stages.losses.metrics import psnr, rainy_pixels
from derain.stages.training.distributed import Processes, Shard
from derain.stages.training.learner import make_learners, make_network
from derain.stages.training.loop import gradients
from derain.stages.training.reports.meter import Timed, peak_memory
from derain.stages.training.reports.sheets import Row, sample_row, unbatched, write_sheet
from derain.stages.training.sources import make_data, make_objective

STEPS, SHOWN = 3, 6  # steps of a try, samples on a sheet
# Of what an augmentation does; they need another one or harvested films to do anything.
DEPENDENT = {"codec_restore_prob", "film_prob", "layers_prob", "real_prob"}


def try_run(config: TrainingConfig, sheet: Path, device: str, report: Log) -> None:
    """Take a few steps without keeping them, draw the first batch, and tell what a run will take.

    Args:
        config: the run's.
        sheet: image to write.
        device: auto, cpu, cuda, …
        report: takes the lines.
    """
    processes = Processes(choose_device(device))
    torch.manual_seed(config.seed)
    network = on_device(make_network(config, fresh=True), processes.device).train()
    learners = make_learners(config, network, make_objective(config, processes.device), processes)
    data, _ = make_data(config, report)
    first: list[Batch] = []
    stream = Timed(
        _kept(batches(Shard(data, processes, config.steps * config.accumulate), 0), first)
    )
    seconds = []
    for step in range(min(STEPS, config.steps)):
        began = time.monotonic()
        gradients(learners, stream, config.accumulate, processes.device, critic_alone=False)
        for learner in learners:
            learner.optimiser.step()
        seconds.append(time.monotonic() - began)
        if not step:
            stream.take()  # workers start
    rows = [
        sample_row(unbatched(first[0], i), f"{i}") for i in range(min(SHOWN, config.data.batch))
    ]
    write_sheet(rows, sheet)
    parameters = list(network.parameters())
    learn = sum(p.numel() for p in parameters if p.requires_grad)
    report(f"network: {config.model}, {learn:,} of {_count(parameters):,} weights learn")
    report(f"batch: {shapes(first[0])}")
    report(f"memory: {peak_memory(processes.device):.1f} GiB at most on {processes.device}")
    usual = sum(seconds[1:]) / len(seconds[1:]) if seconds[1:] else seconds[0]
    waited = stream.waited / max(1e-9, sum(seconds[1:]))
    samples = config.data.batch * config.accumulate
    report(
        f"time: {usual:.2f} s a step, {samples / usual:.2f} samples a second, "
        f"{100 * min(1.0, waited):.0f} % of it waiting for data"
    )
    report(f"{config.steps} steps: about {config.steps * usual / 3600:.1f} hours, validation apart")
    report(f"first batch: {sheet}")


def _count(parameters: list[torch.nn.Parameter]) -> int:
    return sum(p.numel() for p in parameters)


def _kept(stream: Iterator[Batch], first: list[Batch]) -> Iterator[Batch]:
    for batch in stream:
        if not first:
            first.append(batch)
        yield batch


def shapes(batch: object) -> str:
    """`rainy 2x11x3x104x104, …` of what a batch has of images."""
    pairs = batch.pairs if isinstance(batch, RefinementBatch) else batch
    parts = {name: getattr(pairs, name) for name in ("rainy", "thumbnails")}
    if isinstance(batch, RefinementBatch):
        parts["real"] = batch.real
    found = [f"{k} {'x'.join(map(str, v.shape))}" for k, v in parts.items() if v.numel()]
    return ", ".join(found)


def look_at_data(config: TrainingConfig, sheet: Path, count: int, report: Log) -> None:
    """Draw samples with all their layers, and one before and after each augmentation.

    Args:
        config: the run's.
        sheet: image to write.
        count: samples to draw and to measure.
        report: takes the lines.

    Raises:
        DerainError: there are fewer samples than that.
    """
    data, _ = make_data(config, report)
    if count > len(data):
        raise DerainError(f"The run has {len(data)} samples; ask for no more with --count.")
    samples = [data[index] for index in range(count)]
    rows = [sample_row(sample, f"{index}") for index, sample in enumerate(samples)]
    rendered = data.pairs if isinstance(data, RefinementSamples) else data
    if isinstance(rendered, RainyClips):
        rows += augmentations(rendered)
    write_sheet(rows, sheet)
    for index, sample in enumerate(samples):
        pairs = sample.pairs if isinstance(sample, RefinementBatch) else sample
        report(f"{index}: {statistics(pairs)}")
    report(f"{count} samples: {sheet}")


def augmentations(data: RainyClips) -> list[Row]:
    """A row for each augmentation in use: the first sample without any and with it alone."""
    probs = {
        name: value
        for name, value in data.config.model_dump().items()
        if name.endswith("_prob") and name not in DEPENDENT
    }
    bare = dict.fromkeys([*probs, *DEPENDENT - {"real_prob"}], 0.0)
    rows = []
    for name, value in probs.items():
        if not value:
            continue
        kind = name.removesuffix("_prob")
        pair = [_with(data, bare | {name: share})[0] for share in (0.0, 1.0)]
        middle = len(pair[0].rainy) // 2
        rows.append(
            [
                (f"{kind}: without", pair[0].rainy[middle]),
                (f"with, {100 * value:.0f} %", pair[1].rainy[middle]),
                ("truth without", pair[0].clean[middle]),
                ("truth with", pair[1].clean[middle]),
            ]
        )
    return rows


def _with(data: RainyClips, probs: dict[str, float]) -> Samples:
    changed = data.config.model_copy(update=probs)
    return RainyClips(data.files, changed, data.seed, data.length, data.films)


def statistics(pairs: Batch) -> str:
    """Brightness, motion, haze and rain of one sample (T, C, H, W), in words."""
    clean, rainy = pairs.clean, pairs.rainy
    text = f"brightness {float(clean.mean()):.2f} ± {float(clean.std()):.2f}"
    if len(clean) > 1:
        flow = dis_flow(clean[1:], clean[:-1])[0]
        text += f", motion {float(flow.norm(dim=1).mean()):.1f} pixels of flow a frame"
    wet = float(rainy_pixels(rainy, clean).float().mean())
    text += f", rain on {100 * wet:.0f} % of pixels ({float(psnr(rainy, clean).mean()):.1f} dB)"
    return f"{text}, haze {1 - float(pairs.transmission.mean()):.2f}"
