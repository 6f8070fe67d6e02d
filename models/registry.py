"""The registry: one entry for each network, and building one by its name.

To register a network, write its settings in settings.py and one entry here. Reading and writing of
weight files is in weights_io.py, turning the original authors' tensors into ours in convert.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from derain.configs.schema import Strict, explain
from derain.models import settings as schema
from derain.models.errors import DerainError

if TYPE_CHECKING:
    from derain.models.video_model import Network

WEIGHTS = Path(__file__).parent / "weights"


class Foreign(NamedTuple):
    """Weights of a network's original authors.

    module: file in networks/ with `recognises(keys)` and `convert_reference(state_dict,
        channel_order, **settings)`.
    channel_order: "bgr" or "rgb", of the images that the authors trained with.
    """

    module: str
    channel_order: str


@dataclass(frozen=True, slots=True)
class Entry:
    """All there is to know of one name that a user can say.

    target: "module:class or function" inside derain.models.networks, imported on first use.
    settings: what it is built with, as values of its schema.
    memory: bytes per pixel, held and working (`MemoryProfile`): the peak of a process on the CPU in
        float32, over two sizes of frames and of tiles.
    weights: file stem in models/weights; None where nothing is learned.
    per_frame: whether it is a single-image network, which `load_model` wraps in `PerFrame`.
    foreign: weights of other authors that can be read, under the name that converts them.
    """

    target: str
    summary: str
    settings: Strict
    memory: tuple[int, int]
    weights: str | None = None
    per_frame: bool = False
    foreign: Foreign | None = None


ENTRIES: dict[str, Entry] = {
    "swift": Entry(
        "swift:Swift",
        "default: two recurrent stages, made for CPUs",
        schema.SwiftSettings(),
        memory=(220, 480),
        weights="swift",
    ),
    "swift-plus": Entry(
        "swift:Swift",
        "the same network, larger, made for GPUs",
        schema.SwiftSettings(widths=(40, 80, 112), blocks=(2, 3), hidden=48),
        memory=(220, 750),
        weights="swift-plus",
    ),
    "swift-open": Entry(
        "swift:Swift",
        "swift trained on permissively licensed clips alone",
        schema.SwiftSettings(),
        memory=(220, 480),
        weights="swift-open",
    ),
    "median": Entry(
        "median:AlignedMedian",
        "aligned, gated order statistics, nothing learned",
        schema.MedianSettings(),
        memory=(110, 180),
    ),
    "two_stage": Entry(
        "two_stage:build",
        "the paper's two-stage recurrent network, slim and corrected",
        schema.TwoStageSettings(),
        memory=(230, 1100),
        weights="two_stage",
        foreign=Foreign("two_stage.convert", "rgb"),
    ),
    "rescan": Entry(
        "rescan:Rescan",
        "single image, recurrent stages",
        schema.RescanSettings(),
        memory=(80, 830),
        weights="rescan",
        per_frame=True,
        foreign=Foreign("rescan", "bgr"),
    ),
    "spanet": Entry(
        "spanet:SPANet",
        "single image, spatial attention",
        schema.SPANetSettings(),
        memory=(60, 1700),
        weights="spanet",
        per_frame=True,
        foreign=Foreign("spanet", "bgr"),
    ),
    "dcsfn": Entry(
        "dcsfn:Dcsfn",
        "single image, cross-scale fusion",
        schema.DcsfnSettings(),
        memory=(60, 6100),
        weights="dcsfn",
        per_frame=True,
        foreign=Foreign("dcsfn", "bgr"),
    ),
    "remaen": Entry(
        "remaen:ReMAEN",
        "single image, multi-scale aggregation",
        schema.ReMAENSettings(),
        memory=(60, 3100),
        weights="remaen",
        per_frame=True,
        foreign=Foreign("remaen", "bgr"),
    ),
}


def list_models(pattern: str = "*") -> list[str]:
    """Names that `create_model` and `load_model` take, filtered by a shell pattern."""
    return [name for name in ENTRIES if fnmatch(name, pattern)]


def find_entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
        DerainError: there is none.
    """
    if name not in ENTRIES:
        raise DerainError(f"There is no model '{name}'; choose one of {', '.join(ENTRIES)}.")
    return ENTRIES[name]


def check_settings(name: str, given: dict[str, object]) -> dict[str, object]:
    """All settings of a network: the registered ones, and over them those `given`.

    Raises:
        DerainError: unknown name or setting, or a value of the wrong kind or beyond its limits.
    """
    registered = find_entry(name).settings
    kind = type(registered)
    try:
        chosen = kind.model_validate(registered.model_dump() | given)
    except ValidationError as error:
        why = explain(error, kind, schema.RENAMED.get(kind)).removesuffix(".")
        raise DerainError(f"'{name}' cannot be built so: {why}.") from error
    return chosen.model_dump()


def create_model(name: str, **settings: object) -> Network:
    """Build a network by name with random weights; `settings` override the registered ones.

    Raises:
        DerainError: unknown name, or settings that do not fit.
    """
    from derain.models.video_model import Description, MemoryProfile

    entry, chosen = find_entry(name), check_settings(name, settings)
    module, attribute = entry.target.split(":")
    build: Callable[..., Network] = vars(import_module(f"derain.models.networks.{module}"))[
        attribute
    ]
    model = build(**chosen)
    model.memory_profile = MemoryProfile(*entry.memory)
    model.description = Description(name, chosen)
    return model


def weights_file(name: str) -> Path | None:
    """The file with the trained weights of `name`, or None where there is none."""
    stem = find_entry(name).weights
    path = WEIGHTS / f"{stem}.safetensors"
    return path if stem and path.is_file() else None


def is_ready(name: str) -> bool:
    """Whether `load_model(name)` needs no file: weights are shipped, or nothing is learned."""
    return find_entry(name).weights is None or weights_file(name) is not None
