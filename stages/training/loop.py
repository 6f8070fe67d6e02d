"""The training loop: one command, one loop, resumable at any step.

    derain train configs/swift.yaml -o runs/swift
    derain train configs/swift.yaml -o runs/swift --resume
    derain train configs/swift_refinement.yaml -o runs/fine --init runs/swift/swift.safetensors

What is learned from is an `Objective` (recovery.py, refinement.py, single_image.py), who learns a
`Learner` (learner.py), and in how many processes distributed.py's matter. A run leaves in its
folder: config.yaml, metrics.jsonl, TensorBoard events (run_log.py), and states to go on from and
weights to use (saving.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from derain.configs.training import TrainingConfig
from derain.models import create_model
from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.models.runtime.derainer import on_device
from derain.stages.data.loading import batches
from derain.stages.data.rendered_clips import Samples
from derain.stages.data.validation_clips import ValidationClip
from derain.stages.losses.losses import Objective
from derain.stages.training.distributed import Processes, Shard, init_distributed
from derain.stages.training.learner import (
    Learner,
    learning_rate,
    make_learners,
    make_network,
    update_average,
)
from derain.stages.training.reports.meter import Timed, peak_memory
from derain.stages.training.reports.run_log import RunLog
from derain.stages.training.saving import RunFiles, RunState
from derain.stages.training.sources import make_data, make_objective, real_example
from derain.stages.training.stopping import StopRequest, stop_requests
from derain.stages.training.validation import validate_model

Progress = Callable[[int, int, str], None]  # step, of how many, and what is going on


def train(
    config: TrainingConfig,
    folder: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    wandb: str | None = None,
    report: Log = say_nothing,
    progress: Progress = lambda step, steps, doing: None,
) -> Path:
    """Train one network, with the other processes under torchrun; returns the weight file.

    Args:
        config: of the run.
        folder: for settings, figures, states and weights.
        device: auto, cpu, cuda, cuda:1, …
        resume: go on with the run in `folder`.
        wandb: project of Weights & Biases to show the run in.
        report: told what a person should know.
        progress: told the step, how many there are, and what is being done.

    Raises:
        DerainError: folder in use, nothing to resume from, a loss that is not finite (the last
            good state stays), or no room for what was learned.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGUSR1; everything up to the last step is saved.
    """
    files = RunFiles(folder, config, report)
    if files.states() and not resume:
        raise DerainError(f"{folder} holds a run already; add --resume, or choose another.")
    if resume and not files.states():
        raise DerainError(f"There is no {files.last} to resume from.")
    with init_distributed(device) as processes:
        torch.manual_seed(config.seed)
        network = on_device(make_network(config, fresh=not resume), processes.device).train()
        objective = make_objective(config, processes.device)
        learners = make_learners(config, network, objective, processes)
        average = {k: v.detach().clone() for k, v in network.state_dict().items()}
        state = RunState(network, learners, average)
        if resume:
            files.restore(state)
        with processes.main_first():
            data, clips = make_data(config, report)
        log = RunLog(folder, config, state.step, report, wandb) if processes.main else None
        try:
            with stop_requests() as stop:
                run = Run(config, processes, state, files, objective, clips, log, progress, stop)
                run.go(data)
        finally:
            if log is not None:
                log.close()
    return files.weights


@dataclass
class Run:
    """A run at work: steps, and what is logged, saved and looked at between them."""

    config: TrainingConfig
    processes: Processes
    state: RunState
    files: RunFiles
    objective: Objective
    validation_clips: list[ValidationClip]
    log: RunLog | None  # of process 0
    progress: Progress
    stop: StopRequest

    def go(self, data: Samples) -> None:
        """All steps that are left."""
        config, state = self.config, self.state
        mine = Shard(data, self.processes, config.steps * config.accumulate)
        unseen = self.log is not None and state.step and not self.log.validated
        if self.log is not None and unseen and self._due(config.validate_every):
            self._validate(self.log)  # the run was stopped while it looked
        if state.step == config.steps:
            return
        stream = Timed(batches(mine, state.step * config.accumulate))
        saved = clock = time.monotonic()
        logged = state.step, state.seconds
        while state.step < config.steps:
            stopping = self._step(stream)
            now = time.monotonic()
            state.seconds, clock = state.seconds + now - clock, now
            if self.log is None:
                if stopping:
                    raise KeyboardInterrupt
                continue
            if self._due(config.log_every):
                done, seconds = state.step - logged[0], state.seconds - logged[1]
                logged = state.step, state.seconds
                samples = done * config.data.batch * config.accumulate * self.processes.size
                speed = {
                    "samples a second": samples / seconds,
                    "waiting": stream.take() / seconds,
                    "memory": peak_memory(self.processes.device),
                }
                self._write_figures(self.log, speed)
            late = now - saved > 60 * config.save_minutes
            validating = self._due(config.validate_every)
            if self._due(config.save_every) or late or validating or stopping:
                whole, saved = self.files.save(state), now
                if not whole and state.step == config.steps:
                    raise DerainError(
                        f"The last steps could not be saved in {self.files.folder}; make room and "
                        "go on with --resume."
                    )
            if stopping and state.step < config.steps:
                self._end()
            if validating:
                self._validate(self.log)
                clock = time.monotonic()  # looking is not training

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.config.steps

    def _step(self, stream: Iterator[object]) -> bool:
        """One step; whether any process was asked to stop."""
        config, state = self.config, self.state
        for group in state.learners[0].optimiser.param_groups:
            group["lr"] = learning_rate(state.step, config)
        alone = state.step < config.critic_steps  # the discriminator
        figures = gradients(state.learners, stream, config.accumulate, self.processes.device, alone)
        asked = torch.tensor(float(bool(self.stop)), device=self.processes.device)
        row = self.processes.mean(figures | {"stop": asked})
        stopping = row.pop("stop") > 0
        if not all(math.isfinite(value) for value in row.values()):
            raise DerainError(
                f"The loss is no longer finite at step {state.step}; the state in "
                f"{self.files.folder} is from before. Lower learning_rate and go on with --resume."
            )
        for learner in state.learners[1:] if alone else state.learners:
            learner.optimiser.step()
            if learner.balance is not None:
                learner.balance.update(row)
        update_average(state.average, state.network, config.ema, state.step)
        state.step += 1
        state.rows.append(row)
        self.progress(state.step, config.steps, f"loss {row['loss']:.4f}")
        return stopping

    def _write_figures(self, log: RunLog, speed: dict[str, float]) -> None:
        """The means of the steps since the last line, and how fast they went."""
        rows = self.state.rows
        means = {name: sum(each[name] for each in rows) / len(rows) for name in rows[-1]}
        means["lr"] = learning_rate(self.state.step - 1, self.config)
        means["minutes"] = self.state.seconds / 60
        self.state.rows = []
        log.write(self.state.step, means | speed)

    def _validate(self, log: RunLog) -> None:
        """Look at the averaged weights, and keep them where they are the best so far."""
        state = self.state
        if not self.validation_clips:
            return
        log.report(f"step {state.step}: validating on {len(self.validation_clips)} clips")

        def progress(done: int, total: int) -> None:
            if self.stop and self.processes.size == 1:
                self._end()
            self.progress(state.step, self.config.steps, f"validating, clip {done + 1} of {total}")

        fresh = create_model(self.config.model, **self.config.settings)
        fresh.load_state_dict(state.average)
        figures, images = validate_model(
            self.objective.as_video(fresh),
            self.validation_clips,
            self.processes.device,
            state.learners[0].dtype,
            progress,
            real_example(self.config),
        )
        self.files.save_best(state, figures["score"])
        log.write(state.step, figures, images)

    def _end(self) -> None:
        """Stop, now that everything is saved."""
        self.files.report(
            f"Stopped at step {self.state.step} of {self.config.steps}"
            f"{f' by {self.stop.signal}' if self.stop else ''}: saved up to step "
            f"{self.files.saved} in {self.files.folder}. Go on with --resume."
        )
        raise KeyboardInterrupt


def gradients(
    learners: list[Learner],
    stream: Iterator[object],
    parts: int,
    device: torch.device,
    critic_alone: bool,
) -> dict[str, Tensor]:
    """Put the gradients of one step, of `parts` batches, on the learners; returns what to log.

    Args:
        learners: whose gradients are put.
        stream: gives `parts` batches or more.
        parts: batches of a step, over which gradients are averaged.
        device: where the networks are.
        critic_alone: whether the discriminator alone learns.
    """
    figures: dict[str, Tensor] = {}
    for learner in learners:
        learner.optimiser.zero_grad(set_to_none=True)
    for part in range(parts):
        given = _to(next(stream), device)
        for learner in learners:
            learns = not critic_alone or learner is not learners[0]
            given, terms = learner.backward(given, parts, part == parts - 1, learns)
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
