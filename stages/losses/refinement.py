"""Stage 2: refinement against a discriminator, on rain with truth and on real rain without.

After Yang et al., "Recurrent Multi-Frame Deraining: Combining Physics Guidance and Adversarial
Learning" (TPAMI 2022). Added to the losses with truth (recovery.py):

    adversarial   outputs, of real rain too, should pass for clean clips (adversary.py)
    dark          the dark channel (He et al., CVPR 2009) of the truth; 0 where there is none
    flicker       in real rain the darkest channel should not change along the motion
    grey          a clip of one bright grey should come back: skies are not haze
    lpips         perceptual distance to the truth

What differs from the authors' training: network and discriminator learn in separate passes;
patches of three aligned frames are scored, by hinge loss; real rain takes part; flicker is measured
along the optical flow, where the flow is sure; grey clips start with empty memories; gradients
go through all frames, and from stage 2 to stage 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.configs.training import RefinementConfig, TrainingConfig
from derain.models.errors import DerainError
from derain.models.networks.haze_estimator import Haze
from derain.models.ops.optical_flow import compose_flows, dis_flow, warp
from derain.models.output import Output
from derain.models.runtime.derainer import on_device
from derain.models.video_model import VideoModel
from derain.stages.data.batch import Batch
from derain.stages.data.real_rain import RefinementBatch
from derain.stages.losses.adversary import (
    ADVERSARIAL_LOSSES,
    AlignedClips,
    adversarial_loss,
    aligned_clips,
    build_discriminator,
    critic_of,
)
from derain.stages.losses.balance import Balance
from derain.stages.losses.losses import (
    SSIM_EVERY,
    Objective,
    Terms,
    log_mse,
    transmission_loss,
    weighted,
)
from derain.stages.losses.metrics import load_lpips
from derain.stages.losses.recovery import known_haze, training_loss

DARK_WINDOW = 15  # pixels, He et al.
SURE = 1.0  # pixels, at the flow's size, by which there and back may miss
GREY = (0.8, 1.0)  # brightness of grey clips, the authors'
GREY_FRAMES, GREY_SIZE = 3, 64


class Refined(NamedTuple):
    """What the network gave for a `RefinementBatch`; None where a term has no weight."""

    output: Output  # of the B clips with truth
    images: Tensor  # (B + R, T, 3, H, W), those of R clips of real rain too
    grey: Output | None
    aligned: AlignedClips | None


@dataclass(frozen=True)
class Refinement:
    """The losses of stage 2.

    Args:
        critic: None where the adversarial term has no weight; `lpips` likewise.
        balance: what the adversarial term weighs.
    """

    training: TrainingConfig
    config: RefinementConfig
    critic: nn.Module | None
    balance: Balance
    lpips: nn.Module | None

    def run(self, model: VideoModel, batch: RefinementBatch) -> Refined:
        """One pass over all clips, and one over the grey ones."""
        pairs, count = batch.pairs, len(batch.pairs.rainy)
        real = batch.real[batch.has_real]
        clips = [pairs.rainy, real] if len(real) else [pairs.rainy]
        output = _derained(model, clips, pairs)
        grey, aligned = None, None
        if self.config.grey:
            grey, _ = model(grey_clips(batch.chance[:, 0]))
        if self.critic is not None:
            frames = ADVERSARIAL_LOSSES[self.config.discriminator].frames
            fakes = len(output.image) / (count + self.expected(batch))
            chance = batch.chance[:, 1:4]
            aligned = aligned_clips(output.image, pairs.clean, chance, frames, fakes)
        return Refined(output.map(lambda x: x[:count]), output.image, grey, aligned)

    def expected(self, batch: RefinementBatch) -> float:
        """Clips of real rain that a batch has on average."""
        given = len(batch.real) if batch.real.shape[1] else 0
        return self.training.data.real_prob * given

    def loss(self, result: Refined, batch: RefinementBatch) -> tuple[Tensor, Terms]:
        """The losses with truth and those of this stage; terms are before weighting.

        `sharpness` is not learned from: how much of the truth's gradient energy the output has.
        """
        image, clean = result.output.image, batch.pairs.clean
        total, terms = training_loss(result.output, batch.pairs, self.training.loss)
        added = {"dark": (dark_channel(image) - dark_channel(clean)).abs().mean()}
        real, expected = result.images[len(clean) :], self.expected(batch)
        if expected:  # the same terms in all steps and processes
            added["flicker"] = clean.new_zeros(())
        if len(real):
            # By the number that is usual: so it does not matter which batch has how many.
            part = len(real) / expected
            added["dark"] = added["dark"] + part * dark_channel(real).abs().mean()
            added["flicker"] = part * flicker(real)
        watched = {"sharpness": gradient_energy(image.detach()) / gradient_energy(clean)}
        if result.aligned is not None and self.critic is not None:
            kind = ADVERSARIAL_LOSSES[self.config.discriminator]
            added["adversarial"] = adversarial_loss(kind, self.critic, result.aligned)
            watched |= self.balance.measure(total, added["adversarial"], result.images)
            watched["adversary weight"] = clean.new_tensor(self.balance.weight)
        if result.grey is not None:
            added["grey"] = grey_loss(result.grey, grey_clips(batch.chance[:, 0]))
        if self.lpips is not None:
            shown, truth = (x[:, ::SSIM_EVERY].flatten(0, 1) for x in (image, clean))
            added["lpips"] = self.lpips(shown, truth, normalize=True).mean()
        weights = self.config.model_copy(update={"adversarial": self.balance.weight})
        return total + weighted(added, weights), terms | added | watched


def _derained(model: VideoModel, clips: list[Tensor], pairs: Batch) -> Output:
    """All clips in one pass; a haze estimator is given the haze, or what it sees of it."""
    haze_estimator = model.haze_estimator
    if haze_estimator is None:
        return model(torch.cat(clips))[0]
    with torch.no_grad():
        haze = [known_haze(pairs)] + [haze_estimator(real.mean(1)) for real in clips[1:]]
    together = Haze(*(torch.cat(parts) for parts in zip(*haze, strict=True)))
    return model(torch.cat(clips), haze=together)[0]


def refinement_objective(training: TrainingConfig, device: torch.device) -> Objective:
    """The objective of `training.refinement`, its discriminator on `device`.

    Raises:
        DerainError: LPIPS has a weight and its backbone is not there, or the discriminator cannot
            be built as its settings say.
    """
    config = training.refinement
    assert config is not None
    critic, opponent, lpips = None, None, None
    balance = Balance(config.adversarial, config.balance)
    if config.adversarial:
        critic = build_discriminator(config)
        critic = on_device(critic, device).train()
        opponent = critic_of(critic, config, balance)
    if config.lpips:
        lpips = _lpips(config.lpips_weights).to(device).requires_grad_(False)
    stage = Refinement(training, config, critic, balance, lpips)
    return Objective(stage.run, stage.loss, lambda model: model, opponent)


def _lpips(weights: str | None) -> nn.Module:
    try:
        return load_lpips(Path(weights) if weights else None)
    except DerainError as error:
        raise DerainError(
            "refinement.lpips needs torchvision's alexnet-owt-7be5be79.pth; name the file with "
            "--set refinement.lpips_weights=FILE, or leave the term out."
        ) from error


def dark_channel(clip: Tensor) -> Tensor:
    """The least value of any channel within a window: (B, T, 3, H, W) -> (B T, 1, H, W)."""
    least = clip.amin(2).flatten(0, 1)[:, None]
    return -F.max_pool2d(-least, DARK_WINDOW, stride=1, padding=DARK_WINDOW // 2)


def flicker(clip: Tensor) -> Tensor:
    """How much the least channel changes along the motion; the frame before is held.

    Args:
        clip: (B, T, 3, H, W). Pixels count where the flow there and back returns to them.
    """
    now, before = clip[:, 1:].flatten(0, 1), clip[:, :-1].detach().flatten(0, 1)
    there, back = dis_flow(now.detach(), before)
    missed = compose_flows(there, back).norm(dim=1, keepdim=True)
    sure = F.interpolate((missed < SURE).float(), now.shape[-2:])
    least, earlier = (x.amin(1, keepdim=True) for x in (now, before))
    return (sure * (least - warp(earlier, there, least.detach())).abs()).mean()


def grey_clips(chance: Tensor) -> Tensor:
    """Clips of one brightness for each of (B,) in [0, 1): (B, t, 3, h, w)."""
    level = GREY[0] + (GREY[1] - GREY[0]) * chance
    return level.view(-1, 1, 1, 1, 1).expand(-1, GREY_FRAMES, 3, GREY_SIZE, GREY_SIZE)


def grey_loss(output: Output, grey: Tensor) -> Tensor:
    """The image should come back, and where the network has a transmission it should be 1."""
    loss = log_mse(output.image, grey)
    if output.transmission is not None:
        loss = loss + transmission_loss(output.transmission, torch.ones_like(output.transmission))
    return loss


def gradient_energy(clip: Tensor) -> Tensor:
    """Mean squared difference between neighbouring pixels, of anything (…, H, W); never 0."""
    across, down = clip.diff(dim=-1).square().mean(), clip.diff(dim=-2).square().mean()
    return across + down + 1e-8
