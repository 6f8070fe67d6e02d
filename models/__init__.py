"""Networks, their registry and weights, and `Derainer`, which runs one over a stream of tensors.

Nothing here knows of video files (`derain.pipeline`) or of training (`derain.stages`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from derain.models.errors import DerainError
from derain.models.threads import set_wait_policy

if TYPE_CHECKING:
    from derain.models.output import Output
    from derain.models.registry import create_model, list_models
    from derain.models.runtime.derainer import Derainer
    from derain.models.video_model import VideoModel
    from derain.models.weights_io import load_model, save_model

set_wait_policy()

# Only when something is really used: torch takes seconds to load.
_HOMES = {
    "Derainer": "derain.models.runtime.derainer",
    "Output": "derain.models.output",
    "VideoModel": "derain.models.video_model",
    "create_model": "derain.models.registry",
    "list_models": "derain.models.registry",
    "load_model": "derain.models.weights_io",
    "save_model": "derain.models.weights_io",
}

__all__ = [
    "DerainError",
    "Derainer",
    "Output",
    "VideoModel",
    "create_model",
    "list_models",
    "load_model",
    "save_model",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
