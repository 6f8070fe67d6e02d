"""The schema of training presets (`configs/*.yaml`), checked before anything is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from derain.configs.schema import Strict, explain, split_key_value
from derain.configs.single_image import PairsConfig, SingleImageConfig

# Names of version 0.1.0 that presets of users may hold.
RENAMED = {
    "glimpses": "thumbnails",
    "drops": "milestones",
    "clip_gradient": "max_grad_norm",
    **{f"glance_{x}": f"haze_{x}" for x in ("transmission", "airlight", "image")},
    **{
        f"{x}_share": f"{x}_prob"
        for x in ("clean", "haze", "still", "overlay", "noise", "jpeg", "restore", "real")
    },
}


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class DataConfig(Strict):
    """Clean clips and what is done to them. Shares are shares of samples."""

    clips: str | None = None  # folder of clips or of frame folders; needed where pairs are not set
    validation: str | None = None  # clips never trained on; None to skip validation
    licence_classes: tuple[str, ...] | None = None  # keep only these of ../MANIFEST.csv
    frames: int = Field(11, ge=1)
    crop: int = Field(104, ge=32, multiple_of=8)
    batch: int = Field(4, ge=1)  # of each process, at a time
    workers: int = Field(1, ge=0)
    thumbnails: int = Field(
        8, ge=0
    )  # small whole frames with each sample, for swift's haze_estimator
    scale: tuple[Positive, Positive] = (0.35, 2.0)  # least and greatest
    clean_prob: float = Field(0.2, ge=0, le=1)  # no rain at all: do no harm
    haze_prob: float = Field(0.33, ge=0, le=1)
    still_prob: float = Field(0.2, ge=0, le=1)  # a panned still with stems, snow, jerks
    overlay_prob: float = Field(0.15, ge=0, le=1)  # captions and logos that stand still
    noise_prob: float = Field(0.4, ge=0, le=1)  # camera noise, in input and target alike
    jpeg_prob: float = Field(0.25, ge=0, le=1)  # compression, of input and target alike
    moving_prob: float = Field(0.0, ge=0, le=1)  # a clip seen by a camera that pans and shakes
    frozen_prob: float = Field(0.0, ge=0, le=1)  # one frame all the time, as of a still image
    camera_prob: float = Field(0.0, ge=0, le=1)  # rain moves with the camera (1 is as in nature)
    snow_prob: float = Field(0.0, ge=0, le=1)  # of rendered rain: flakes fall, to be removed, too
    # Pixels around the crop, as far as the clip has them, that the flow sees. 0: the crop alone.
    flow_margin: int = Field(0, ge=0, le=512, multiple_of=2)
    turned_prob: float = Field(0.0, ge=0, le=1)  # as from a camera held upright
    night_prob: float = Field(0.0, ge=0, le=1)
    repeat_prob: float = Field(0.0, ge=0, le=1)  # some frames repeat the one before
    codec_prob: float = Field(0.0, ge=0, le=1)  # a camera and a video codec, for both alike
    codec_restore_prob: float = Field(0.1, ge=0, le=1)  # of these: the target is not compressed
    rain_layers: str | None = None  # folder of rain cut out of real films: derain background
    layers_prob: float = Field(0.5, ge=0, le=1)  # of rainy samples: with such rain
    film_prob: float = Field(0.2, ge=0, le=1)  # the films themselves, with their background
    restore_prob: float = Field(0.05, ge=0, le=1)  # noise and compression in the input alone
    real: str | None = None  # rainy clips without truth, for refinement: a video or a folder
    real_prob: float = Field(0.25, gt=0, le=1)  # of the samples: with real rain beside them

    @model_validator(mode="after")
    def _fit_together(self) -> DataConfig:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale wants the least before the greatest")
        return self


class LossConfig(Strict):
    """Weights of the loss terms (stages/losses/losses.py, stages/losses/recovery.py)."""

    image: float = 1.0
    recovered: float = 0.5
    hazy: float = 1.0
    transmission: float = 0.05
    airlight: float = 0.25
    streaks: float = 0.1
    occlusion: float = 0.02
    ssim: float = 0.05
    rain_weight: float = Field(0.0, ge=0, le=4)  # of rainy pixels over others (losses.rain_weight)
    temporal: float = 0.2
    # Of a haze estimator, from thumbnails (stages/losses/haze.py).
    haze_transmission: float = 1.0
    haze_airlight: float = 0.5
    haze_image: float = 1.0


class DiscriminatorSettings(Strict):
    """Of networks.discriminator; None is that network's own default."""

    width: int | None = Field(None, ge=1, le=512)  # channels of the first layer
    layers: int | None = Field(None, ge=1, le=6)  # halvings of the size, of "patch" alone


