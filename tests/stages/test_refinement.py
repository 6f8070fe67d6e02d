"""Stage 2: what the discriminator judges, the terms without truth, runs that stop and go on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from derain.configs.training import DataConfig, RefinementConfig, TrainingConfig
from derain.models import DerainError, load_model
from derain.models.contract import Output
from derain.models.discriminator import PatchDiscriminator
from derain.stages.adversary import (
    GAMES,
    LABELS_CLEAN,
    Judged,
    adversarial_loss,
    critic_of,
    judged_clips,
)
from derain.stages.data import RainyClips, cached_clip, find_clips
from derain.stages.distributed import Processes
from derain.stages.learner import make_learners, make_network
from derain.stages.real_rain import RealRain, refinement_samples
from derain.stages.refinement import (
    Refined,
    dark_channel,
    flicker,
    gradient_energy,
    grey_clips,
    grey_loss,
    refinement_objective,
)
from derain.stages.training import train

Runs = Callable[[TrainingConfig, int], tuple[Path, Path]]
pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}
NARROW = {"patch": {"width": 4, "layers": 2}, "reference": {"width": 4}}
CPU = torch.device("cpu")


def moving(frames: int, size: int = 96, speed: int = 2) -> torch.Tensor:
    """A texture that moves sideways, (1, T, 3, size, size), `speed` pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size + speed * frames, 3), np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 3)
    views = [wide[:, speed * t : speed * t + size] for t in range(frames)]
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)[None].float() / 255


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_walk: Callable[..., Path]) -> Path:
    """Folders of frames: `clean` and `real`, one clip in each."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, name in enumerate(("clean", "real")):
        make_walk(folder / name, 12, seed)
    return folder


@pytest.fixture
def config(clips: Path) -> TrainingConfig:
    data = DataConfig(
        clips=str(clips / "clean"),
        real=str(clips / "real"),
        validation=None,
        frames=4,
        crop=48,
        batch=2,
        workers=0,
    )
    return TrainingConfig(
        model="swift",
        settings=TINY,
        data=data,
        refinement=RefinementConfig(settings=NARROW["patch"]),
        steps=4,
        warmup=0,
        precision="fp32",
        log_every=1,
        validate_every=100,
        save_every=2,
    )


def test_judged_clips_follow_the_motion() -> None:
    """Aligned frames of a moving clip are nearly equal; frames as they are differ."""
    clean = moving(9)
    judged = judged_clips(clean, clean, torch.rand(1, 3), 3)
    assert judged.clean.shape == judged.made.shape == (2, 3, 3, 96, 96)
    torch.testing.assert_close(judged.clean, judged.made, rtol=0, atol=1e-3)
    inner = judged.clean[..., 16:-16, 16:-16]
    aligned = float((inner[:, 0] - inner[:, 1]).abs().mean())
    assert aligned < 0.3 * float((clean[:, 1:] - clean[:, :-1]).abs().mean())


def test_judged_clips_of_real_rain_come_last_and_carry_gradients() -> None:
    clean, made = torch.rand(2, 6, 3, 48, 48), torch.rand(3, 6, 3, 48, 48, requires_grad=True)
    chance = torch.rand(2, 3)
    judged = judged_clips(made, clean, chance, 3)
    assert (len(judged.clean), len(judged.made)) == (2, 3)
    assert torch.equal(judged.label_clean, torch.cat([chance, chance[:1]])[:, 1:2])
    judged.made.sum().backward()
    assert made.grad is not None
    assert all(float(x.abs().sum()) > 0 for x in made.grad)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("length", [3, 4, 5, 7, 11])
def test_judged_frames_are_within_the_clip_and_all_are_reached(frames: int, length: int) -> None:
    marked = torch.arange(length).view(1, length, 1, 1, 1).expand(1, -1, 3, 32, 32).float()
    seen = set()
    for share in np.linspace(0, 0.999, 12):
        judged = judged_clips(marked, marked, torch.full((1, 3), float(share)), frames)
        times = judged.clean[:, :, 0, 0, 0].long()
        assert torch.equal(times.diff(dim=1), torch.ones_like(times[:, 1:]))
        seen |= set(times.flatten().tolist())
    assert seen == set(range(length))


@pytest.mark.parametrize("name", GAMES)
def test_the_discriminator_learns_and_the_network_pass_leaves_it_alone(name: str) -> None:
    torch.manual_seed(0)
    game = GAMES[name]
    critic = game.build(**NARROW[name]).train()
    clips = torch.rand(4, game.frames, 3, 32, 32)
    made = (0.5 + 0.02 * torch.randn_like(clips)).requires_grad_()
    judged = Judged(clips, made, torch.rand(4, 1), torch.rand(4, 1))
    adversarial_loss(game, critic, judged).backward()
    assert float(made.grad.abs().sum()) > 0
    assert all(p.grad is None and p.requires_grad for p in critic.parameters())

    against = critic_of(game, critic, 1e-3).objective
    optimiser = torch.optim.Adam(critic.parameters(), 5e-3)
    made.grad = None
    for _ in range(25):
        batch = Refined(Output(clips), clips[:0], None, judged)
        loss, scores = against.loss(against.run(critic, batch), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert made.grad is None
    assert math.isfinite(loss.item())
    assert scores["score clean"].item() > scores["score made"].item() + 0.05


def test_the_originals_labels_are_noisy() -> None:
    """Least squares to labels in [0.7, 1.2] for clean clips; the network aims at the same ones."""
    chance = torch.tensor([[0.0], [1.0]])
    judged = Judged(torch.zeros(2), torch.zeros(2), chance, 1 - chance)
    perfect = torch.tensor([[LABELS_CLEAN[0]], [LABELS_CLEAN[1]]])
    game = GAMES["reference"]
    assert float(game.network_loss(perfect, judged)) == pytest.approx(0, abs=1e-9)
    assert float(game.critic_loss(perfect, torch.tensor([[0.3], [0.0]]), judged)) < 1e-9
    assert float(game.critic_loss(perfect.flip(0), torch.tensor([[0.3], [0.0]]), judged)) > 0.1


def test_hinge_wants_a_margin_and_no_more() -> None:
    judged = Judged(torch.zeros(1), torch.zeros(1), torch.zeros(1, 1), torch.zeros(1, 1))
    game, far = GAMES["patch"], torch.tensor([[3.0]])
    assert float(game.critic_loss(far, -far, judged)) == 0
    assert float(game.critic_loss(0 * far, 0 * far, judged)) == 2
    assert float(game.network_loss(far, judged)) == -3


def test_the_dark_channel_sees_haze() -> None:
    clip = torch.rand(1, 2, 3, 40, 40)
    dark = dark_channel(clip)
    assert dark.shape == (2, 1, 40, 40)
    assert float(dark[0, 0, 20, 20]) == pytest.approx(float(clip[0, 0, :, 13:28, 13:28].min()))
    veiled = 0.5 * clip + 0.4
    torch.testing.assert_close(dark_channel(veiled), 0.5 * dark + 0.4)


def test_flicker_is_streaks_and_not_motion() -> None:
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


def test_real_rain_comes_as_it_is(clips: Path, config: TrainingConfig, tmp_path: Path) -> None:
    files = [cached_clip(p, tmp_path) for p in find_clips(clips / "real")]
    one, again = (RealRain(files, config.data, 1, 4)[2] for _ in range(2))
    assert one.rainy.shape == (4, 3, 48, 48)
    assert torch.equal(one.rainy, again.rainy)
    assert torch.equal(one.rainy, one.clean)
    video = config.data.model_copy(update={"real": str(clips / "nothing")})
    with pytest.raises(DerainError, match=r"set data\.real to a rainy video or a folder"):
        refinement_samples(RealRain(files, video, 1, 4), 1, tmp_path)


@pytest.mark.parametrize("name", GAMES)
def test_a_killed_run_goes_on_bit_for_bit(
    name: str, config: TrainingConfig, whole_and_resumed: Runs
) -> None:
    """Network, discriminator with its power iterations or batch norms, both optimisers."""
    refinement = RefinementConfig(discriminator=name, settings=NARROW[name])
    config = config.model_copy(update={"refinement": refinement})
    weights = whole_and_resumed(config, 3)
    whole, cut = (torch.load(path.parent / "last.pt", weights_only=True) for path in weights)
    assert len(whole["critic"]["model"]) > 4
    assert_same(whole, cut)
    rows = [json.loads(x) for x in (weights[0].parent / "metrics.jsonl").open()]
    wanted = {"loss", "adversarial", "dark", "flicker", "grey", "sharpness", "critic loss"}
    assert wanted | {"score clean", "score made", "critic gradient"} <= set(rows[0])
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


def test_without_weight_there_is_no_discriminator(config: TrainingConfig, tmp_path: Path) -> None:
    bare = RefinementConfig(adversarial=0, grey=0)
    data = config.data.model_copy(update={"real": None})
    alone = config.model_copy(update={"refinement": bare, "data": data, "steps": 1})
    train(alone, tmp_path / "run", device="cpu")
    row = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert {"dark", "sharpness"} <= set(row)
    assert not {"adversarial", "grey", "flicker", "critic loss"} & set(row)
    both = alone.model_copy(update={"refinement": config.refinement, "steps": 2})
    with pytest.raises(DerainError, match="without a discriminator"):
        train(both, tmp_path / "run", device="cpu", resume=True)


def test_lpips_without_its_backbone_is_a_sentence(config: TrainingConfig, tmp_path: Path) -> None:
    asked = RefinementConfig(lpips=0.1, lpips_weights=str(tmp_path / "alexnet.pth"))
    with pytest.raises(DerainError, match=r"--set refinement\.lpips_weights=FILE"):
        refinement_objective(config.model_copy(update={"refinement": asked}), CPU)


def test_a_discriminator_that_cannot_be_built_is_a_sentence(config: TrainingConfig) -> None:
    asked = RefinementConfig(settings={"wdith": 3})
    with pytest.raises(DerainError, match="wdith"):
        refinement_objective(config.model_copy(update={"refinement": asked}), CPU)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "settings"), [("swift", TINY), ("two_stage", {"width": 8, "blocks": 1})]
)
def test_200_steps_lower_the_loss_and_keep_scores_apart(
    name: str, settings: dict[str, object], config: TrainingConfig, tmp_path: Path
) -> None:
    """On one fixed batch, network and discriminator in turn."""
    config = config.model_copy(update={"model": name, "settings": settings, "learning_rate": 2e-3})
    torch.manual_seed(0)
    model = make_network(config, fresh=True).train()
    learners = make_learners(config, model, refinement_objective(config, CPU), Processes(CPU))
    assert isinstance(learners[1].module, PatchDiscriminator)
    assert config.data.real is not None
    files = [cached_clip(p, tmp_path) for p in find_clips(Path(config.data.clips))]
    samples = refinement_samples(RainyClips(files, config.data, 1, 2), 1, tmp_path)
    batch = default_collate([samples[i] for i in range(2)])
    rows = []
    for _ in range(200):
        given, row = batch, {}
        for learner in learners:
            learner.optimiser.zero_grad()
            given, terms = learner.backward(given, 1, last=True)
            row |= {key: float(value.detach()) for key, value in terms.items()}
        for learner in learners:
            learner.clip_gradient()
            learner.optimiser.step()
        rows.append(row)
    assert rows[-1]["image"] < rows[0]["image"] - 0.005
    last = rows[-20:]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    apart = [row["score clean"] - row["score made"] for row in last]
    assert sum(apart) / len(apart) > 0.02
