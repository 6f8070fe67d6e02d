"""Networks, their registry and weights, and `Derainer`, which runs one over a stream of tensors.

Nothing here knows of video files (`derain.pipeline`) or of training (`derain.stages`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from derain.models.errors import DerainError

if TYPE_CHECKING:
    from derain.models.registry import create_model, list_models, load_model, save_model
    from derain.models.runtime.derainer import Derainer
    from derain.models.video_model import Output

# Only when something is really used: torch takes seconds to load.
_HOMES = {
    "Derainer": "derain.models.runtime.derainer",
    "Output": "derain.models.video_model",
    "create_model": "derain.models.registry",
    "list_models": "derain.models.registry",
    "load_model": "derain.models.registry",
    "save_model": "derain.models.registry",
}

__all__ = [
    "DerainError",
    "Derainer",
    "Output",
    "create_model",
    "list_models",
    "load_model",
    "save_model",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
