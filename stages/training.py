"""The training loop: one command, one loop, resumable at any step.

    derain train configs/swift.yaml -o runs/swift
    derain train configs/swift.yaml -o runs/swift --resume

What a run leaves in its folder: config.yaml (as resolved), metrics.jsonl, TensorBoard events where
tensorboard is installed, last.pt (everything needed to go on), and NAME.safetensors (the averaged
weights, ready for `load_model`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from derain.configs.training import TrainingConfig
from derain.models import create_model
from derain.models.contract import DerainError
from derain.models.derainer import choose_device, choose_precision, on_device
from derain.models.registry import read_weights, save_model
from derain.stages.data import Batch, RainyClips, Samples, batches, cached_clip, find_clips
from derain.stages.losses import video_objective
from derain.stages.paired import paired_data
from derain.stages.single_image import single_image_objective, stills
from derain.stages.validation import Probe, make_probes, probe_model

Report = Callable[[str], None]


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a tenth after each of `drops`, or a cosine to 1 % of the peak."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.drops:
        passed = sum(step >= round(share * config.steps) for share in config.drops)
        return config.learning_rate * 0.1**passed
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; shorter at the start, so that it forgets it."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)


def train(
    config: TrainingConfig,
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    report: Report = lambda text: None,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> Path:
    """Train one network; returns the weight file.

    Raises:
        DerainError: folder in use, nothing to resume from, or a loss that is not finite (the last
            good checkpoint stays).
    """
    checkpoint, metrics = folder / "last.pt", folder / "metrics.jsonl"
    if checkpoint.exists() and not resume:
        raise DerainError(f"{folder} holds a run already; add --resume, or choose another.")
    if resume and not checkpoint.exists():
        raise DerainError(f"There is no {checkpoint} to resume from.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))

    where = choose_device(device)
    dtype = choose_precision(config.precision, where)
    dtype = torch.bfloat16 if dtype == torch.float16 else dtype  # float16 needs loss scaling
    torch.manual_seed(config.seed)
    model = create_model(config.model, **config.settings)
    if config.init:
        model.load_state_dict(read_weights(Path(config.init))[0])
    model = on_device(model, where).train()
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    start = 0
    if resume:
        saved = torch.load(checkpoint, map_location=where, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        average, start = saved["average"], saved["step"]

    if config.single_image is not None:
        objective = single_image_objective(config.single_image)
    else:
        objective = video_objective(config.loss)
    data, probes = _data(config, report)
    board = _tensorboard(folder)
    weights = folder / f"{config.model}.safetensors"

    def save(step: int) -> None:
        state = {
            "model": model.state_dict(),
            "average": average,
            "optimiser": optimiser.state_dict(),
            "step": step,
        }
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(checkpoint)
        save_model(model, weights, state=average, note={"steps": step, "seed": config.seed})

    began, sums = time.monotonic(), {}  # type: ignore[var-annotated]
    for step, raw in enumerate(batches(data, start), start):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        batch = Batch(*(x.to(where, non_blocking=True) for x in raw))
        with torch.autocast(where.type, dtype, enabled=dtype != torch.float32):
            result = objective.run(model, batch)
        loss, terms = objective.loss(result, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_gradient)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise DerainError(
                f"The loss is no longer finite at step {step}; the checkpoint in {folder} is from "
                "before. Lower learning_rate and go on with --resume."
            )
        optimiser.step()
        update_average(average, model, config.ema, step)

        done = step + 1
        for name, value in {"loss": loss, "gradient": norm, **terms}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        progress(done, config.steps, float(loss.detach()))
        if done % config.log_every == 0 or done == config.steps:
            count = (done - start) % config.log_every or config.log_every
            row = {name: value / count for name, value in sums.items()}
            row |= {"lr": learning_rate(step, config), "minutes": (time.monotonic() - began) / 60}
            sums = {}
            _log(metrics, board, done, row, report)
        if done % config.validate_every == 0 or done == config.steps:
            fresh = create_model(config.model, **config.settings)
            fresh.load_state_dict(average)
            watched = objective.as_video(fresh)
            figures, picture = probe_model(watched, probes, where, dtype)
            _log(metrics, board, done, figures, report)
            if board is not None and picture is not None:
                board.add_image("rainy, output, clean", picture, done)
        if done % config.save_every == 0 or done == config.steps:
            save(done)
    return weights


def _data(config: TrainingConfig, notice: Report) -> tuple[Samples, list[Probe]]:
    """What the network learns from, and what it is watched on."""
    cache = Path.home() / ".cache" / "derain" / "clips"
    if config.pairs is not None:
        return paired_data(config, cache, notice)
    clips = find_clips(Path(config.data.clips), config.data.licence_classes)
    files = [cached_clip(path, cache) for path in clips]
    length = config.steps * config.data.batch
    probes = []
    if config.data.validation:
        probes = make_probes(
            [cached_clip(p, cache) for p in find_clips(Path(config.data.validation))]
        )
        probes = probes if config.single_image is None else stills(probes)
    return RainyClips(files, config.data, config.seed, length), probes


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _log(metrics: Path, board: Any, step: int, row: dict[str, float], report: Report) -> None:
    with metrics.open("a") as file:
        file.write(json.dumps({"step": step} | row) + "\n")
    if board is not None:
        for name, value in row.items():
            board.add_scalar(name, value, step)
    report(f"step {step}: " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
