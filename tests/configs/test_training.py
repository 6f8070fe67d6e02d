"""Training presets: what is refused, with which words; overrides; the shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain.configs.training import TrainingConfig, load_training
from derain.models.errors import UsageError
from derain.stages.training.loop import train


def test_presets_are_checked(tmp_path: Path) -> None:
    preset = tmp_path / "x.yaml"
    preset.write_text("model: swift\ndata: {batch: 3}\n")
    config = load_training(preset, ["steps=7", "data.crop=64"])
    assert (config.steps, config.data.crop, config.data.batch) == (7, 64, 3)
    for text, words in [
        ("model: swift\nspets: 3\n", "spets"),
        ("[", "YAML"),
        ("model: swift\nsteps: many\n", "steps"),
        ("model: swift\ndata: {real: rain}\n", "no use without refinement"),
        ("model: swift\ndata: {haze_share: 0.5}\n", "data.haze_share is called haze_prob now"),
        ("model: swift\ndrops: [0.5]\n", "drops is called milestones now"),
        ("model: rescan\nsingle_image: {loss: rescan}\ncheckpointing: true\n", "of video"),
        ("model: swift\nstepz: 20\n", "no setting stepz; did you mean 'steps'"),
        ("model: swift\ndata: {crpo: 64}\n", r"no setting data\.crpo; did you mean 'crop'"),
        (
            "model: swift\nrefinement: {settings: {widht: 4}}\n",
            r"no setting refinement\.settings\.widht; did you mean 'width'",
        ),
        ("model: swift\ndata: 3\n", "data"),
        ("- swift\n", "no settings by name"),
        ("model: swift\nsave_every: 0\n", "save_every: Input should be greater than or equal"),
        ("model: swift\nvalidate_every: 0\n", "validate_every: "),
        ("model: swift\nlog_every: 0\n", "log_every: "),
        ("model: swift\nsave_minutes: 0\n", "save_minutes: "),
        ("model: swift\nmax_grad_norm: 0\n", "max_grad_norm: "),
        ("model: swift\nmilestones: [2]\n", "milestones"),
        ("model: swift\ndata: {frames: 1}\n", "2 or more"),
        ("model: swift\ndata: {scale: [2, 1]}\n", "least before the greatest"),
        ("model: swift\ndata: {scale: [0, 1]}\n", "greater than 0"),
    ]:
        preset.write_text(text)
        with pytest.raises(ValueError, match=words):
            load_training(preset, [])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("data.crop.x=3", "crop of data.crop.x is a single value"),
        ("steps", "not key=value"),
        ("steps=[", "value of steps cannot be read"),
        ("stepz=20", "did you mean 'steps'"),
    ],
)
def test_wrong_overrides_are_a_sentence(item: str, words: str, tmp_path: Path) -> None:
    preset = tmp_path / "x.yaml"
    preset.write_text("model: swift\ndata: {crop: 64}\n")
    with pytest.raises(ValueError, match=words):
        load_training(preset, [item])


def test_a_preset_alone_asks_for_clips(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.clips=CLIPS"):
        train(TrainingConfig(model="swift"), tmp_path / "run")


def test_every_shipped_preset_is_valid() -> None:
    presets = Path(__file__).resolve().parents[2] / "configs"
    paths = [*presets.glob("swift*.yaml"), *presets.rglob("two_stage*.yaml")]
    assert len(paths) > 3
    for path in paths:
        config = load_training(path, [])
        assert config.model.startswith(("swift", "two_stage"))
        assert (config.refinement is not None) == path.stem.endswith("refinement")
