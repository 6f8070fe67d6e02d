"""The schema of what single-image networks and pairs from disk add to a training preset.

The preset itself is training.py's; what the settings do is in `stages/losses/single_image.py`
and `stages/data/image_pairs.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from derain.configs.schema import Strict


class SingleImageConfig(Strict):
    """A single-image network by its paper's loss; settings of other losses have no effect."""

    loss: Literal["rescan", "remaen", "dcsfn", "spanet"]
    # RESCAN: every image's squared error in decibels, so that dry images stay as they are.
    decibels: bool = False
    edge: float = Field(0.1, ge=0)  # ReMAEN: weight of the edge maps' difference
    l1: float = Field(0.0, ge=0)  # DCSFN: weight of an L1 term, which SSIM alone lacks
    attention: float = Field(1.0, ge=0)  # SPANet: weight of the attention map's error
    # SPANet: a pixel is rainy where a channel differs by more than this; 0 is any difference, as
    # the authors count, which on JPEG is nearly everywhere.
    tolerance: float = Field(8 / 255, ge=0)


class PairsConfig(Strict):
    """Pairs from disk in place of rendered rain."""

    folder: str  # or a list file
    layout: str  # a name of `derain.stages.data.image_pairs.LAYOUTS` or `DATA_SETS`
    clean_side: Literal["left", "right"] | None = None  # of images that hold both
    validation: str | None = None  # a folder or list of the same layout
    distort: bool = False  # stretch each side by 3/4 to 5/4 and turn by up to 30 degrees
