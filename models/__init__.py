"""Networks, their registry and weights, and `Derainer`, which runs one over a stream of tensors.

Nothing here knows of video files (`derain.pipeline`) or of training (`derain.stages`).
"""

from derain.models.contract import DerainError, Output
from derain.models.derainer import Derainer
from derain.models.registry import create_model, list_models, load_model, save_model

__all__ = [
    "DerainError",
    "Derainer",
    "Output",
    "create_model",
    "list_models",
    "load_model",
    "save_model",
]
