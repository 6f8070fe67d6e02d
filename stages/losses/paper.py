"""The two-stage network trained as its authors train it, term by term.

Yang et al., "Recurrent Multi-Frame Deraining: Combining Physics Guidance and Adversarial Learning"
(TPAMI 2022). With truth alone (configs/paper/two_stage_recovery.yaml), of every finished frame:

    -SSIM(H) - SSIM(t) - SSIM(A) - SSIM(O)

Against a discriminator (…_refinement.yaml), added from the second finished frame on but for the
first term, with their weights in the preset:

    grey         (t(G) - 1)² + (A(G) - g)² + (O(G) - g)² of an image G of one brightness g
    adversarial  (D(O) - y)² with y in [0.7, 1.2]
    flicker      |dark(O[t]) - dark(O[t-1])|, the earlier one held
    dark         |dark(O[t])|

dark() is the least of the three channels of a pixel. D loses (D(B) - y)² + (D(O) - z)², z in [0,
0.3]. Terms are summed over frames. Every frame's gradient ends at what came before it: memories,
earlier outputs and J are held.

Not as in the authors' code: D learns nothing from the network's term; the first stage is loaded and
stays, as they meant it to. Real rain, where it is given, adds to flicker and dark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.configs.training import RefinementConfig, TrainingConfig
from derain.models.errors import DerainError
from derain.models.networks.two_stage import ReferenceStages, State, TwoStage
from derain.models.ops.scattering import add_haze
from derain.models.output import Output
from derain.models.runtime.derainer import on_device
from derain.stages.data.batch import Batch
from derain.stages.data.real_rain import RefinementBatch
from derain.stages.losses.adversary import LABELS_FAKE, LABELS_REAL, build_discriminator, frozen
from derain.stages.losses.losses import Critic, Objective, Terms, weighted
from derain.stages.losses.ssim import padded_ssim

MIDDLE = 2  # of the five frames of a window
OWN_CHANCES = 4  # columns of RefinementBatch.chance before those of the frames, three each


class Frame(NamedTuple):
    """What was finished of one frame, and what judges it.

    Args:
        output: of the network.
        clean: (B, 3, H, W).
        grey: transmission before its floor, airlight and image of a grey window.
        chance: (B, 3) in [0, 1): of the brightness of grey, and of both labels.
    """

    output: Output
    clean: Tensor
    grey: tuple[Tensor, Tensor, Tensor] | None
    chance: Tensor | None


class Taught(NamedTuple):
    """What a network gave for a batch, frame after frame."""

    frames: list[Frame]
    real: list[Tensor]  # (R, 3, H, W) of real rain


@dataclass(frozen=True)
class PaperRecipe:
    """Losses of one of the two phases.

    Args:
        training: the preset; its `refinement` decides which phase it is.
        critic: the discriminator, in the second phase.
    """

    training: TrainingConfig
    critic: nn.Module | None

    def run(self, model: nn.Module, batch: Batch | RefinementBatch) -> Taught:
        """Frame after frame, as a film is run, with gradients that end at each frame."""
        stages = reference_stages(model)
        pairs, chance, real = batch, None, None
        if isinstance(batch, RefinementBatch):
            pairs, chance = batch.pairs, batch.chance[:, OWN_CHANCES:]
            real = batch.real[batch.has_real] if batch.has_real.any() else None
        assert isinstance(pairs, Batch)
        frames = []
        for k, (output, state) in enumerate(finished(stages, pairs.rainy)):
            own = None if chance is None else chance[:, 3 * k : 3 * k + 3]
            grey = None
            if own is not None:
                grey = run_grey(stages, brightness(own), state)
            frames.append(Frame(output, pairs.clean[:, k + MIDDLE], grey, own))
        shown = [] if real is None else [output.image for output, _ in finished(stages, real)]
        return Taught(frames, shown)

    def loss(self, result: Taught, batch: Batch | RefinementBatch) -> tuple[Tensor, Terms]:
        """The weighted sum, and its terms before weighting."""
        pairs = batch.pairs if isinstance(batch, RefinementBatch) else batch
        terms = summed([physics_terms(f, pairs, k) for k, f in enumerate(result.frames)])
        total = weighted(terms, self.training.loss)
        if self.training.refinement is None:
            return total, terms
        added = self._refinement(result, self.training.refinement, len(pairs.clean))
        return total + weighted(added, self.training.refinement), terms | added

    def _refinement(self, result: Taught, config: RefinementConfig, count: int) -> Terms:
        terms = [{"grey": grey_term(frame)} for frame in result.frames if config.grey]
        images = [frame.output.image for frame in result.frames]
        for k, frame in enumerate(result.frames[1:], 1):
            terms.append(dark_terms(images[k], images[k - 1]))
            if self.critic is not None and frame.chance is not None:
                with frozen(self.critic):
                    scores = self.critic(images[k])
                error = F.mse_loss(scores, labels(frame.chance[:, 1:2], LABELS_REAL))
                terms.append({"adversarial": error})
        for now, before in zip(result.real[1:], result.real[:-1], strict=True):
            # By the number of clips that is usual: so it does not matter which batch has how many.
            part = len(now) / (self.training.data.real_prob * count)
            terms.append({name: part * value for name, value in dark_terms(now, before).items()})
        return summed(terms)


def reference_stages(model: nn.Module) -> TwoStage:
    """The network that the paper's recipe is of.

    Raises:
        DerainError: it is another one.
    """
    if isinstance(model, TwoStage) and isinstance(model.stages, ReferenceStages):
        return model
    raise DerainError(
        "recipe: paper is of two_stage with settings.variant: reference; leave recipe out."
    )


def finished(model: TwoStage, rainy: Tensor) -> list[tuple[Output, State]]:
    """Output and state of every frame of (B, T, 3, H, W) that has two on either side of it."""
    batch, _, _, height, width = rainy.shape
    state = model.initial_state(batch, height, width, device=rainy.device, dtype=rainy.dtype)
    found = []
    for k in range(rainy.shape[1] - 2 * MIDDLE):
        output, state = model.step_window(rainy[:, k : k + 2 * MIDDLE + 1], state)
        state = State(*(x.detach() for x in state))
        found.append((output, state))
    return found


def brightness(chance: Tensor) -> Tensor:
    """One of 0.80, 0.81, … 0.99 for a whole batch, (), drawn by the first row of (B, 3)."""
    return 0.8 + 0.01 * (20 * chance[0, 0]).floor()


def run_grey(model: TwoStage, level: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor]:
    """A window of one brightness in every slot, with the memories of the clip.

    Args:
        model: the network.
        level: (B, 1, 1, 1), the brightness.
        state: of the clip, whose hidden states are used and stay.

    Returns:
        Transmission (B, 3, H, W) before its floor, airlight and image (B, 3, H, W).
    """
    stages = model.stages
    assert isinstance(stages, ReferenceStages)
    _, thin, light, refine = state.memory.unbind(1)
    window = level.expand(len(state.frames), 2 * MIDDLE + 1, 3, *state.frames.shape[-2:])
    (raw, airlight), _ = stages.haze(window, window, [thin, light])
    (image,), _ = stages.s2(window, window, [refine])
    return raw, airlight, image


def physics_terms(frame: Frame, pairs: Batch, index: int) -> Terms:
    """-SSIM of every layer of one frame.

    Args:
        frame: layers of one frame, (B, C, H, W) each, in [0, 1].
        pairs: the truth of the clip, (B, T, C, H, W) each.
        index: of the frame in the clip.
    """
    output, at = frame.output, index + MIDDLE
    assert output.hazy is not None
    assert output.transmission is not None
    assert output.airlight is not None
    transmission = pairs.transmission[:, at]
    airlight = pairs.airlight[:, at].expand_as(frame.clean)
    return {
        "hazy": -padded_ssim(output.hazy, add_haze(frame.clean, transmission, airlight)),
        "transmission": -padded_ssim(output.transmission, transmission),
        "airlight": -padded_ssim(output.airlight, airlight),
        "image": -padded_ssim(output.image, frame.clean),
    }


def grey_term(frame: Frame) -> Tensor:
    """The squared errors of a grey window: no haze is seen, and the image comes back."""
    assert frame.grey is not None
    assert frame.chance is not None
    transmission, airlight, image = frame.grey
    level = brightness(frame.chance)
    return (
        (transmission - 1).square().mean()
        + (airlight - level).square().mean()
        + (image - level).square().mean()
    )


def dark_terms(now: Tensor, before: Tensor) -> Terms:
    """How the darkest channel of (B, 3, H, W) changes, place by place, and how bright it is."""
    dark, earlier = now.amin(1), before.detach().amin(1)
    return {"flicker": (dark - earlier).abs().mean(), "dark": dark.abs().mean()}


def labels(chance: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Noisy labels from (B, 1) in [0, 1)."""
    low, high = bounds
    return low + (high - low) * chance


