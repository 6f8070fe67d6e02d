"""Networks, their registry and weights, and `Derainer`, which runs one over a stream of tensors.

Nothing here knows of video files (`derain.pipeline`) or of training (`derain.stages`).
"""

from .contract import DerainError, Output
from .derainer import Derainer
from .registry import create_model, list_models, load_model, save_model

__all__ = [
    "DerainError",
    "Derainer",
    "Output",
    "create_model",
    "list_models",
    "load_model",
    "save_model",
]
