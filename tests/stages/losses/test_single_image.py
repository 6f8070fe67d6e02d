"""Training of the single-image networks: the papers' losses, presets, runs on rain and on pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from derain.configs.single_image import SingleImageConfig
from derain.configs.training import DataConfig, TrainingConfig, load_training
from derain.models import create_model, load_model
from derain.models.networks.per_frame import PerFrame
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import RainyClips, cached_clip, find_clips
from derain.stages.losses.single_image import (
    RECIPES,
    edges,
    padded_ssim,
    rainy_mask,
    single_image_objective,
)
from derain.stages.training.loop import learning_rate, train

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "../shared/golden"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers are not here")
Preset = Callable[..., TrainingConfig]
Runs = Callable[[TrainingConfig, int], tuple[Path, Path]]
pytestmark = pytest.mark.usefixtures("own_home")
TINY = {
    "rescan": {"channels": 6, "depth": 4, "stages": 2},
    "remaen": {"channels": 8, "stages": 2, "se_hidden": 2},
    "dcsfn": {"channels": 4, "blocks": 1, "convs": 1, "scales": 2},
    "spanet": {"channels": 4},
}


@golden
@pytest.mark.parametrize("tag", ["even", "odd", "tiny"])
def test_ssim_and_its_gradient_are_the_originals(tag: str) -> None:
    tensors = load_file(GOLDEN / "rescan/metrics_ssim_psnr.safetensors")
    a = tensors[f"a_{tag}"].clone().requires_grad_()
    value = padded_ssim(a, tensors[f"b_{tag}"])
    torch.testing.assert_close(value, tensors[f"ssim_{tag}"].view(()), rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(-value, a)
    expected = tensors[f"grad_negssim_a_{tag}"]
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@golden
def test_rescan_loss_is_the_originals() -> None:
    path = GOLDEN / "rescan/rescan_gru_full_se_c12d6s3.safetensors"
    tensors = load_file(path)
    rainy, clean = tensors["x_even"], tensors["B_even"]
    stages = [rainy - tensors[f"out_even.{i}"] for i in range(3)]
    terms = RECIPES["rescan"].terms(stages, rainy, clean, SingleImageConfig(loss="rescan"))
    expected = recorded(path, tensors, "loss_even.per_stage")
    torch.testing.assert_close(torch.stack(list(terms.values())), expected, rtol=1e-5, atol=1e-8)


@golden
def test_dcsfn_loss_is_the_originals() -> None:
    path = GOLDEN / "dcsfn/dcsfn_gru_c8n3v2_scale4.safetensors"
    tensors = load_file(path)
    terms = RECIPES["dcsfn"].terms(
        tensors["out_even"],
        tensors["x_even"],
        tensors["B_even"],
        SingleImageConfig(loss="dcsfn", l1=1.0),
    )
    for ours, theirs in (("ssim", "neg_ssim"), ("l1", "l1")):
        expected = recorded(path, tensors, f"loss_even.{theirs}").view(())
        torch.testing.assert_close(terms[ours], expected, rtol=0, atol=1e-5)


def recorded(path: Path, tensors: dict[str, Tensor], key: str) -> Tensor:
    """A figure of a golden file: one of its tensors, or in its metadata."""
    if key in tensors:
        return tensors[key]
    with safe_open(path, "pt") as file:
        return torch.tensor(json.loads(file.metadata()[key]))


def test_edges_are_of_grey_and_bright_sides_alone() -> None:
    image = torch.zeros(1, 3, 5, 5)
    image[0, 0, 2, 2] = 1.0  # a red dot
    found = edges(image)
    assert float(found[0, 0, 2, 2]) == pytest.approx(8 * 0.2989)
    assert float(found.sum()) == pytest.approx(8 * 0.2989)
    assert float(edges(torch.ones(1, 3, 7, 7))[..., 1:-1, 1:-1].abs().max()) < 1e-5


def test_the_mask_of_rain_looks_at_the_worst_channel() -> None:
    clean = torch.zeros(1, 3, 1, 3)
    rainy = clean.clone()
    rainy[0, 2, 0] = torch.tensor([0.0, 5 / 255, 9 / 255])
    assert rainy_mask(rainy, clean, 8 / 255).flatten().tolist() == [0, 0, 1]
    assert rainy_mask(rainy, clean, 0).flatten().tolist() == [0, 1, 1]


def test_spanet_learns_where_rain_is() -> None:
    rainy, clean = torch.rand(1, 3, 12, 12), torch.zeros(1, 3, 12, 12)
    settings = SingleImageConfig(loss="spanet", tolerance=0)
    right = (clean, [torch.ones(1, 1, 12, 12)])
    wrong = (clean, [torch.zeros(1, 1, 12, 12)])
    terms = RECIPES["spanet"].terms(right, rainy, clean, settings)
    assert all(float(value) == pytest.approx(0, abs=1e-5) for value in terms.values())
    assert float(RECIPES["spanet"].terms(wrong, rainy, clean, settings)["attention"]) == 1
    assert set(terms) == {"l1", "ssim", "attention"}


def test_frames_of_a_batch_are_images_by_themselves() -> None:
    torch.manual_seed(0)
    net = create_model("rescan", **TINY["rescan"])
    clip = torch.rand(2, 3, 3, 16, 16)
    objective = single_image_objective(SingleImageConfig(loss="rescan"))
    batch = Batch(clip, clip.flip(4), *[torch.zeros(1)] * 6)
    total, terms = objective.loss(objective.run(net, batch), batch)
    expected = [
        F.mse_loss(stage, clip.flip(4).flatten(0, 1))
        for stage in net.forward_stages(clip.flatten(0, 1))
    ]
    torch.testing.assert_close(torch.stack(list(terms.values())), torch.stack(expected))
    torch.testing.assert_close(total, torch.stack(expected).sum())
    assert isinstance(objective.as_video(net), PerFrame)


def test_single_frames_get_rain(still: Path) -> None:
    files = [cached_clip(p, still / "cache") for p in find_clips(still)]
    data = DataConfig(frames=1, crop=32, haze_prob=0, clean_prob=0, workers=0)
    samples = [RainyClips(files, data, 1, 30)[i] for i in range(30)]
    assert all(s.rainy.shape == s.clean.shape == (1, 3, 32, 32) for s in samples)
    assert sum(float((s.rainy - s.clean).abs().mean()) > 1e-3 for s in samples) > 20


@pytest.mark.parametrize("name", list(TINY))
def test_presets_follow_the_papers(name: str) -> None:
    preset = load_training(ROOT / "configs" / f"{name}.yaml", [])
    assert preset.model == name
    assert preset.single_image is not None
    assert preset.single_image.loss == name
    assert (preset.data.frames, preset.data.haze_prob, preset.weight_decay) == (1, 0, 0)
    rates = {
        "rescan": {0: 5e-3, 14999: 5e-3, 15000: 5e-4, 17500: 5e-5, 19999: 5e-5},
        "remaen": {0: 1e-3, 29999: 1e-3, 30000: 1e-4, 39999: 1e-4},
        "dcsfn": {0: 5e-4, 35999: 5e-4, 36000: 5e-5, 48000: 5e-6, 59999: 5e-6},
        "spanet": {0: 5e-4, 29999: 5e-4, 30000: 5e-5, 39999: 5e-5},
    }[name]
    assert preset.steps == max(rates) + 1
    for step, rate in rates.items():
        assert learning_rate(step, preset) == pytest.approx(rate)


@pytest.mark.parametrize("name", list(TINY))
def test_a_run_goes_through_and_its_weights_load(
    name: str, small_preset: Preset, tmp_path: Path
) -> None:
    weights = train(small_preset(name, TINY[name], steps=2), tmp_path / "run", device="cpu")
    model = load_model(weights)
    assert isinstance(model, PerFrame)
    with torch.inference_mode():
        output, _ = model(torch.rand(1, 1, 3, 32, 32))
    assert output.image.shape == (1, 1, 3, 32, 32)
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    measured = {
        "step",
        "loss",
        "gradient",
        "lr",
        "minutes",
        "samples a second",
        "waiting",
        "memory",
    }
    terms = set(row) - measured
    assert row["loss"] == pytest.approx(sum(row[term] for term in terms))


@pytest.mark.parametrize("name", list(TINY))
def test_training_lowers_the_loss_on_a_fixed_batch(
    name: str, small_preset: Preset, still: Path
) -> None:
    torch.manual_seed(0)
    files = [cached_clip(p, still / "cache") for p in find_clips(still)]
    preset = small_preset(name, TINY[name])
    assert preset.single_image is not None
    data = preset.data.model_copy(update={"clean_prob": 0.0, "noise_prob": 0.0})
    samples = [RainyClips(files, data, 3, 10)[i] for i in range(2)]
    batch = Batch(*(torch.stack(x) for x in zip(*samples, strict=True)))
    objective = single_image_objective(preset.single_image)
    net = create_model(name, **TINY[name]).train()
    optimiser = torch.optim.AdamW(net.parameters(), 5e-3, weight_decay=0)
    losses = []
    for _ in range(12):
        loss, _ = objective.loss(objective.run(net, batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()) + (name == "dcsfn"))  # its best is -1
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_that_stops_goes_on_bit_for_bit(
    small_preset: Preset, whole_and_resumed: Runs
) -> None:
    preset = small_preset("rescan", TINY["rescan"])
    whole, resumed = whole_and_resumed(preset, 3)
    assert resumed.read_bytes() == whole.read_bytes()
