"""The schema of validation pairs (configs/validation.yaml): which rain falls on which clip.

How a pair is rendered and how its amount of rain was found is in
`derain.stages.data.validation_pairs`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, Field, model_validator

from derain.configs.schema import Strict

Level = Literal["light", "heavy", "haze"]


class _Entry(Strict):
    model_config = ConfigDict(frozen=False)  # calibration sets what it finds


class Target(_Entry):
    """What a level means: RGB PSNR of the rainy input in dB, and how far off it may be."""

    psnr: float
    tolerance: float = Field(gt=0)


class PairEntry(_Entry):
    """One rainy version of a clip."""

    rain: str  # a name of `rains`
    seed: int
    airlight: tuple[float, float, float] | None = None  # in place of the rain's own
    strength: float = 1.0  # found: scales the brightness of streaks
    haze: float = 0.0  # found: optical thickness
    psnr: float = 0.0  # of the rainy input, checked at each use


class ClipEntry(_Entry):
    """One clean clip. `camera` says how it moves, so that figures can be given apart."""

    file: str
    camera: Literal["static", "moving"]
    frames: int = 0
    sha256: str = ""  # of the decoded RGB bytes
    pairs: dict[Level, PairEntry]


class ValidationSet(_Entry):
    """The whole file. `rains` holds fields of `derain.stages.data.rain.RainSettings` by name."""

    sha256: str = ""  # of everything else here
    levels: dict[Level, Target]
    rains: dict[str, dict[str, object]]
    clips: list[ClipEntry]

    @model_validator(mode="after")
    def _names_exist(self) -> ValidationSet:
        for clip in self.clips:
            for level, pair in clip.pairs.items():
                if pair.rain not in self.rains:
                    raise ValueError(f"{clip.file}, {level}: there is no rain '{pair.rain}'")
                if level not in self.levels:
                    raise ValueError(f"{clip.file}: level '{level}' has no target")
        return self

    def digest(self) -> str:
        """SHA-256 of all settings in canonical JSON, without `sha256` itself."""
        content = json.dumps(self.model_dump(mode="json", exclude={"sha256"}), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


HEADER = """\
# Validation pairs: clean clips with rain at fixed seeds. `derain eval` renders and checks them.
# Written by `derain eval --calibrate`, which finds strength and haze so that each rainy clip has
# the PSNR of its level; edit rains, seeds and levels by hand, then calibrate again.
"""


def read_validation(path: Path) -> ValidationSet:
    """Read and check a pairs file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, or not of this schema (pydantic's text says where).
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    return ValidationSet.model_validate(content)


def write_validation(pairs: ValidationSet, path: Path) -> None:
    """Write a pairs file with its hash brought up to date."""
    pairs = pairs.model_copy(update={"sha256": pairs.digest()})
    path.write_text(
        HEADER + yaml.safe_dump(pairs.model_dump(mode="json"), sort_keys=False, width=100)
    )
