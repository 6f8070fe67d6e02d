"""A learner: a module with its objective and its optimiser. The loop is training.py's.

A run has one, the network, or two: the network and the discriminator against it, which learns from
what the network gave.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from derain.configs.training import TrainingConfig
from derain.models import create_model
from derain.models.errors import DerainError
from derain.models.runtime.derainer import choose_precision
from derain.models.video_model import Network, VideoModel
from derain.models.weights_io import read_weights
from derain.stages.losses.balance import Balance
from derain.stages.losses.losses import Objective, Terms
from derain.stages.training.checkpointing import Checkpointed
from derain.stages.training.distributed import Processes, Running, local_gradients
from derain.stages.training.widening import widen


@dataclass(frozen=True)
class Learner:
    """A module that learns."""

    module: nn.Module
    running: nn.Module  # it and its objective's `run`, as one `forward` over all processes
    objective: Objective
    optimiser: torch.optim.Optimizer
    dtype: torch.dtype
    clip: float  # norm to which gradients are shortened
    prefix: str = ""  # of its loss and gradient in the log
    balance: Balance | None = None  # of what it does to the other learner

    def backward(
        self, batch: object, parts: int, last: bool, learns: bool = True
    ) -> tuple[Any, Terms]:
        """Add the gradients of one of the batches of a step.

        Args:
            batch: what the objective runs.
            parts: batches of a step.
            last: whether this is the last of them.
            learns: False only looks, without gradients.

        Returns:
            What the module gave for the batch, and the loss with its terms.
        """
        device = next(self.module.parameters()).device
        exchange = nullcontext() if last else local_gradients(self.running)
        with exchange, torch.set_grad_enabled(learns):
            with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
                result = self.running(batch)
            loss, terms = self.objective.loss(result, batch)
            if learns:
                (loss / parts).backward()
        return result, {f"{self.prefix}loss": loss} | terms

    def max_grad_norm(self) -> Tensor:
        """Shorten the gradient; returns the norm that it had."""
        return nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)

    def state_dict(self) -> dict[str, Any]:
        """What the learner needs to go on bit for bit."""
        state = {"model": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}
        return state if self.balance is None else state | {"balance": self.balance.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.module.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.balance is not None and "balance" in state:
            self.balance.load_state_dict(state["balance"])


def make_learners(
    config: TrainingConfig, model: Network, objective: Objective, processes: Processes
) -> list[Learner]:
    """The network, and the discriminator where there is one; each is given the result before it.

    Args:
        config: precision, learning rates and the discriminator of the run.
        model: the network, on its device and in training mode.
        objective: its losses, and the discriminator where there is one.
        processes: those among which gradients are averaged.
    """
    dtype = choose_precision(config.precision, processes.device)
    dtype = torch.bfloat16 if dtype == torch.float16 else dtype  # float16 needs loss scaling
    run = Running(
        Checkpointed(model) if isinstance(model, VideoModel) and config.checkpointing else model,
        objective.run,
    )
    optimiser = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    clip = config.max_grad_norm
    joint = processes.joint(run, spare=config.single_image is not None)
    learners = [Learner(model, joint, objective, optimiser, dtype, clip)]
    if objective.critic is not None:
        module, against, rate, beta1, balance = objective.critic
        run = Running(module, against.run)
        adam = torch.optim.Adam(module.parameters(), lr=rate, betas=(beta1, 0.999))
        # In float32: spectral norms are estimated from step to step, and bfloat16 blurs them.
        joint = processes.joint(run)
        learners.append(
            Learner(module, joint, against, adam, torch.float32, clip, "critic ", balance)
        )
    return learners


def make_network(config: TrainingConfig, fresh: bool) -> Network:
    """The network of a run; a `fresh` run starts from `config.init`, if that is given.

    Raises:
        DerainError: weights of another network, one that is not smaller or none where
            `config.widen` is set, or nothing of a name to freeze.
    """
    model = create_model(config.model, **config.settings)
    if config.widen and fresh and not config.init:
        raise DerainError("widen starts from a smaller network's weights; name them with --init.")
    if config.init and fresh:
        state, description = read_weights(Path(config.init))
        start = model
        if config.widen:
            start = create_model(description.name, **description.settings)
        try:
            start.load_state_dict(state)
        except RuntimeError as error:
            raise DerainError(
                f"{config.init} holds weights of '{description.name}' with the settings "
                f"{description.settings}, which do not fit; set model and settings to these."
            ) from error
        if config.widen:
            widen(model, start)
    for prefix in config.freeze:
        parts = [p for name, p in model.named_parameters() if f"{name}.".startswith(f"{prefix}.")]
        if not parts:
            raise DerainError(
                f"'{config.model}' has no part '{prefix}' to freeze; it has "
                f"{', '.join(name for name, _ in model.named_children())}."
            )
        for parameter in parts:
            parameter.requires_grad_(False)
    return model


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then `gamma` after each of `milestones`, or a cosine to 1 % of the peak."""
    step, steps = max(0, step - config.critic_steps), config.steps - config.critic_steps
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.milestones:
        passed = sum(step >= round(share * steps) for share in config.milestones)
        return config.learning_rate * config.gamma**passed
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()
def update_average(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; shorter at the start, so that it forgets it.

    Args:
        average: weights by their names, changed in place.
        model: whose weights enter, of the same names.
        decay: in [0, 1).
        step: of the run, from 1 on.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - decay)
        else:
            average[name].copy_(value)
