"""The physics of rain, shared by the networks, the losses and the renderer.

The model (specification of the two-stage recurrent network, section 4.3):

    I = (1 - a) * (t * B + (1 - t) * A + S) + a * M

with the clean background B, additive streaks S, occlusion a in [0, 1] by drops of colour M,
transmission t in [T_MIN, 1] and airlight A in [0, 1]. All images are float32 RGB in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

T_MIN = 0.1  # a thinner transmission cannot be inverted without drowning in noise


def add_haze(clean: Tensor, transmission: Tensor, airlight: Tensor) -> Tensor:
    """Put haze on: H = t B + (1 - t) A. Shapes broadcast over (…, C, H, W).

    Args:
        clean: (…, 3, H, W), B in [0, 1].
        transmission: (…, 1, H, W), t in [0, 1].
        airlight: (…, 3, 1, 1), A in [0, 1].
    """
    return airlight + transmission * (clean - airlight)


def compose_rain(
    clean: Tensor,
    transmission: Tensor,
    airlight: Tensor,
    streaks: Tensor,
    occlusion: Tensor,
    drops: Tensor,
) -> Tensor:
    """The rainy frame I of the model above, not clamped.

    Args:
        clean: (…, 3, H, W), B in [0, 1].
        transmission: (…, 1, H, W), t in [0, 1].
        airlight: (…, 3, 1, 1), A in [0, 1].
        streaks: (…, 3, H, W), S, 0 or more.
        occlusion: (…, 1, H, W), a in [0, 1].
        drops: (…, 3, 1, 1), M, the colour of opaque drops.
    """
    return torch.lerp(add_haze(clean, transmission, airlight) + streaks, drops, occlusion)


def remove_streaks(rainy: Tensor, streaks: Tensor, occlusion: Tensor, fill: Tensor) -> Tensor:
    """Take the rain off the hazy frame: H = (1 - a) (I - S) + a * fill.

    `fill` is another estimate of the hazy frame, such as the aligned median: what an opaque drop
    hides is not in I.

    Args:
        rainy: (…, 3, H, W), I.
        streaks: (…, 3, H, W), S.
        occlusion: (…, 1, H, W), a in [0, 1].
        fill: (…, 3, H, W).
    """
    return torch.lerp(rainy - streaks, fill, occlusion)


def dehaze(hazy: Tensor, transmission: Tensor, airlight: Tensor) -> Tensor:
    """Take the haze off: J = A + (H - A) / t, with t held at T_MIN or above. Not clamped.

    Args:
        hazy: (…, 3, H, W), H.
        transmission: (…, 1, H, W), t in [0, 1].
        airlight: (…, 3, 1, 1), A in [0, 1].
    """
    return airlight + (hazy - airlight) / transmission.clamp_min(T_MIN)


def see_through(hazy: Tensor, gain: Tensor, airlight: Tensor) -> Tensor:
    """What `dehaze` gives, from 1 / t, which several images of one haze share.

    Args:
        hazy: (B, 3, H, W), H in [0, 1].
        gain: (B, 1, H, W), 1 / t.
        airlight: (B, 3, 1, 1), A in [0, 1].
    """
    # In this order the result has the layout of `hazy`.
    return torch.addcmul(hazy * gain, airlight, 1 - gain)


def has_haze(gain: Tensor) -> bool:
    """Whether `see_through` changes anything, from (B, 1, H, W), 1 / t.

    Told on the CPU alone, and without gradients: nobody waits for another device to tell.
    """
    return gain.device.type != "cpu" or torch.is_grad_enabled() or bool((gain != 1).any())


def recompose(
    rainy: Tensor,
    clean: Tensor,
    transmission: Tensor | None,
    airlight: Tensor | None,
    streaks: float,
    haze: float,
) -> Tensor:
    """Put back a share of what was taken off.

    `streaks` and `haze` say how much to remove: (1, 1) gives `clean`, (0, 0) gives `rainy` exactly.
    What haze alone explains is t B + (1 - t) A; everything else of the rainy frame is streaks.
    Haze is thinned by the exponent, t ** (1 - haze), as if the air held less of it.

    Args:
        rainy: (…, 3, H, W), what the network was given.
        clean: (…, 3, H, W), its output.
        transmission: (…, 1, H, W); None where the network estimates none.
        airlight: (…, 3, 1, 1), or None.
        streaks: share of the streaks to remove, in [0, 1].
        haze: share of the haze to remove, in [0, 1].
    """
    if transmission is None or airlight is None:
        return torch.lerp(rainy, clean, streaks)
    hazy = add_haze(clean, transmission, airlight)
    kept = add_haze(clean, transmission ** (1 - haze), airlight)
    return (kept + (1 - streaks) * (rainy - hazy)).clamp(0, 1)
