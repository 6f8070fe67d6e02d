"""Stage 1: recovery guided by the physics of rain, I = (1 - a) (t B + (1 - t) A + S) + a M.

Every layer that a network estimates is held to the one that was rendered: the recovered frame J,
the hazy frame H, transmission t and airlight A, and where asked for the streaks S and the occlusion
a. `training_loss` is all training with truth, of one stage or of two; what stage 2 adds to it is
refinement.py's.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from derain.configs.training import LossConfig
from derain.models.contract import Output
from derain.models.physics import T_MIN, veil
from derain.stages.data import Batch
from derain.stages.losses import Objective, Terms, decibel_loss, picture_losses, weighted


def share_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of shares in [0, 1], less that of the truth: zero where the two agree.

    Its gradient does not vanish where the sigmoid of a head saturates.
    """
    p, q = estimate.clamp(1e-5, 1 - 1e-5), truth.clamp(1e-5, 1 - 1e-5)
    return (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean()


def transmission_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """`share_loss` of t as a share of its range.

    Under an L1 loss a network that starts at t = 1 stays there and never learns to see haze.
    """
    return share_loss((estimate - T_MIN) / (1 - T_MIN), (truth - T_MIN) / (1 - T_MIN))


def physics_losses(output: Output, batch: Batch) -> Terms:
    """The layers that the network has; each (B, T, C, H, W).

    The airlight counts only as far as there is haze to see it by, streaks only where no drop hides
    them.
    """
    hazy = veil(batch.clean, batch.transmission, batch.airlight)
    assert output.recovered is not None and output.hazy is not None
    assert output.transmission is not None and output.airlight is not None
    weight = (1 - batch.transmission).mean((-1, -2), keepdim=True)
    terms = {
        "recovered": decibel_loss(output.recovered, batch.clean),
        "hazy": decibel_loss(output.hazy, hazy),
        "transmission": transmission_loss(output.transmission, batch.transmission),
        "airlight": (weight * (output.airlight - batch.airlight).abs()).mean(),
    }
    if output.streaks is not None:
        error = (output.streaks - batch.streaks).abs()
        terms["streaks"] = ((1 - batch.occlusion) * error).mean()
    if output.occlusion is not None:
        terms["occlusion"] = share_loss(output.occlusion, batch.occlusion)
    return terms


def training_loss(output: Output, batch: Batch, weights: LossConfig) -> tuple[Tensor, Terms]:
    """The weighted sum, and its terms before weighting."""
    terms = picture_losses(output.image, batch.clean)
    if output.recovered is not None:
        terms |= physics_losses(output, batch)
    return weighted(terms, weights), terms


def video_objective(weights: LossConfig) -> Objective:
    """Of networks under the contract: clips in, `training_loss` of all their frames."""
    return Objective(
        run=lambda model, batch: model(batch.rainy)[0],
        loss=partial(training_loss, weights=weights),
        as_video=lambda model: model,
    )
