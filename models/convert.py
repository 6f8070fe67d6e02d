"""Weights of the original authors: whose file it is, and reading it into our networks.

How a network's tensors are called is in that network's file, as `recognises(keys)` and
`convert_reference(state_dict, channel_order, **settings)`; weight files of our own are read and
written by registry.py.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from derain.models.errors import DerainError


class Network(NamedTuple):
    """Where a network's two functions are, imported on first use, and how it was trained."""

    module: str
    channel_order: str


NETWORKS = {
    "rescan": Network("rescan", "bgr"),
    "dcsfn": Network("dcsfn", "bgr"),
    "spanet": Network("spanet", "bgr"),
    "remaen": Network("remaen", "bgr"),
    "two_stage": Network("two_stage_convert", "rgb"),
}


def from_reference(
    name: str, state_dict: Mapping[str, Any], channel_order: str | None = None, **settings: Any
) -> nn.Module:
    """Build a network with weights of the original authors.

    Args:
        name: one of NETWORKS.
        state_dict: tensors under the authors' names, with or without a prefix `module.`; for
            "two_stage" a dict of three of these, {"res": …, "haze": …, "s2": …}.
        channel_order: of the pictures it was trained on. "bgr" weights are turned round, so that
            the network takes RGB; "rgb" ones are taken as they are. None: as its authors trained
            it, which is "bgr" for all but "two_stage".
        settings: what no tensor tells, such as the number of RESCAN's stages.

    Returns:
        The plain network in float32 and evaluation mode, with the `description` that `save_model`
        writes.

    Raises:
        DerainError: unknown name or order; tensors missing, unexpected or of the wrong shape.
    """
    from derain.models.registry import create_model

    network = _network(name)
    channel_order = channel_order or network.channel_order
    if channel_order not in ("bgr", "rgb"):
        raise DerainError(f"'{channel_order}' is not an order of channels; use bgr or rgb.")
    convert = import_module(f"derain.models.networks.{network.module}").convert_reference
    chosen, state = convert(flatten(state_dict), channel_order, **settings)
    model = create_model(name, **chosen)
    check_keys(name, model.state_dict(), state)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DerainError(f"These weights do not fit '{name}': {reason}") from error
    return model.eval()


def load_reference(
    path: str | Path,
    name: str | None = None,
    channel_order: str | None = None,
    **settings: Any,
) -> nn.Module:
    """Build a network from a file of the original authors, recognised by its keys.

    Args:
        path: a pickled state dict (`.pth`, `latest`), bare or as `net` of a checkpoint, or
            safetensors; nothing in it is executed.
        name: the network, where the keys shall not decide.
        channel_order, settings: as in `from_reference`.

    Raises:
        DerainError: the file is missing, unreadable, of an unknown network, or does not fit.
    """
    path = Path(path)
    state = flatten(read_tensors(path))
    if name is None:
        name = recognise(state)
    if name is None:
        raise DerainError(
            f"{path} holds weights of no network known here ({', '.join(NETWORKS)}): it has "
            f"tensors such as {some(state)}; name the network to see which ones it misses."
        )
    try:
        return from_reference(name, state, channel_order, **settings)
    except DerainError as error:
        raise DerainError(f"{path}: {error}") from error


def convert_file(
    source: str | Path,
    target: str | Path,
    name: str | None = None,
    channel_order: str | None = None,
    **settings: Any,
) -> nn.Module:
    """Write the weights of an original file as one of ours, in float32, and return the network.

    Raises:
        DerainError: as `load_reference`, or the target is there already or cannot be written.
    """
    from safetensors import SafetensorError

    from derain.models.registry import save_model

    target = Path(target)
    if target.exists():
        raise DerainError(f"{target} exists; remove it or choose another name.")
    model = load_reference(source, name, channel_order, **settings)
    try:
        note = {"converted_from": Path(source).name}
        save_model(model, target, dtype=torch.float32, note=note)
    except (OSError, SafetensorError) as error:
        raise DerainError(f"{target} cannot be written ({error}); choose another place.") from error
    return model


