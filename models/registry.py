"""The registry: names of networks, how to build them, and reading and writing of weight files.

A weight file is safetensors whose metadata holds the architecture's name and settings, so that
`load_model(path)` needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from derain.models.convert import NETWORKS, is_reference, load_reference
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name a user can say: the module and class behind it, its settings and its weights."""

    target: str  # "module:Class" inside derain.models, imported on first use
    settings: dict[str, Any]
    summary: str
    weights: str | None = None  # file stem in models/weights; None where nothing is learned
    per_frame: bool = False  # a single-image network, wrapped in PerFrame by load_model


ENTRIES: dict[str, Entry] = {
    "swift": Entry(
        "swift:Swift", {}, "default: two recurrent stages, made for CPUs", weights="swift"
    ),
    "swift-plus": Entry(
        "swift:Swift",
        {"widths": (40, 80, 112), "blocks": (2, 3), "hidden": 48},
        "the same network, larger, made for GPUs",
        weights="swift-plus",
    ),
    "swift-open": Entry(
        "swift:Swift",
        {},
        "swift trained on permissively licensed clips alone",
        weights="swift-open",
    ),
    "median": Entry("median:AlignedMedian", {}, "aligned, gated order statistics, nothing learned"),
    "two_stage": Entry(
        "two_stage:TwoStage",
        {},
        "the paper's two-stage recurrent network, slim and corrected",
        weights="two_stage",
    ),
    "rescan": Entry(
        "rescan:Rescan", {}, "single image, recurrent stages", weights="rescan", per_frame=True
    ),
    "spanet": Entry(
        "spanet:SPANet", {}, "single image, spatial attention", weights="spanet", per_frame=True
    ),
    "dcsfn": Entry(
        "dcsfn:Dcsfn", {}, "single image, cross-scale fusion", weights="dcsfn", per_frame=True
    ),
    "remaen": Entry(
        "remaen:ReMAEN",
        {},
        "single image, multi-scale aggregation",
        weights="remaen",
        per_frame=True,
    ),
}


def list_models(pattern: str = "*") -> list[str]:
    """Names that `create_model` and `load_model` take, filtered by a shell pattern."""
    return [name for name in ENTRIES if fnmatch(name, pattern)]


def _entry(name: str) -> Entry:
    if name not in ENTRIES:
        raise DerainError(f"There is no model '{name}'; choose one of {', '.join(ENTRIES)}.")
    return ENTRIES[name]


def create_model(name: str, **settings: Any) -> nn.Module:
    """Build a network by name with random weights; `settings` override the registered ones."""
    entry = _entry(name)
    module, attribute = entry.target.split(":")
    build: Callable[..., nn.Module] = getattr(
        import_module(f"derain.models.networks.{module}"), attribute
    )
    chosen = entry.settings | settings
    model = build(**chosen)
    _describe(model, {"name": name, "settings": chosen})
    return model


def description_of(model: nn.Module) -> dict[str, Any]:
    """The name and settings that a network of this registry was built with."""
    found: dict[str, Any] = model.description  # type: ignore[assignment]
    return found


def _describe(model: nn.Module, description: dict[str, Any]) -> None:
    model.description = description  # type: ignore[assignment]


def weights_file(name: str) -> Path | None:
    """The file with the trained weights of `name`, or None where there is none."""
    stem = _entry(name).weights
    path = WEIGHTS / f"{stem}.safetensors"
    return path if stem and path.is_file() else None


def is_ready(name: str) -> bool:
    """Whether `load_model(name)` needs no file: weights are shipped, or nothing is learned."""
    return _entry(name).weights is None or weights_file(name) is not None


def load_model(name_or_path: str | Path, weights: str | Path | None = None) -> nn.Module:
    """Build a network with trained weights, in float32 and in evaluation mode.

    Single-image networks come wrapped in `PerFrame`. Files of the networks' original authors are
    recognised by their keys (convert.py).

    Args:
        name_or_path: a name of `list_models()`, or a weight file that says what it holds.
        weights: another weight file for the named network.

    Raises:
        DerainError: unknown name, missing or unreadable file, or weights of another network.
    """
    text = str(name_or_path)
    if weights is None and text not in ENTRIES and (Path(text).suffix or Path(text).is_file()):
        weights, text = Path(text), ""
    if text:
        entry = _entry(text)
        if weights is None and entry.weights is not None:
            weights = weights_file(text)
            if weights is None:
                raise DerainError(
                    f"No trained weights are shipped for '{text}'; name a file with --weights."
                )
    if weights is None:
        model = create_model(text)
    elif is_reference(weights):
        model = load_reference(weights, text if text in NETWORKS else None)
    else:
        state, description = read_weights(Path(weights))
        model = create_model(description["name"], **description["settings"])
        _load_strict(model, state, Path(weights))
        _describe(model, description)
    name = description_of(model)["name"]
    if text and _entry(text).target != _entry(name).target:
        raise DerainError(f"{weights} holds weights of '{name}', not of '{text}'.")
    if _entry(name).per_frame:
        wrapped = PerFrame(model)
        _describe(wrapped, description_of(model))
        return wrapped.eval()
    return model.eval()


def _load_strict(model: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    try:
        missing, unexpected = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise DerainError(
            f"{path} does not fit the network: {str(error).splitlines()[-1].strip()}"
        ) from error
    if missing or unexpected:
        raise DerainError(
            f"{path} does not fit the network: missing {missing[:4]}, unexpected {unexpected[:4]}."
        )


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read a weight file: float32 tensors by name, and its description (name, settings)."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DerainError(f"There is no weight file {path}; check the path given to --weights.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            keys = list(file.keys())
            state = {key: file.get_tensor(key) for key in keys}
    except SafetensorError as error:
        raise DerainError(f"{path} is not a readable safetensors file ({error}).") from error
    if "derain" not in metadata:
        raise DerainError(
            f"{path} does not say which network it is for; it was not written by derain."
        )
    description = json.loads(metadata["derain"])
    _entry(description["name"])
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, description


def save_model(
    model: nn.Module,
    path: str | Path,
    *,
    state: dict[str, torch.Tensor] | None = None,
    dtype: torch.dtype = torch.float16,
    note: dict[str, Any] | None = None,
) -> None:
    """Write a model's weights (or `state`, e.g. an average) with its name and settings.

    Args:
        note: more JSON for the metadata, such as steps and data.
    """
    from safetensors.torch import save_file

    description = description_of(model) | {"note": note or {}}
    tensors = {
        k: (v.to(dtype) if v.is_floating_point() else v).detach().cpu().contiguous().clone()
        for k, v in (state or model.state_dict()).items()
    }
    save_file(tensors, str(path), metadata={"derain": json.dumps(description)})