def summed(terms: list[Terms]) -> Terms:
    """The sums of terms of the same name."""
    names = dict.fromkeys(name for each in terms for name in each)
    return {
        name: torch.stack([each[name] for each in terms if name in each]).sum() for name in names
    }


def judge(critic: nn.Module, taught: Taught) -> list[tuple[Tensor, Tensor]]:
    """Scores of truth and output of every frame but the first, each by a pass of its own."""
    return [
        (critic(frame.clean), critic(frame.output.image.detach())) for frame in taught.frames[1:]
    ]


def critic_loss(scores: list[tuple[Tensor, Tensor]], taught: Taught) -> tuple[Tensor, Terms]:
    """Squared errors of the scores against noisy labels, summed over frames."""
    errors = []
    for (real, fake), frame in zip(scores, taught.frames[1:], strict=True):
        assert frame.chance is not None
        errors.append(F.mse_loss(real, labels(frame.chance[:, 1:2], LABELS_REAL)))
        errors.append(F.mse_loss(fake, labels(frame.chance[:, 2:3], LABELS_FAKE)))
    means = (torch.stack([pair[side].mean() for pair in scores]).mean() for side in (0, 1))
    return torch.stack(errors).sum(), dict(zip(("score real", "score fake"), means, strict=True))


def paper_objective(training: TrainingConfig, device: torch.device) -> Objective:
    """The objective of a preset with `recipe: paper`; its discriminator is on `device`."""
    opponent, critic, config = None, None, training.refinement
    if config is not None and config.adversarial:
        critic = build_discriminator(config)
        critic = on_device(critic, device).train()
        against = Objective(judge, critic_loss, as_video=lambda module: module)
        opponent = Critic(critic, against, config.learning_rate, config.beta1, None)
    recipe = PaperRecipe(training, critic)
    return Objective(recipe.run, recipe.loss, lambda model: model, opponent)
