"""Weights of the original authors: whose they are, and turning them into ours.

How a network's tensors are called is in that network's file, as `recognises(keys)` and
`convert_reference(state_dict, channel_order, **settings)`; files are read by weights_io.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import ModuleType

from torch import Tensor

from derain.models.errors import DerainError
from derain.models.ops.key_tables import check_keys
from derain.models.registry import ENTRIES, Foreign, create_model
from derain.models.video_model import Network

FOREIGN = {name: entry.foreign for name, entry in ENTRIES.items() if entry.foreign is not None}


def from_reference(
    name: str,
    state_dict: Mapping[str, object],
    channel_order: str | None = None,
    **settings: object,
) -> Network:
    """Build a network with weights of the original authors.

    Args:
        name: one of FOREIGN.
        state_dict: tensors under the authors' names, with or without a prefix `module.`; for
            "two_stage" a dict of three of these, {"res": …, "haze": …, "s2": …}.
        channel_order: of the images it was trained on. "bgr" weights are turned round, so that
            the network takes RGB; "rgb" ones are taken as they are. None: as its authors trained
            it, which is "bgr" for all but "two_stage".
        settings: what no tensor tells, such as the number of RESCAN's stages.

    Returns:
        The plain network in float32 and evaluation mode, with the `description` that `save_model`
        writes.

    Raises:
        DerainError: unknown name or order; tensors missing, unexpected or of the wrong shape.
    """
    if name not in FOREIGN:
        raise DerainError(
            f"There are no original weights for '{name}'; choose one of {', '.join(FOREIGN)}."
        )
    channel_order = channel_order or FOREIGN[name].channel_order
    if channel_order not in ("bgr", "rgb"):
        raise DerainError(f"'{channel_order}' is not an order of channels; use bgr or rgb.")
    convert = _module(FOREIGN[name]).convert_reference
    chosen, state = convert(flatten(state_dict), channel_order, **settings)
    model = create_model(name, **chosen)
    check_keys(name, model.state_dict(), state)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DerainError(f"These weights do not fit '{name}': {reason}") from error
    return model.eval()


def recognise(keys: Iterable[str]) -> str | None:
    """The name of the network whose original has such keys, or None."""
    present = set(keys)
    for name, foreign in FOREIGN.items():
        if _module(foreign).recognises(present):
            return name
    return None


def _module(foreign: Foreign) -> ModuleType:
    return import_module(f"derain.models.networks.{foreign.module}")


def flatten(state: Mapping[str, object]) -> dict[str, Tensor]:
    """One flat state dict in float32: a checkpoint's `net` unpacked, prefixes `module.` gone.

    State dicts inside are joined with a dot: {"res": {"a": …}} gives "res.a".

    Raises:
        DerainError: something in it is no tensor.
    """
    inside = state.get("net")
    state = inside if isinstance(inside, Mapping) else state
    flat: dict[str, Tensor] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": tensor for inner, tensor in flatten(value).items()}
        elif isinstance(value, Tensor):
            value = value.float() if value.is_floating_point() else value
            flat[str(key).removeprefix("module.")] = value
        else:
            raise DerainError(
                f"'{key}' is a {type(value).__name__}, not a tensor; give the state dict alone."
            )
    return flat
