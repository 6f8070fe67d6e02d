"""`--quality`: three words in place of the names of networks."""

from __future__ import annotations

import os
from typing import Literal

Quality = Literal["fast", "balanced", "best"]
Kind = Literal["video", "image", "live"]

# By measured gain and speed (models/README.md). Stills have one shipped network worth its time.
NETWORKS: dict[Kind, dict[Quality, str]] = {
    "video": {"fast": "median", "balanced": "swift", "best": "swift-plus"},
    "image": {"fast": "rescan", "balanced": "rescan", "best": "rescan"},
    "live": {"fast": "median", "balanced": "swift", "best": "swift-plus"},
}


def choose_model(
    kind: Kind, model: str | None = None, weights: str | None = None, quality: Quality | None = None
) -> tuple[str, str | None]:
    """The network that a user means and the weights for it, as `load_model` takes them.

    Args:
        kind: what is to be derained.
        model: a name, which goes before all else.
        weights: a weight file; without a name it says itself which network it is for.
        quality: None is balanced.
    """
    if model is not None:
        return model, weights
    if weights is not None:
        # A file, though it be called as a network is.
        return os.path.join(os.curdir, weights), None
    return NETWORKS[kind][quality or "balanced"], None
