"""Stage 2: the terms without truth, runs that stop and go on. The adversary has its own file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from derain.configs.training import RefinementConfig, TrainingConfig
from derain.models import DerainError, load_model
from derain.models.networks.discriminator import PatchDiscriminator
from derain.models.output import Output
from derain.stages.data.real_rain import (
    refinement_samples,
)
from derain.stages.data.rendered_clips import RainyClips, cached_clip, find_clips
from derain.stages.losses.adversary import ADVERSARIAL_LOSSES
from derain.stages.losses.refinement import (
    dark_channel,
    flicker,
    gradient_energy,
    grey_clips,
    grey_loss,
    refinement_objective,
)
from derain.stages.training.distributed import Processes
from derain.stages.training.learner import learning_rate, make_learners, make_network
from derain.stages.training.loop import train

Moving = Callable[..., torch.Tensor]
Runs = Callable[[TrainingConfig, int], tuple[Path, Path]]
pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}
NARROW = {"patch": {"width": 4, "layers": 2}, "reference": {"width": 4}}
CPU = torch.device("cpu")


def test_the_dark_channel_sees_haze() -> None:
    clip = torch.rand(1, 2, 3, 40, 40)
    dark = dark_channel(clip)
    assert dark.shape == (2, 1, 40, 40)
    assert float(dark[0, 0, 20, 20]) == pytest.approx(float(clip[0, 0, :, 13:28, 13:28].min()))
    hazy = 0.5 * clip + 0.4
    torch.testing.assert_close(dark_channel(hazy), 0.5 * dark + 0.4)


def test_flicker_is_streaks_and_not_motion(moving: Moving) -> None:
    still, clip = moving(4, speed=0), moving(4)
    assert float(flicker(still)) < 1e-4
    wet = clip.clone()
    wet[:, 1::2, :, 30:60, 40:42] += 0.1  # faint, as what a network leaves
    share = 30 * 2 / 96**2
    assert float(flicker(wet)) > float(flicker(clip)) + 0.7 * 0.1 * share
    wet.requires_grad_()
    flicker(wet).backward()
    assert float(wet.grad[:, 0].abs().sum()) == 0, "the frame before is held"
    assert float(wet.grad[:, 1, :, 30:60, 40:42].sum()) > 0, "streaks get darker"


def test_grey_clips_should_come_back() -> None:
    grey = grey_clips(torch.tensor([0.0, 0.5]))
    assert grey.shape[0] == 2
    assert grey[:, 0, 0, 0, 0].tolist() == pytest.approx([0.8, 0.9])
    same = Output(grey, transmission=torch.ones_like(grey[:, :, :1]))
    darker = Output(grey - 0.1, transmission=torch.full_like(grey[:, :, :1], 0.7))
    assert float(grey_loss(same, grey)) < float(grey_loss(darker, grey)) - 0.1


def test_gradient_energy_falls_with_blur() -> None:
    sharp = torch.rand(2, 3, 16, 16)
    assert float(gradient_energy(nn.functional.avg_pool2d(sharp, 3, 1))) < 0.5 * float(
        gradient_energy(sharp)
    )
    assert float(gradient_energy(sharp * 0)) > 0


@pytest.mark.parametrize("name", ADVERSARIAL_LOSSES)
def test_a_killed_run_goes_on_bit_for_bit(
    name: str, refining: TrainingConfig, whole_and_resumed: Runs
) -> None:
    """Network, discriminator with its power iterations or batch norms, both optimisers."""
    refinement = RefinementConfig(discriminator=name, settings=NARROW[name], critic_warmup=1)
    refining = refining.model_copy(update={"refinement": refinement})
    weights = whole_and_resumed(refining, 3)
    whole, cut = (torch.load(path.parent / "last.pt", weights_only=True) for path in weights)
    assert len(whole["critic"]["model"]) > 4
    assert_same(whole | {"seconds": 0}, cut | {"seconds": 0})
    rows = [json.loads(x) for x in (weights[0].parent / "metrics.jsonl").open()]
    assert whole["critic"]["balance"]["adversary"] > 0
    assert [row["adversary gradient"] > 0 for row in rows] == [False, True, True, True]
    assert [row["gradient"] > 0 for row in rows] == [False, True, True, True]
    wanted = {
        "adversary weight",
        "truth gradient",
        "loss",
        "adversarial",
        "dark",
        "flicker",
        "grey",
        "sharpness",
        "critic loss",
    }
    assert wanted | {"score real", "score fake", "critic gradient"} <= set(rows[0])
    assert all(math.isfinite(value) for row in rows for value in row.values())
    load_model(weights[0])


def assert_same(a: object, b: object) -> None:
    """Equal to the last bit, at any depth."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_without_weight_there_is_no_discriminator(refining: TrainingConfig, tmp_path: Path) -> None:
    bare = RefinementConfig(adversarial=0, grey=0)
    data = refining.data.model_copy(update={"real": None})
    alone = refining.model_copy(update={"refinement": bare, "data": data, "steps": 1})
    train(alone, tmp_path / "run", device="cpu")
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert {"dark", "sharpness"} <= set(row)
    assert not {"adversarial", "grey", "flicker", "critic loss"} & set(row)
    both = alone.model_copy(update={"refinement": refining.refinement, "steps": 2})
    with pytest.raises(DerainError, match="without a discriminator"):
        train(both, tmp_path / "run", device="cpu", resume=True)


