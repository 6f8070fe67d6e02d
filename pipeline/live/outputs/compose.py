"""The finished frame at the size of the source, whatever size the network worked at."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video.color import Residual


def residual_at(item: Finished, size: tuple[int, int]) -> NDArray[np.float32] | Residual:
    """What the network changed, scaled to `size` (width, height).

    The residual is what is scaled, never the image: where the network changes nothing, the pixels
    of the source stay as they are.
    """
    height, width = item.residual.before.shape[:2]
    if (width, height) == size:
        return item.residual
    return cv2.resize(item.residual.whole(), size, interpolation=cv2.INTER_LINEAR)