class RefinementConfig(Strict):
    """What stage 2 adds to `LossConfig` (stages/losses/refinement.py), and its discriminator."""

    # "patch" judges short aligned clips by hinge loss; "reference" is the authors' discriminator
    # of single frames, with their least squares on noisy labels.
    discriminator: Literal["patch", "reference"] = "patch"
    settings: DiscriminatorSettings = DiscriminatorSettings()
    learning_rate: float = Field(2e-4, gt=0)  # of the discriminator, all along
    beta1: float = Field(0.5, ge=0, lt=1)  # of its Adam
    # 0 for the same training without a discriminator.
    adversarial: float = Field(0.005, ge=0)
    # Share of its gradient in that of the losses with truth, for which the weight is changed, up to
    # ten times `adversarial` (stages/losses/balance.py); null keeps the weight as it is.
    balance: float | None = Field(0.1, gt=0)
    critic_warmup: int = Field(50, ge=0)  # first steps, in which the discriminator learns alone
    dark: float = Field(0.01, ge=0)  # dark channel: that of the truth, or 0 in real rain
    flicker: float = Field(0.1, ge=0)  # change of real rain's dark channel along the motion
    grey: float = Field(0.01, ge=0)  # images of one brightness must come back
    lpips: float = Field(0.0, ge=0)
    lpips_weights: str | None = None  # torchvision's AlexNet file; torch's cache without it


class TrainingConfig(Strict):
    """One training run."""

    model: str
    settings: dict[str, object] = Field(default_factory=dict)
    init: str | None = None  # weight file to start from
    widen: bool = False  # init is of a smaller network of the kind: stages/training/widening.py
    data: DataConfig = DataConfig()
    pairs: PairsConfig | None = None  # in place of the rain rendered on data.clips
    loss: LossConfig = LossConfig()
    # "paper": two_stage as its authors train it (stages/losses/paper.py).
    recipe: Literal["ours", "paper"] = "ours"
    single_image: SingleImageConfig | None = None  # in place of loss, for such networks
    refinement: RefinementConfig | None = None  # added to loss: the adversarial stage
    freeze: tuple[str, ...] = ()  # parts of the network that stay as they are, such as trunk1
    steps: int = Field(20000, ge=1)
    accumulate: int = Field(1, ge=1)  # batches whose gradients are averaged for one step
    checkpointing: bool = False  # less memory, a third more time: stages/training/checkpointing.py
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(100, ge=0)
    # Shares of the run at which the rate falls by `gamma`; without any it falls by a cosine.
    milestones: tuple[Share, ...] = ()
    gamma: float = Field(0.1, gt=0, le=1)
    weight_decay: float = Field(1e-4, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)  # .inf leaves gradients as they are
    ema: float = Field(0.999, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = 1
    log_every: int = Field(50, ge=1)
    validate_every: int = Field(1000, ge=1)
    save_every: int = Field(500, ge=1)
    save_minutes: float = Field(10.0, gt=0)  # also so often, and whenever it validates
    keep: int = Field(2, ge=0)  # earlier states beside the last
    weights: Literal["fp16", "fp32"] = "fp16"  # of the weight files

    @property
    def critic_steps(self) -> int:
        """Steps at the start in which the discriminator learns alone."""
        stage = self.refinement
        return stage.critic_warmup if stage is not None and stage.adversarial else 0

    @model_validator(mode="after")
    def _fit_together(self) -> TrainingConfig:
        if self.single_image is not None and (self.refinement is not None or self.checkpointing):
            raise ValueError("refinement and checkpointing are for networks of video")
        if self.recipe == "paper" and (self.single_image is not None or self.checkpointing):
            raise ValueError("recipe: paper has no single_image and no checkpointing")
        if self.recipe == "paper" and self.data.frames < 5:
            raise ValueError("recipe: paper wants data.frames of 5 or more")
        if self.single_image is None and self.data.frames < 2:
            raise ValueError("networks of video learn from data.frames of 2 or more")
        if self.steps <= self.critic_steps:
            raise ValueError("steps leaves none after refinement.critic_warmup")
        if self.data.real is not None and self.refinement is None:
            raise ValueError("data.real has no use without refinement")
        return self


def load_training(path: Path, overrides: list[str]) -> TrainingConfig:
    """Read a preset and apply `key.sub=value` overrides (values are YAML).

    Raises:
        ValueError: unreadable file or a setting that does not fit, with its place.
    """
    try:
        raw = yaml.safe_load(path.read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} is no preset: it holds no settings by name.")
    for item in overrides:
        override(raw, item)
    try:
        return TrainingConfig.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{path}: {explain(error, TrainingConfig, RENAMED)}") from error


def override(settings: dict[str, object], item: str) -> None:
    """Put `key.sub=value` into settings as read from a file.

    Raises:
        ValueError: it is not key=value, the value is no YAML, or what a key names has no keys.
    """
    key, value = split_key_value(item)
    *parents, leaf = key.split(".")
    place = settings
    for parent in parents:
        inner = place.get(parent)
        inner = place[parent] = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise ValueError(f"{parent} of {key} is a single value; it has no '{leaf}'.")
        place = inner
    try:
        place[leaf] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"The value of {key} cannot be read as YAML: {value}") from error
