"""Weight files: reading what anybody made, writing our own.

Ours are safetensors whose metadata holds the network's name and settings, so that
`load_model(path)` needs nothing else. Files of the networks' original authors are known by their
keys (convert.py). No file is trusted: nothing in it is executed, settings have limits, and shapes
are compared before memory is taken.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from derain.models.convert import FOREIGN, flatten, from_reference, recognise
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.ops.key_tables import some
from derain.models.registry import (
    ENTRIES,
    check_settings,
    create_model,
    find_entry,
    weights_file,
)
from derain.models.video_model import Description, Network, VideoModel
from derain.models.whole_file import write_whole

FLOATS = {"F64", "F32", "F16", "BF16"}  # what safetensors calls the types that weights may have


class Metadata(BaseModel):
    """What the metadata of a weight file says of its network."""

    model_config = ConfigDict(strict=True)

    name: str
    settings: dict[str, object]
    note: dict[str, object] = {}


def load_model(name_or_path: str | Path, weights: str | Path | None = None) -> VideoModel:
    """Build a network with trained weights, in float32 and in evaluation mode.

    Single-image networks come wrapped in `PerFrame`. Files of the networks' original authors are
    recognised by their keys (convert.py).

    Args:
        name_or_path: a name of `list_models()`, or a weight file that says what it holds.
        weights: another weight file for the named network.

    Raises:
        DerainError: unknown name, missing or unreadable file, or weights of another network.
    """
    name = str(name_or_path)
    if weights is None and name not in ENTRIES and (Path(name).suffix or Path(name).is_file()):
        weights, name = Path(name), ""
    if name:
        entry = find_entry(name)
        if weights is None and entry.weights is not None:
            weights = weights_file(name)
            if weights is None:
                raise DerainError(
                    f"No trained weights are shipped for '{name}'; name a file with --weights."
                )
    if weights is None:
        model = create_model(name)
    elif is_reference(weights):
        model = load_reference(weights, name if name in FOREIGN else None)
    else:
        model = read_network(Path(weights))
    found = model.description.name
    if name and find_entry(name).target != find_entry(found).target:
        raise DerainError(f"{weights} holds weights of '{found}', not of '{name}'.")
    return as_video_model(model)


def as_video_model(model: Network) -> VideoModel:
    """The network under the contract, in evaluation mode; single-image ones in `PerFrame`."""
    if isinstance(model, VideoModel):
        return model.eval()
    return PerFrame(model).eval()


def read_network(path: Path) -> Network:
    """Build the network that a weight file of ours describes, with the file's weights.

    Raises:
        DerainError: as `read_weights`, or the tensors are not those of that network.
    """
    description, shapes = _read_header(path)
    with torch.device("meta"):  # the shapes, without memory for them
        wanted = create_model(description.name, **description.settings).state_dict()
    missing = [key for key in wanted if key not in shapes]
    unexpected = [key for key in shapes if key not in wanted]
    if missing or unexpected:
        raise DerainError(
            f"{path} does not fit the network: missing {some(missing)}, "
            f"unexpected {some(unexpected)}."
        )
    for key, tensor in wanted.items():
        if shapes[key] != list(tensor.shape):
            raise DerainError(
                f"{path} does not fit the network: '{key}' is {shapes[key]} in it and "
                f"{list(tensor.shape)} in '{description.name}' with its settings."
            )
    model = create_model(description.name, **description.settings)
    model.load_state_dict(read_weights(path)[0])
    model.description = description
    return model


def read_weights(path: Path) -> tuple[dict[str, Tensor], Description]:
    """Read a weight file of ours: float32 tensors by name, and what they are of.

    Raises:
        DerainError: no such file, not readable, not written by derain, or settings out of limits.
    """
    description, _ = _read_header(path)
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise DerainError(f"{path} is not a readable safetensors file ({error}).") from error
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    return state, description


def _read_header(path: Path) -> tuple[Description, dict[str, list[int]]]:
    """A file's description and the shapes of its tensors; none of them is read."""
    if not path.is_file():
        raise DerainError(f"There is no weight file {path}; check the path given to --weights.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("derain")
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {key: list(each.get_shape()) for key, each in slices.items()}
            kinds = {each.get_dtype() for each in slices.values()}
    except (SafetensorError, OSError) as error:
        raise DerainError(f"{path} is not a readable safetensors file ({error}).") from error
    if text is None:
        raise DerainError(
            f"{path} does not say which network it is for; it was not written by derain."
        )
    if not kinds <= FLOATS:
        raise DerainError(
            f"{path} holds tensors of {', '.join(sorted(kinds - FLOATS))}, which are no weights."
        )
    try:
        found = Metadata.model_validate(json.loads(text))
        chosen = check_settings(found.name, found.settings)
    except (ValueError, RecursionError) as error:  # pydantic's is a ValueError
        raise DerainError(
            f"{path} does not describe its network by name and settings; get the file anew."
        ) from error
    except DerainError as error:
        raise DerainError(f"{path}: {error}") from error
    return Description(found.name, chosen, found.note), shapes


def save_model(
    model: Network,
    path: str | Path,
    *,
    state: dict[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float16,
    note: Mapping[str, object] | None = None,
) -> None:
    """Write a model's weights with its name and settings.

    Args:
        model: built by the registry.
        path: of the file to write.
        state: other weights of the same network, such as an average over training.
        dtype: of the weights in the file.
        note: more JSON for the metadata, such as steps and data.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    described = model.description
    metadata = {"name": described.name, "settings": described.settings, "note": note or {}}
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).detach().cpu().contiguous().clone()
        for k, v in (state or model.state_dict()).items()
    }
    content = to_bytes(tensors, metadata={"derain": json.dumps(metadata)})
    write_whole(Path(path), lambda file: file.write(content))


# Files of the original authors


def load_reference(
    path: str | Path,
    name: str | None = None,
    channel_order: str | None = None,
    **settings: object,
) -> Network:
    """Build a network from a file of the original authors, recognised by its keys.

    Args:
        path: a pickled state dict (`.pth`, `latest`), bare or as `net` of a checkpoint, or
            safetensors; nothing in it is executed.
        name: the network, where the keys shall not decide.
        channel_order: as in `from_reference`.
        settings: as in `from_reference`.

    Raises:
        DerainError: the file is missing, unreadable, of an unknown network, or does not fit.
    """
    path = Path(path)
    state = flatten(read_tensors(path))
    if name is None:
        name = recognise(state)
    if name is None:
        raise DerainError(
            f"{path} holds weights of no network known here ({', '.join(FOREIGN)}): it has "
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
    **settings: object,
) -> Network:
    """Write the weights of an original file as one of ours, in float32, and return the network.

    Args:
        source: as `path` of `load_reference`.
        target: the file to write; it must not be there yet.
        name: as in `load_reference`.
        channel_order: as in `from_reference`.
        settings: as in `from_reference`.

    Raises:
        DerainError: as `load_reference`, or the target is there already or cannot be written.
    """
    target = Path(target)
    if target.exists():
        raise DerainError(f"{target} exists; remove it or choose another name.")
    model = load_reference(source, name, channel_order, **settings)
    try:
        note = {"converted_from": Path(source).name}
        save_model(model, target, dtype=torch.float32, note=note)
    except OSError as error:
        raise DerainError(f"{target} cannot be written ({error}); choose another place.") from error
    return model


def is_reference(path: str | Path) -> bool:
    """Whether this is an existing file that was not written by `save_model`."""
    path = Path(path)
    if not path.is_file():
        return False
    if not _is_safetensors(path):
        return True
    try:
        with safe_open(path, framework="pt") as file:
            return "derain" not in (file.metadata() or {})
    except (SafetensorError, OSError):
        return True


def read_tensors(path: Path) -> Mapping[str, object]:
    """What a pickled or safetensors file holds, on the CPU.

    Raises:
        DerainError: no such file, not a weight file, or a pickle with more than plain data.
    """
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
    if isinstance(error, (LookupError, EOFError)):
        return "it is no pickle"
    return str(error).strip().split("\n")[0].rstrip(".")


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # its header is JSON, after eight bytes of length
