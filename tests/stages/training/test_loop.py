"""Training: data made from a seed, losses that fall, runs that stop and go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import DataConfig, TrainingConfig, load_training
from derain.models import DerainError, create_model, load_model
from derain.models.errors import UsageError
from derain.models.weights_io import read_weights, save_model
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import RainyClips, cached_clip, find_clips, read_clip
from derain.stages.data.validation_clips import make_validation_clips
from derain.stages.losses.losses import log_mse, temporal_difference
from derain.stages.losses.recovery import training_loss, video_objective
from derain.stages.training.checkpointing import Checkpointed
from derain.stages.training.distributed import Processes
from derain.stages.training.learner import learning_rate, make_learners, make_network
from derain.stages.training.loop import train
from derain.stages.training.validation import validate_model

Runs = Callable[[TrainingConfig, int], tuple[Path, Path]]
pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_walk: Callable[..., Path]) -> Path:
    """A folder with one frame folder of a moving texture."""
    return make_walk(tmp_path_factory.mktemp("clips"), 14)


@pytest.fixture
def files(clips: Path) -> list[Path]:
    return [cached_clip(p, clips / "cache") for p in find_clips(clips)]


@pytest.fixture
def config(clips: Path) -> TrainingConfig:
    data = DataConfig(clips=str(clips), validation=None, frames=4, crop=48, batch=2, workers=0)
    return TrainingConfig(
        model="swift",
        settings=TINY,
        data=data,
        steps=6,
        warmup=2,
        precision="fp32",
        log_every=2,
        validate_every=100,
        save_every=3,
    )


def test_frame_folders_are_read_in_rgb(clips: Path) -> None:
    frames = read_clip(clips / "walk")
    assert frames.shape == (14, 100, 150, 3)
    blue_first = cv2.imread(str(clips / "walk" / "00.png"))
    np.testing.assert_array_equal(frames[0], blue_first[..., ::-1])


def test_samples_depend_on_seed_and_index_alone(files: list[Path], config: TrainingConfig) -> None:
    sets = [RainyClips(files, config.data, seed, 10) for seed in (1, 1, 2)]
    for a, b, c in zip(*([data[i] for i in range(4)] for data in sets), strict=True):
        assert torch.equal(a.rainy, b.rainy)
        assert not torch.equal(a.rainy, c.rainy)
        assert a.rainy.shape == a.clean.shape == (4, 3, 48, 48)
        assert a.transmission.shape == a.occlusion.shape == (4, 1, 48, 48)
        assert a.airlight.shape == (4, 3, 1, 1)


def test_clean_samples_have_no_rain(files: list[Path], config: TrainingConfig) -> None:
    data = config.data.model_copy(update={"clean_prob": 1.0, "restore_prob": 0.0, "jpeg_prob": 0.0})
    for i in range(3):
        sample = RainyClips(files, data, 0, 10)[i]
        torch.testing.assert_close(sample.rainy, sample.clean)


def test_a_decibel_is_a_decibel() -> None:
    """Halving the error is worth the same on a good frame and on a bad one."""
    truth = torch.zeros(1, 1, 3, 8, 8)
    gains = [float(log_mse(truth + e, truth) - log_mse(truth + e / 2, truth)) for e in (0.4, 0.1)]
    assert gains[0] == pytest.approx(gains[1], rel=0.02)


def test_temporal_difference_sees_flicker_and_not_motion() -> None:
    moving = torch.stack([torch.rand(3, 8, 8) for _ in range(4)])[None]
    flicker = moving + torch.tensor([0.0, 0.1, 0.0, 0.1]).view(1, 4, 1, 1, 1)
    assert float(temporal_difference(moving + 0.2, moving)) < 1e-6
    assert float(temporal_difference(flicker, moving)) == pytest.approx(0.1, abs=1e-5)


def test_learning_rate_warms_up_and_falls(config: TrainingConfig) -> None:
    rates = [learning_rate(step, config) for step in range(config.steps)]
    assert rates[0] == pytest.approx(config.learning_rate / 2)
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates[-1] < 0.2 * config.learning_rate


def test_a_run_that_stops_goes_on_bit_for_bit(
    config: TrainingConfig, whole_and_resumed: Runs
) -> None:
    whole, resumed = whole_and_resumed(config, 5)
    assert resumed.read_bytes() == whole.read_bytes()
    rows = {
        run: [json.loads(x) for x in (run.parent / "metrics.jsonl").open()]
        for run in (whole, resumed)
    }
    assert [row["step"] for row in rows[whole]] == [2, 4, 6]
    # The resumed run has the same figures, though it went on between two lines of the log.
    for a, b in zip(rows[whole], rows[resumed], strict=True):
        measured = dict.fromkeys(("minutes", "samples a second", "waiting", "memory"))
        assert a["samples a second"] > 0
        assert 0 <= a["waiting"] <= 1
        assert a | measured == b | measured
    assert load_model(whole).description.note["steps"] == 6


@pytest.mark.parametrize("size", [(180, 318), (300, 500), (40, 33)])
def test_clips_of_any_size_can_be_watched(size: tuple[int, int], tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.zeros((3, *size, 3), np.uint8))
    network = create_model("swift", widths=(8, 8, 8), blocks=(1, 1), hidden=4)
    validation_clips = make_validation_clips([tmp_path / "clip.npy"])
    figures, _ = validate_model(network, validation_clips[:1], torch.device("cpu"), torch.float32)
    assert figures


def test_a_folder_in_use_is_not_overwritten(config: TrainingConfig, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(DerainError, match="resume from"):
        train(config, tmp_path / "run", device="cpu", resume=True)
    (tmp_path / "run" / "last.pt").touch()
    with pytest.raises(DerainError, match="holds a run already"):
        train(config, tmp_path / "run", device="cpu")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    config: TrainingConfig, tmp_path: Path
) -> None:
    wild = config.model_copy(update={"learning_rate": 1e30, "warmup": 0, "save_every": 1})
    with pytest.raises(DerainError, match="no longer finite"):
        train(wild, tmp_path / "run", device="cpu")
    assert (tmp_path / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    ("name", "settings"),
    [("swift", TINY), ("two_stage", {"width": 4, "blocks": 1, "unshuffle": 2})],
)
def test_checkpointing_changes_no_gradient(name: str, settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = create_model(name, **settings).train()
    clip = torch.rand(1, 5, 3, 64, 64)
    gradients = []
    for run in (model, Checkpointed(model)):
        torch.manual_seed(1)
        output, _ = run(clip)
        model.zero_grad()
        parts = (output.image, output.recovered, output.transmission)
        sum((x * torch.randn_like(x)).sum() for x in parts).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(list(model.parameters()))
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


def test_accumulated_gradients_are_those_of_the_larger_batch(
    files: list[Path], config: TrainingConfig
) -> None:
    samples = [RainyClips(files, config.data, 1, 4)[i] for i in range(4)]
    gradients = []
    for size in (4, 2):
        torch.manual_seed(0)
        model = make_network(config, fresh=True).train()
        processes = Processes(torch.device("cpu"))
        (learner,) = make_learners(config, model, video_objective(config.loss), processes)
        for start in range(0, 4, size):
            columns = zip(*samples[start : start + size], strict=True)
            batch = Batch(*(torch.stack(x) for x in columns))
            learner.backward(batch, 4 // size, last=start + size == 4)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_accumulation_takes_the_samples_of_larger_batches(
    config: TrainingConfig, tmp_path: Path
) -> None:
    """The same samples in the same steps, however they are divided."""
    small = config.data.model_copy(update={"batch": 1})
    rows = []
    for changes in ({"data": small, "accumulate": 2}, {}):
        folder = tmp_path / f"{len(rows)}"
        changes |= {"steps": 2, "log_every": 1}
        train(config.model_copy(update=changes), folder, device="cpu")
        rows.append(json.loads((folder / "metrics.jsonl").read_text().splitlines()[0]))
    for name in ("loss", "image", "gradient"):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-4)


def test_frozen_parts_stay_as_they_are(config: TrainingConfig, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    torch.manual_seed(5)
    save_model(create_model("swift", **TINY), start, dtype=torch.float32)
    changes = {"init": str(start), "freeze": ("trunk1", "rain"), "steps": 2}
    train(config.model_copy(update=changes), tmp_path / "run", device="cpu")
    before, _ = read_weights(start)
    after = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    for name, value in before.items():
        kept = name.split(".")[0] in ("trunk1", "rain")
        assert torch.equal(value, after[name]) == kept, name


def test_weights_that_do_not_fit_and_unknown_parts_are_a_sentence(
    config: TrainingConfig, tmp_path: Path
) -> None:
    start = tmp_path / "start.safetensors"
    save_model(create_model("swift", **TINY | {"hidden": 6}), start)
    with pytest.raises(DerainError, match="do not fit; set model and settings"):
        make_network(config.model_copy(update={"init": str(start)}), fresh=True)
    with pytest.raises(
        DerainError, match=r"no part 'trunk' to freeze; it has haze_estimator, trunk1, "
    ):
        make_network(config.model_copy(update={"freeze": ("trunk",)}), fresh=True)


def test_validation_leaves_figures_and_images(config: TrainingConfig, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rng = np.random.default_rng(1)
    (tmp_path / "val" / "still").mkdir(parents=True)
    image = cv2.GaussianBlur(rng.integers(0, 256, (64, 96, 3), np.uint8), (0, 0), 2)
    for t in range(12):
        cv2.imwrite(str(tmp_path / "val" / "still" / f"{t:02d}.png"), image)
    data = config.data.model_copy(update={"validation": str(tmp_path / "val")})
    train(config.model_copy(update={"data": data, "steps": 1}), tmp_path / "run", device="cpu")
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert {"light", "heavy", "haze", "clean", "heavy input", "heavy stage 1"} <= set(last)
    board = events.EventAccumulator(str(tmp_path / "run")).Reload()
    (image,) = board.Images("heavy: rainy, output, clean")
    assert "heavy: recovered, streaks, occlusion, transmission" in board.Tags()["images"]
    assert (image.width, image.height) == (3 * 96, 64)
    assert {"loss", "heavy"} <= set(board.Tags()["scalars"])


@pytest.mark.slow
def test_training_lowers_the_loss(config: TrainingConfig, files: list[Path]) -> None:
    """200 steps on one fixed batch."""
    samples = [RainyClips(files, config.data, 1, 10)[i] for i in range(2)]
    batch = Batch(*(torch.stack(x) for x in zip(*samples, strict=True)))
    model = create_model("swift", **TINY).train()
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(200):
        loss, _ = training_loss(model(batch.rainy)[0], batch, config.loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.02


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


def test_a_misspelt_setting_of_the_network_names_the_nearest() -> None:
    config = TrainingConfig(model="swift", settings={"hiden": 4})
    with pytest.raises(DerainError, match="no setting hiden; did you mean 'hidden'"):
        make_network(config, fresh=True)


def test_a_preset_alone_asks_for_clips(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.clips=CLIPS"):
        train(TrainingConfig(model="swift"), tmp_path / "run")


def test_every_shipped_preset_is_valid() -> None:
    presets = Path(__file__).resolve().parents[3] / "configs"
    for path in [*presets.glob("swift*.yaml"), *presets.rglob("two_stage*.yaml")]:
        config = load_training(path, [])
        assert config.model.startswith(("swift", "two_stage"))
        assert (config.refinement is not None) == path.stem.endswith("refinement")


def test_no_clips_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="no videos"):
        find_clips(tmp_path)
    with pytest.raises(DerainError, match="no folder"):
        find_clips(tmp_path / "missing")
