"""The discriminator's side of stage 2: what it judges, and the losses of both players.

Short clips are cut from what a network gave and from the truth, their frames aligned to the middle
one, so that flicker is seen and motion is not. What else stage 2 learns from is refinement.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.configs.training import RefinementConfig
from derain.models.errors import DerainError
from derain.models.networks.discriminator import PatchDiscriminator, ReferenceDiscriminator
from derain.models.ops.optical_flow import dis_flow, warp
from derain.stages.losses.balance import Balance
from derain.stages.losses.losses import Critic, Objective, Terms

SPACING = 3  # frames from one aligned clip to the next
LABELS_REAL, LABELS_FAKE = (0.7, 1.2), (0.0, 0.3)  # noisy labels of the authors' least squares


class AlignedClips(NamedTuple):
    """Aligned clips (N, n, 3, H, W), and random numbers in [0, 1) for their labels, (N, 1).

    The first of the fake clips have the places and the labels of the real ones.
    """

    real: Tensor
    fake: Tensor  # with gradients to the network
    label_real: Tensor
    label_fake: Tensor
    fakes: float = 1.0  # as a share of those that a batch has on average; real rain comes and goes


class AdversarialLoss(NamedTuple):
    """A discriminator and what it and the network lose. Scores are (N, …)."""

    build: Callable[..., nn.Module]
    frames: int  # of an aligned clip
    network_loss: Callable[[Tensor, AlignedClips], Tensor]  # of the scores of fake clips
    critic_loss: Callable[[Tensor, Tensor, AlignedClips], Tensor]  # of real and fake ones


def _hinge(real: Tensor, fake: Tensor, aligned: AlignedClips) -> Tensor:
    return F.relu(1 - real).mean() + aligned.fakes * F.relu(1 + fake).mean()


def _to_labels(scores: Tensor, bounds: tuple[float, float], chance: Tensor) -> Tensor:
    labels = torch.lerp(scores.new_tensor(bounds[0]), scores.new_tensor(bounds[1]), chance)
    return F.mse_loss(scores, labels[: len(scores)])


def _least_squares(real: Tensor, fake: Tensor, aligned: AlignedClips) -> Tensor:
    as_real = _to_labels(real, LABELS_REAL, aligned.label_real)
    return as_real + aligned.fakes * _to_labels(fake, LABELS_FAKE, aligned.label_fake)


ADVERSARIAL_LOSSES = {
    "patch": AdversarialLoss(PatchDiscriminator, 3, lambda fake, aligned: -fake.mean(), _hinge),
    "reference": AdversarialLoss(
        ReferenceDiscriminator,
        1,
        lambda fake, aligned: _to_labels(fake, LABELS_REAL, aligned.label_real),
        _least_squares,
    ),
}


def build_discriminator(config: RefinementConfig) -> nn.Module:
    """The discriminator of stage 2.

    Raises:
        DerainError: it has no such settings.
    """
    settings = config.settings.model_dump(exclude_none=True)
    try:
        return ADVERSARIAL_LOSSES[config.discriminator].build(**settings)
    except TypeError as error:
        raise DerainError(
            f"The discriminator '{config.discriminator}' takes no {' and '.join(settings)}; leave "
            "refinement.settings out."
        ) from error


def aligned_clips(
    fake: Tensor, clean: Tensor, chance: Tensor, frames: int, fakes: float = 1.0
) -> AlignedClips:
    """Clips of `frames` frames, from a random first one on, SPACING apart.

    Args:
        fake: (B + R, T, 3, H, W) outputs: B with truth, R of real rain without.
        clean: (B, T, 3, H, W) the truth.
        chance: (B, 3) uniform in [0, 1). Real rain takes the first rows again.
        frames: of a clip; they span (frames - 1) * SPACING + 1 of the T.
        fakes: as `AlignedClips.fakes`: a share, 1 where all fake clips are there.
    """
    count = len(clean)
    chance = torch.cat([chance, chance[: len(fake) - count]])
    valid = fake.shape[1] - frames + 1
    clips = max(1, valid // SPACING)
    first = (chance[:, :1] * (valid - SPACING * (clips - 1))).long()
    centres = frames // 2 + first + SPACING * torch.arange(clips, device=first.device)
    flows = _flows_around(torch.cat([clean, fake[count:].detach()]), centres, frames // 2)
    labels = chance.repeat_interleave(clips, 0)
    return AlignedClips(
        real=_aligned(clean, centres[:count], [x[: count * clips] for x in flows]),
        fake=_aligned(fake, centres, flows),
        label_real=labels[:, 1:2],
        label_fake=labels[:, 2:3],
        fakes=fakes,
    )


def _at(images: Tensor, times: Tensor) -> Tensor:
    """Frames of (B, T, …) at `times` (B, k): (B k, …)."""
    return images[torch.arange(len(times), device=times.device)[:, None], times].flatten(0, 1)


def _offsets(reach: int) -> list[int]:
    return [offset for offset in range(-reach, reach + 1) if offset]


@torch.no_grad()
def _flows_around(guide: Tensor, centres: Tensor, reach: int) -> list[Tensor]:
    """Flow from the frames at `centres` to each of their neighbours."""
    middle = _at(guide, centres)
    return [dis_flow(middle, _at(guide, centres + offset))[0] for offset in _offsets(reach)]


def _aligned(images: Tensor, centres: Tensor, flows: list[Tensor]) -> Tensor:
    """Clips around `centres`, neighbours fetched along `flows`: (B k, n, 3, H, W)."""
    middle, reach = _at(images, centres), len(flows) // 2
    around = [
        warp(_at(images, centres + offset), flow, middle)
        for offset, flow in zip(_offsets(reach), flows, strict=True)
    ]
    return torch.stack([*around[:reach], middle, *around[reach:]], 1)


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """The module passes gradients on and takes none itself."""
    module.requires_grad_(False)
    try:
        yield module
    finally:
        module.requires_grad_(True)


def adversarial_loss(kind: AdversarialLoss, critic: nn.Module, aligned: AlignedClips) -> Tensor:
    """How far the fake clips are from passing for real ones; the discriminator learns nothing.

    Args:
        kind: one of ADVERSARIAL_LOSSES.
        critic: the discriminator, from clips (N, n, 3, H, W) to scores (N, …).
        aligned: real and fake clips; the fake ones have gradients.
    """
    with frozen(critic):
        return aligned.fakes * kind.network_loss(critic(aligned.fake), aligned)


def critic_of(module: nn.Module, config: RefinementConfig, balance: Balance) -> Critic:
    """The discriminator as a learner; its batches have `aligned` clips.

    Args:
        module: the discriminator, as ADVERSARIAL_LOSSES builds it.
        config: its kind, learning rate and Adam's beta1.
        balance: weighs the adversarial loss against those with truth.
    """
    kind = ADVERSARIAL_LOSSES[config.discriminator]
    objective = Objective(_score, partial(_critic_loss, kind), as_video=lambda module: module)
    return Critic(module, objective, config.learning_rate, config.beta1, balance)


def _score(critic: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    return critic(batch.aligned.real), critic(batch.aligned.fake.detach())


def _critic_loss(
    kind: AdversarialLoss, scores: tuple[Tensor, Tensor], batch: Any
) -> tuple[Tensor, Terms]:
    real, fake = scores
    loss = kind.critic_loss(real, fake, batch.aligned)
    return loss, {"score real": real.mean(), "score fake": fake.mean()}
