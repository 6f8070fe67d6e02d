"""What a network may not do, whatever it has learned: bounds on the derained image.

They hold where nobody trains. Both are scaled by boldness (`caution_of` in swift.py).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Of the largest value. What changes by less than the difference of the two is kept whole.
STANDING, RAMP = 6 / 255, 4 / 255
PASSING = 1.25  # times a change is what may be taken off: rain may hide behind what moves


def keep_standing(
    image: Tensor, clear: Tensor, change: Tensor, gain: Tensor, standing: Tensor
) -> Tensor:
    """Keep what stands still on the frame: captions, logos and walls do, rain does not.

    What hardly changes is kept whole, and no more is taken off or put on than what passes can have
    changed: light that was there before and is there after is no rain's.

    Args:
        image: (B, 3, H, W), derained.
        clear: (B, 3, H, W), the frame without haze.
        change: (B, 1, H, W), from `change_that_stays`.
        gain: (B, 1, H, W), 1 / transmission, by which haze has thinned the change.
        standing: (B, 1, 1, 1), the change from which on nothing is kept whole: `STANDING`, less of
            it the bolder, 0 to hold nothing.
    """
    free = (1 - standing / STANDING).clamp_min(0).square()
    bound = PASSING * gain * change + free
    bounded = clear + torch.minimum(torch.maximum(image - clear, -bound), bound)
    return torch.lerp(bounded, clear, ((standing - change) / RAMP).clamp(0, 1))


def darken_transients(image: Tensor, bound: Tensor, caution: Tensor) -> Tensor:
    """Take off what is brighter than the neighbours, the more the less caution there is.

    The network leaves rain in doubt; what is brighter than three of four aligned neighbours may be
    rain and may be anything else that passes.

    Args:
        image: (B, 3, H, W), derained, in [0, 1].
        bound: (B, 3, H, W), the second brightest of the neighbours.
        caution: (B, 1, 1, 1): at 1 nothing is taken off, at 0 all that lies above the bound.
    """
    return image - (1 - caution).clamp(0, 1) * (image - bound.clamp(0, 1)).clamp_min(0)
