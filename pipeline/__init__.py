"""What a user runs. `derain_video` is the whole main job as one function."""

from __future__ import annotations

import derain.models  # noqa: F401  (says how torch's threads wait, before torch is loaded)

__all__ = ["VideoOptions", "derain_video"]


def __getattr__(name: str) -> object:
    # PyTorch and PyAV take seconds to load: only when something is really used.
    if name in __all__:
        from derain.pipeline.streaming import derain_video

        return getattr(derain_video, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
