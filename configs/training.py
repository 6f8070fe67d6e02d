"""The schema of training presets (`configs/*.yaml`), checked before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from derain.configs.single_image import PairsConfig, SingleImageConfig


class Strict(BaseModel):
    """A misspelt key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Clean clips and what is done to them. Shares are shares of samples."""

    clips: str = "data/train"  # folder of clips or of frame folders
    validation: str | None = "data/val"  # clips never trained on; None to skip validation
    licence_classes: tuple[str, ...] | None = None  # keep only these of ../MANIFEST.csv
    frames: int = Field(11, ge=1)
    crop: int = Field(104, ge=32, multiple_of=8)
    batch: int = Field(4, ge=1)
    workers: int = Field(1, ge=0)
    scale: tuple[float, float] = (0.35, 2.0)
    clean_share: float = Field(0.2, ge=0, le=1)  # no rain at all: do no harm
    haze_share: float = Field(0.33, ge=0, le=1)
    still_share: float = Field(0.2, ge=0, le=1)  # a panned still with stems, snow, jerks
    overlay_share: float = Field(0.15, ge=0, le=1)  # captions and logos that stand still
    noise_share: float = Field(0.4, ge=0, le=1)  # camera noise, in input and target alike
    jpeg_share: float = Field(0.25, ge=0, le=1)  # compression, of input and target alike
    restore_share: float = Field(0.05, ge=0, le=1)  # noise and compression in the input alone


class LossConfig(Strict):
    """Weights of the loss terms (stages/losses.py)."""

    image: float = 1.0
    recovered: float = 0.5
    hazy: float = 1.0
    transmission: float = 0.05
    airlight: float = 0.25
    ssim: float = 0.05
    temporal: float = 0.2


class TrainingConfig(Strict):
    """One training run."""

    model: str
    settings: dict[str, Any] = {}
    init: str | None = None  # weight file to start from
    data: DataConfig = DataConfig()
    pairs: PairsConfig | None = None  # in place of the rain rendered on data.clips
    loss: LossConfig = LossConfig()
    single_image: SingleImageConfig | None = None  # in place of loss, for such networks
    steps: int = Field(20000, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(100, ge=0)
    # Shares of the run at which the rate falls to a tenth; without any it falls by a cosine.
    drops: tuple[float, ...] = ()
    weight_decay: float = 1e-4
    clip_gradient: float = 1.0
    ema: float = Field(0.999, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 1
    log_every: int = 50
    validate_every: int = 1000
    save_every: int = 500


def load_training(path: Path, overrides: list[str]) -> TrainingConfig:
    """Read a preset and apply `key.sub=value` overrides (values are YAML).

    Raises:
        ValueError: unreadable file or a setting that does not fit, with its place.
    """
    try:
        raw = yaml.safe_load(path.read_text()) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {error}") from error
    for item in overrides:
        key, sign, value = item.partition("=")
        if not sign:
            raise ValueError(f"--set wants key=value, not '{item}'.")
        *parents, leaf = key.split(".")
        place = raw
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = yaml.safe_load(value)
    try:
        return TrainingConfig(**raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(x) for x in first["loc"])
        raise ValueError(f"{path}: {where}: {first['msg']}") from error