def is_reference(path: str | Path) -> bool:
    """Whether this is an existing file that was not written by `save_model`."""
    path = Path(path)
    if not path.is_file():
        return False
    if not _is_safetensors(path):
        return True
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return "derain" not in (file.metadata() or {})
    except SafetensorError:
        return True


def recognise(keys: Iterable[str]) -> str | None:
    """The name of the network whose original has such keys, or None."""
    present = set(keys)
    for name, network in NETWORKS.items():
        if import_module(f"derain.models.networks.{network.module}").recognises(present):
            return name
    return None


def read_tensors(path: Path) -> Mapping[str, Any]:
    """What a pickled or safetensors file holds, on the CPU.

    Raises:
        DerainError: no such file, not a weight file, or a pickle with more than plain data.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise DerainError(f"There is no weight file {path}; check the path.")
    try:
        if _is_safetensors(path):
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickles of another protocol
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        raise DerainError(
            f"{path} is not a file of tensors that can be read safely ({_why(error)}); "
            "save the network's state dict alone and try again."
        ) from error
    if not isinstance(content, Mapping):
        raise DerainError(
            f"{path} holds a {type(content).__name__}, no state dict; save the state dict alone."
        )
    return content


def _why(error: Exception) -> str:
    """What is wrong with a pickle, without torch's advice on how to run the code in it."""
    if isinstance(error, pickle.UnpicklingError):
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        return f"it holds an object of {kind[1]}" if kind else "it holds more than tensors"
    if isinstance(error, (KeyError, EOFError)):
        return "it is no pickle"
    return str(error).strip().split("\n")[0].rstrip(".")


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # its header is JSON, after eight bytes of length


def flatten(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """One flat state dict in float32: a checkpoint's `net` unpacked, prefixes `module.` gone.

    State dicts inside are joined with a dot: {"res": {"a": …}} gives "res.a".

    Raises:
        DerainError: something in it is no tensor.
    """
    if isinstance(state.get("net"), Mapping):
        state = state["net"]
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


def collect(
    title: str,
    state_dict: Mapping[str, Tensor],
    table: Mapping[str, list[str]],
    unused: Collection[str] = (),
) -> dict[str, Tensor]:
    """Join the original's tensors to ours along the first axis, by a table of ours -> theirs.

    Args:
        title: the network's name, for the error.
        unused: keys that the original has but never computes with; they may be there or not.

    Raises:
        DerainError: tensors are missing or unexpected, or their shapes cannot be joined.
    """
    used = {key: None for theirs in table.values() for key in theirs}
    check_keys(title, used, {key: None for key in state_dict if key in used or key not in unused})
    state = {}
    for ours, theirs in table.items():
        try:
            state[ours] = torch.cat([state_dict[key] for key in theirs])
        except RuntimeError as error:
            raise DerainError(
                f"These are not the weights of {title}: the shapes of {theirs} do not agree."
            ) from error
    return state


def check_keys(title: str, wanted: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise a DerainError that names missing and unexpected keys, if there are any."""
    missing = [key for key in wanted if key not in given]
    unexpected = [key for key in given if key not in wanted]
    if missing or unexpected:
        raise DerainError(
            f"These are not the weights of {title}: "
            f"missing {some(missing)}, unexpected {some(unexpected)}."
        )


def some(keys: Collection[str], most: int = 4) -> str:
    """The first few of many keys, for a message."""
    first = ", ".join(list(keys)[:most]) or "none"
    return first if len(keys) <= most else f"{first} and {len(keys) - most} more"


def _network(name: str) -> Network:
    if name not in NETWORKS:
        raise DerainError(
            f"There are no original weights for '{name}'; choose one of {', '.join(NETWORKS)}."
        )
    return NETWORKS[name]
