"""The training loop: one command, one loop, resumable at any step.

    derain train configs/swift.yaml -o runs/swift
    derain train configs/swift.yaml -o runs/swift --resume
    derain train configs/swift_refinement.yaml -o runs/fine --init runs/swift/swift.safetensors

What is learned from is an `Objective` (recovery.py, refinement.py, single_image.py), who learns a
`Learner` (learner.py), and in how many processes distributed.py's matter. A run leaves in its
folder: config.yaml (as resolved), metrics.jsonl, TensorBoard events where tensorboard is installed,
last.pt (everything needed to go on), and NAME.safetensors (the averaged weights, ready for
`load_model`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from derain.configs.training import TrainingConfig
from derain.models import create_model
from derain.models.errors import DerainError
from derain.models.runtime.derainer import on_device
from derain.models.weights_io import save_model
from derain.stages.data.clip_cache import cache_folder, trim
from derain.stages.data.paired_samples import paired_data
from derain.stages.data.rainy_films import find_films
from derain.stages.data.real_rain import refinement_samples
from derain.stages.data.rendered_clips import RainyClips, Samples, batches, cached_clip, find_clips
from derain.stages.losses.losses import Objective
from derain.stages.losses.recovery import video_objective
from derain.stages.losses.refinement import refinement_objective
from derain.stages.training.distributed import Processes, Shard, init_distributed
from derain.stages.training.learner import (
    Learner,
    learning_rate,
    make_learners,
    make_network,
    update_average,
)
from derain.stages.training.single_image import single_image_objective, stills
from derain.stages.training.validation import ValidationClip, make_validation_clips, validate_model

Report = Callable[[str], None]
Progress = Callable[[int, int, float], None]


def train(
    config: TrainingConfig,
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    report: Report = lambda text: None,
    progress: Progress = lambda step, steps, loss: None,
) -> Path:
    """Train one network, with the other processes under torchrun; returns the weight file.

    Raises:
        DerainError: folder in use, nothing to resume from, or a loss that is not finite (the last
            good checkpoint stays).
    """
    checkpoint = folder / "last.pt"
    if checkpoint.exists() and not resume:
        raise DerainError(f"{folder} holds a run already; add --resume, or choose another.")
    if resume and not checkpoint.exists():
        raise DerainError(f"There is no {checkpoint} to resume from.")
    with init_distributed(device) as processes:
        return _train(config, folder, processes, resume, report, progress)


def _train(
    config: TrainingConfig,
    folder: Path,
    processes: Processes,
    resume: bool,
    report: Report,
    progress: Progress,
) -> Path:
    checkpoint, weights = folder / "last.pt", folder / f"{config.model}.safetensors"
    torch.manual_seed(config.seed)
    model = on_device(make_network(config, fresh=not resume), processes.device).train()
    objective = _objective(config, processes.device)
    learners = make_learners(config, model, objective, processes)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    start = 0
    if resume:
        average, start = _restore(checkpoint, learners, processes)
    with processes.main_first():
        data, validation_clips = _data(config, report)
    log = _Log(folder, config, report) if processes.main else None

    began, rows = time.monotonic(), list[dict[str, float]]()
    mine = Shard(data, processes, config.steps * config.accumulate)
    stream = batches(mine, start * config.accumulate)
    for step in range(start, config.steps):
        for group in learners[0].optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        row = processes.mean(_gradients(learners, stream, config.accumulate, processes.device))
        if not all(math.isfinite(value) for value in row.values()):
            raise DerainError(
                f"The loss is no longer finite at step {step}; the checkpoint in {folder} is from "
                "before. Lower learning_rate and go on with --resume."
            )
        for learner in learners:
            learner.optimiser.step()
        update_average(average, model, config.ema, step)

        done = step + 1
        progress(done, config.steps, row["loss"])
        if log is None:
            continue
        rows.append(row)
        if done % config.log_every == 0 or done == config.steps:
            means = {name: sum(each[name] for each in rows) / len(rows) for name in row}
            means |= {"lr": learning_rate(step, config), "minutes": (time.monotonic() - began) / 60}
            rows = []
            log.write(done, means)
        if done % config.validate_every == 0 or done == config.steps:
            fresh = create_model(config.model, **config.settings)
            fresh.load_state_dict(average)
            watched = objective.as_video(fresh)
            figures, picture = validate_model(
                watched, validation_clips, processes.device, learners[0].dtype
            )
            log.write(done, figures, picture)
        if done % config.save_every == 0 or done == config.steps:
            _save(checkpoint, learners, average, done)
            note = {"steps": done, "seed": config.seed}
            save_model(model, weights, state=average, note=note)
    return weights


def _gradients(
    learners: list[Learner], stream: Iterator[Any], parts: int, device: torch.device
) -> dict[str, Tensor]:
    """Put the gradients of one step, of `parts` batches, on all learners; returns what to log."""
    figures: dict[str, Tensor] = {}
    for learner in learners:
        learner.optimiser.zero_grad(set_to_none=True)
    for part in range(parts):
        given = _to(next(stream), device)
        for learner in learners:
            given, terms = learner.backward(given, parts, last=part == parts - 1)
            for name, value in terms.items():
                figures[name] = figures.get(name, 0) + value.detach() / parts
    for learner in learners:
        figures[f"{learner.prefix}gradient"] = learner.max_grad_norm()
    return figures


def _to(item: Any, device: torch.device) -> Any:
    """A batch, or a batch of batches, on `device`."""
    if isinstance(item, Tensor):
        return item.to(device, non_blocking=True)
    return type(item)(*(_to(part, device) for part in item))


def _save(checkpoint: Path, learners: list[Learner], average: dict[str, Tensor], step: int) -> None:
    network, *critic = learners
    state = network.state_dict() | {"average": average, "step": step}
    state |= {"critic": critic[0].state_dict()} if critic else {}
    part = checkpoint.with_suffix(".part")
    torch.save(state, part)
    part.replace(checkpoint)


def _restore(
    checkpoint: Path, learners: list[Learner], processes: Processes
) -> tuple[dict[str, Tensor], int]:
    """Put the learners where the checkpoint stopped; returns the average and the step."""
    # To the CPU: Adam counts its steps there, and would wait for a GPU at each count.
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network, *critic = learners
    network.load_state_dict(saved)
    if bool(critic) != ("critic" in saved):
        raise DerainError(
            f"{checkpoint} is of a run {'without' if critic else 'with'} a discriminator; start "
            "another run, with --init and the weights of this one."
        )
    for learner in critic:
        learner.load_state_dict(saved["critic"])
    average = {name: value.to(processes.device) for name, value in saved["average"].items()}
    return average, saved["step"]


def _objective(config: TrainingConfig, device: torch.device) -> Objective:
    if config.single_image is not None:
        return single_image_objective(config.single_image)
    if config.refinement is not None:
        return refinement_objective(config, device)
    return video_objective(config.loss)


def _data(config: TrainingConfig, notice: Report) -> tuple[Samples, list[ValidationClip]]:
    """What the network learns from, and what it is watched on."""
    cache = cache_folder()
    if config.pairs is not None:
        data, validation_clips = paired_data(config, cache, notice)
    else:
        data, validation_clips = _rendered(config, cache)
    if config.refinement is not None:
        data = refinement_samples(data, config.seed, cache)
    if gone := trim(cache):
        notice(f"{len(gone)} decoded clips unused for days left {cache}; see derain cache.")
    return data, validation_clips


def _rendered(config: TrainingConfig, cache: Path) -> tuple[Samples, list[ValidationClip]]:
    clips = find_clips(Path(config.data.clips), config.data.licence_classes)
    files = [cached_clip(path, cache) for path in clips]
    length = config.steps * config.data.batch
    validation_clips = []
    if config.data.validation:
        validation_clips = make_validation_clips(
            [cached_clip(p, cache) for p in find_clips(Path(config.data.validation))]
        )
        validation_clips = (
            validation_clips if config.single_image is None else stills(validation_clips)
        )
    films = find_films(Path(config.data.rain_layers)) if config.data.rain_layers else []
    return RainyClips(files, config.data, config.seed, length, films), validation_clips


class _Log:
    """What a run tells: config.yaml, metrics.jsonl, TensorBoard where it is installed, lines."""

    def __init__(self, folder: Path, config: TrainingConfig, report: Report) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        self.metrics, self.board, self.report = folder / "metrics.jsonl", None, report
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(str(folder))

    def write(self, step: int, row: dict[str, float], picture: Tensor | None = None) -> None:
        """Figures, and a picture (3, H, W) of rainy, output and clean side by side."""
        with self.metrics.open("a") as file:
            file.write(json.dumps({"step": step} | row) + "\n")
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name, value, step)
            if picture is not None:
                self.board.add_image("rainy, output, clean", picture, step)
        self.report(f"step {step}: " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