def test_lpips_without_its_backbone_is_a_sentence(refining: TrainingConfig, tmp_path: Path) -> None:
    asked = RefinementConfig(lpips=0.1, lpips_weights=str(tmp_path / "alexnet.pth"))
    with pytest.raises(DerainError, match=r"--set refinement\.lpips_weights=FILE"):
        refinement_objective(refining.model_copy(update={"refinement": asked}), CPU)


def test_a_discriminator_that_cannot_be_built_is_a_sentence(refining: TrainingConfig) -> None:
    asked = RefinementConfig(discriminator="reference", settings={"layers": 3})
    with pytest.raises(DerainError, match="takes no layers"):
        refinement_objective(refining.model_copy(update={"refinement": asked}), CPU)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "settings"), [("swift", TINY), ("two_stage", {"width": 8, "blocks": 1})]
)
def test_200_steps_lower_the_loss_and_keep_scores_apart(
    name: str, settings: dict[str, object], refining: TrainingConfig, tmp_path: Path
) -> None:
    """On one fixed batch, network and discriminator in turn."""
    refining = refining.model_copy(
        update={"model": name, "settings": settings, "learning_rate": 2e-3}
    )
    torch.manual_seed(0)
    model = make_network(refining, fresh=True).train()
    learners = make_learners(refining, model, refinement_objective(refining, CPU), Processes(CPU))
    assert isinstance(learners[1].module, PatchDiscriminator)
    assert refining.data.real is not None
    files = [cached_clip(p, tmp_path) for p in find_clips(Path(refining.data.clips))]
    samples = refinement_samples(RainyClips(files, refining.data, 1, 2), 1, tmp_path)
    batch = default_collate([samples[i] for i in range(2)])
    rows = []
    for _ in range(200):
        given, row = batch, {}
        for learner in learners:
            learner.optimiser.zero_grad()
            given, terms = learner.backward(given, 1, last=True)
            row |= {key: float(value.detach()) for key, value in terms.items()}
        for learner in learners:
            learner.max_grad_norm()
            learner.optimiser.step()
        rows.append(row)
    assert rows[-1]["image"] < rows[0]["image"] - 0.005
    last = rows[-20:]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    apart = [row["score clean"] - row["score made"] for row in last]
    assert sum(apart) / len(apart) > 0.02


def test_the_discriminator_learns_alone_at_first(refining: TrainingConfig, tmp_path: Path) -> None:
    torch.manual_seed(refining.seed)
    start = make_network(refining, fresh=True).state_dict()
    few = refining.model_copy(update={"steps": 2, "save_every": 1, "keep": 1})
    train(few, tmp_path, device="cpu")
    first, last = (
        torch.load(tmp_path / name, weights_only=True) for name in ("step-0000001.pt", "last.pt")
    )
    assert first["step"] == 1
    assert all(torch.equal(first["model"][name], value) for name, value in start.items())
    assert any(not torch.equal(last["model"][name], value) for name, value in start.items())
    assert any(
        not torch.equal(first["critic"]["model"][name], value)
        for name, value in last["critic"]["model"].items()
    )
    with pytest.raises(ValueError, match="leaves none after"):
        TrainingConfig(model="swift", steps=10, refinement=RefinementConfig(critic_warmup=10))


def test_the_learning_rate_begins_after_the_discriminator(refining: TrainingConfig) -> None:
    longer = refining.model_copy(update={"steps": 101, "warmup": 10})
    assert learning_rate(1, longer) == pytest.approx(refining.learning_rate / 10)
    assert learning_rate(11, longer) == pytest.approx(refining.learning_rate, rel=1e-3)
