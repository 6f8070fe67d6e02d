"""The paper's recipe: its presets, held to the golden numbers and to a step written out."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from derain.configs.training import DiscriminatorSettings, TrainingConfig, load_training
from derain.models import DerainError, create_model
from derain.models.convert import flatten
from derain.models.networks.discriminator import ReferenceDiscriminator
from derain.models.networks.discriminator import convert_reference as convert_discriminator
from derain.models.networks.two_stage import TwoStage, convert_reference
from derain.models.output import Output
from derain.stages.data.batch import Batch
from derain.stages.data.real_rain import RefinementBatch
from derain.stages.losses.losses import Objective
from derain.stages.losses.paper import Frame, Taught, critic_loss, judge, paper_objective
from derain.stages.training.distributed import Processes
from derain.stages.training.learner import learning_rate, make_learners
from derain.stages.training.loop import train

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "../shared/golden/two_stage"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers are not here")
CPU = torch.device("cpu")
ROLES = ("res", "haze", "s2")
SLIM = {"variant": "reference", "width": 4, "blocks": 1, "unshuffle": 1}


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = _load(ROOT / "tests/models/networks/two_stage/two_stage_literal.py")


def preset(name: str, **changes: Any) -> TrainingConfig:
    path = ROOT / f"configs/paper/two_stage_{name}.yaml"
    return load_training(path, ["data.clips=clips", "data.validation=null"]).model_copy(
        update=changes
    )


def batch_of(rainy: Tensor) -> Batch:
    """A batch with truth made up, beside the given clip."""
    torch.manual_seed(1)
    frames = rainy.shape[:2]
    return Batch(
        rainy=rainy,
        clean=torch.rand_like(rainy),
        transmission=0.2 + 0.8 * torch.rand(*frames, 1, *rainy.shape[-2:]),
        airlight=torch.rand(*frames, 3, 1, 1),
        streaks=rainy,
        occlusion=rainy[:, :, :1],
        boldness=torch.full((len(rainy), 1, 1, 1), 0.5),
        weight=torch.ones_like(rainy[:, :, :1]),
    )


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """The authors' SSIM in one piece: 11x11 Gaussian of sigma 1.5 over zeros around the image."""
    place = torch.arange(11, dtype=a.dtype) - 5
    row = torch.exp(-(place**2) / (2 * 1.5**2))
    window = torch.outer(row, row) / row.sum() ** 2
    channels = a.shape[1]
    kernel = window.expand(channels, 1, 11, 11)

    def mean(x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, kernel, padding=5, groups=channels)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    above = (2 * ma * mb + 0.01**2) * (2 * cov + 0.03**2)
    return (above / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))).mean()


def literal_loss(outputs: list[dict[str, Tensor]], batch: Batch) -> Tensor:
    total = torch.zeros((), dtype=batch.clean.dtype)
    for k, found in enumerate(outputs):
        clean, t = batch.clean[:, k + 2], batch.transmission[:, k + 2]
        light = batch.airlight[:, k + 2].expand_as(clean)
        three = found["t_clamped"].expand(-1, 3, -1, -1)
        total = total - ssim(found["H"], t * clean + (1 - t) * light)
        total = total - ssim(three, t.expand_as(three))
        total = total - ssim(found["A"], light) - ssim(found["out"], clean)
    return total


@golden
def test_ssim_is_the_golden_one() -> None:
    """So that what the losses are compared with below is the authors' too."""
    found = load_file(GOLDEN / "losses_ops.safetensors")
    a = found["ssim.img1"].requires_grad_()
    value = ssim(a, found["ssim.img2"])
    assert float(value.detach()) == pytest.approx(float(found["ssim.value"]), abs=1e-6)
    (gradient,) = torch.autograd.grad(-value, a)
    expected = found["ssim.grad_of_minus_ssim_wrt_img1"]
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@golden
def test_recovery_loses_what_the_golden_sequence_loses() -> None:
    """The preset's network and loss, at the authors' width, on the golden frames."""
    tensors = load_file(GOLDEN / "pipeline_nf32_seeded.safetensors")
    config = preset("recovery")
    weights = {role: literal.rule_weights(role) for role in ROLES}
    model = create_model(config.model, **config.settings)
    model.load_state_dict(convert_reference(flatten(weights))[1])
    batch = batch_of(torch.stack([tensors[f"frame{k}"] for k in range(7)], 1))
    objective = paper_objective(config, CPU)
    with torch.no_grad():
        loss, _ = objective.loss(objective.run(model, batch), batch)
    names = ("H", "t_clamped", "A", "out")
    outputs = [{name: tensors[f"step{k}.{name}"] for name in names} for k in range(3)]
    assert float(loss) == pytest.approx(float(literal_loss(outputs, batch)), abs=1e-4)


@golden
def test_the_discriminator_loses_what_the_golden_scores_lose() -> None:
    tensors = load_file(GOLDEN / "discriminator_w8.safetensors")
    state = {key[2:]: value for key, value in tensors.items() if key.startswith("w.")}
    settings, weights = convert_discriminator(state)
    critic = ReferenceDiscriminator(**settings)
    critic.load_state_dict(weights)
    chance, x = torch.rand(2, 3), tensors["x_128"]
    taught = Taught([Frame(Output(image=x), x, None, chance)] * 3, [])
    with torch.no_grad():
        loss, _ = critic_loss(judge(critic.train(), taught), taught)
    y = tensors["train.y_128"]
    real, fake = 0.7 + 0.5 * chance[:, 1:2], 0.3 * chance[:, 2:3]
    expected = 2 * ((y - real).square().mean() + (y - fake).square().mean())
    assert float(loss) == pytest.approx(float(expected.detach()), abs=1e-5)


def slim(name: str) -> tuple[TrainingConfig, dict[str, dict[str, Tensor]], TwoStage, Objective]:
    """A preset with a narrow network, its weights in the authors' layout too."""
    torch.manual_seed(0)
    changes: dict[str, Any] = {"settings": SLIM}
    config = preset(name, **changes)
    if config.refinement is not None:
        narrow = config.refinement.model_copy(update={"settings": DiscriminatorSettings(width=4)})
        config = config.model_copy(update={"refinement": narrow})
    weights = {role: literal.rule_weights(role, 4, 1) for role in ROLES}
    model = create_model(config.model, **config.settings)
    assert isinstance(model, TwoStage)
    model.load_state_dict(convert_reference(flatten(weights))[1])
    return config, weights, model.train(), paper_objective(config, CPU)


def run_literally(
    weights: dict[str, dict[str, Tensor]], rainy: Tensor
) -> list[tuple[dict[str, Tensor], dict[str, Any]]]:
    """What the literal network finds in each frame, and its memories after it, all held."""
    network = literal.Literal(weights)
    found = []
    for k in range(rainy.shape[1] - 4):
        network.outputs = [x.detach() for x in network.outputs]
        network.states = {
            name: None if state is None else tuple(x.detach() for x in state)
            for name, state in network.states.items()
        }
        found.append((network.step(rainy[:, k : k + 5]), dict(network.states)))
    return found


def adam(weight: Tensor, gradient: Tensor) -> Tensor:
    """The first step of Adam at 1e-4, by its equations."""
    mean, square = 0.1 * gradient / (1 - 0.9), 0.001 * gradient**2 / (1 - 0.999)
    return weight - 1e-4 * mean / (square.sqrt() + 1e-8)


def stepped(weights: dict[str, dict[str, Tensor]], loss: Tensor) -> dict[str, Tensor]:
    """Our weights after a step of Adam against a literal loss."""
    after = {}
    for role, own in weights.items():
        leaves = [w for w in own.values() if w.requires_grad]
        if not leaves:
            after[role] = own
            continue
        found = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
        gradients = iter(found)
        after[role] = {
            key: adam(w, g) if w.requires_grad and (g := next(gradients)) is not None else w
            for key, w in own.items()
        }
    return convert_reference(flatten(after))[1]


def assert_stepped(model: TwoStage, expected: dict[str, Tensor], before: TwoStage) -> None:
    """Adam's first step is of nearly one length, whatever the gradient: its sign must agree."""
    start, agree, count = before.state_dict(), 0, 0
    for name, weight in model.state_dict().items():
        assert float((weight - start[name]).abs().max()) < 1.01e-4
        agree += int(((weight - expected[name]).abs() < 2e-6).sum())
        count += weight.numel()
    assert agree > 0.999 * count


def test_a_step_of_the_recovery_is_the_literal_one() -> None:
    config, weights, model, objective = slim("recovery")
    before = create_model(config.model, **config.settings)
    before.load_state_dict(model.state_dict())
    batch = batch_of(torch.rand(2, 7, 3, 32, 32))
    (learner,) = make_learners(config, model, objective, Processes(CPU))
    _, terms = learner.backward(batch, 1, last=True)
    learner.max_grad_norm()
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate(0, config)
    learner.optimiser.step()
    for own in weights.values():
        for weight in own.values():
            weight.requires_grad_()
    expected = literal_loss([found for found, _ in run_literally(weights, batch.rainy)], batch)
    assert float(terms["loss"].detach()) == pytest.approx(float(expected.detach()), abs=1e-4)
    assert isinstance(before, TwoStage)
    assert_stepped(model, stepped(weights, expected), before)


def literal_refinement(
    weights: dict[str, dict[str, Tensor]], critic: torch.nn.Module, batch: RefinementBatch
) -> Tensor:
    pairs, chance = batch.pairs, batch.chance[:, 4:]
    found = run_literally(weights, pairs.rainy)
    total = literal_loss([outputs for outputs, _ in found], pairs)
    for k, (outputs, states) in enumerate(found):
        g = 0.8 + 0.01 * math.floor(20 * float(chance[0, 3 * k]))
        grey = torch.full((2, 18, 32, 32), g)
        held = {name: tuple(x.detach() for x in state) for name, state in states.items()}
        raw, light, *_ = literal.generator(weights["haze"], grey, held["thin"], held["light"])
        image, *_ = literal.generator(weights["s2"], grey, held["s2"], None)
        total = total + 0.1 * (
            ((raw - 1) ** 2).mean() + ((light - g) ** 2).mean() + ((image - g) ** 2).mean()
        )
        if k == 0:
            continue
        now, before = outputs["out"].min(1).values, found[k - 1][0]["out"].min(1).values
        real = 0.7 + 0.5 * chance[:, 3 * k + 1 : 3 * k + 2]
        total = total + 0.001 * ((critic(outputs["out"]) - real) ** 2).mean()
        total = total + 0.1 * (now - before.detach()).abs().mean() + 0.01 * now.abs().mean()
    return total


def test_a_step_of_the_refinement_is_the_literal_one() -> None:
    """Network and discriminator; what estimates H stays."""
    config, weights, model, objective = slim("refinement")
    before = create_model(config.model, **config.settings)
    before.load_state_dict(model.state_dict())
    model.stages.res.requires_grad_(False)
    pairs = batch_of(torch.rand(2, 7, 3, 32, 32))
    batch = RefinementBatch(
        pairs, pairs.rainy[:, :0], torch.zeros(2, dtype=torch.bool), torch.rand(2, 4 + 3 * 7)
    )
    learner, against = make_learners(config, model, objective, Processes(CPU))
    group = against.optimiser.param_groups[0]
    assert (group["lr"], group["betas"]) == (1e-4, (0.9, 0.999))
    taught, terms = learner.backward(batch, 1, last=True)
    for group in learner.optimiser.param_groups:
        group["lr"] = learning_rate(0, config)
    for role in ("haze", "s2"):
        for weight in weights[role].values():
            weight.requires_grad_()
    expected = literal_refinement(weights, against.module, batch)
    assert float(terms["loss"].detach()) == pytest.approx(float(expected.detach()), abs=1e-4)
    learner.optimiser.step()
    assert isinstance(before, TwoStage)
    assert_stepped(model, stepped(weights, expected), before)
    for old, new in zip(before.stages.res.parameters(), model.stages.res.parameters(), strict=True):
        assert torch.equal(old, new)

    start = [p.detach().clone() for p in against.module.parameters()]
    assert all(p.grad is None for p in against.module.parameters())
    _, scores = against.backward(taught, 1, last=True)
    lost = torch.zeros(())
    for k in (1, 2):
        image, clean = taught.frames[k].output.image.detach(), pairs.clean[:, k + 2]
        real = 0.7 + 0.5 * batch.chance[:, 4 + 3 * k + 1][:, None]
        fake = 0.3 * batch.chance[:, 4 + 3 * k + 2][:, None]
        lost = lost + ((against.module(clean) - real) ** 2).mean()
        lost = lost + ((against.module(image) - fake) ** 2).mean()
    assert float(scores["critic loss"].detach()) == pytest.approx(float(lost.detach()), abs=1e-5)
    gradients = torch.autograd.grad(lost, list(against.module.parameters()))
    against.optimiser.step()
    for old, gradient, new in zip(start, gradients, against.module.parameters(), strict=True):
        close = (adam(old, gradient) - new).abs() < 2e-6
        assert float((close | (gradient.abs() < 1e-6)).float().mean()) > 0.99


def test_real_rain_adds_flicker_and_dark_alone() -> None:
    _, _, model, objective = slim("refinement")
    pairs = batch_of(torch.rand(2, 7, 3, 32, 32))
    chance = torch.rand(2, 4 + 3 * 7)
    losses = []
    for real in (pairs.rainy[:, :0], torch.rand(2, 7, 3, 32, 32)):
        batch = RefinementBatch(pairs, real, torch.full((2,), bool(real.numel())), chance)
        with torch.no_grad():
            losses.append(objective.loss(objective.run(model, batch), batch)[1])
    changed = {name for name in losses[0] if losses[1][name] != losses[0][name]}
    assert changed == {"flicker", "dark"}
    assert losses[1]["flicker"] > losses[0]["flicker"]


def test_the_rate_is_halved_at_the_authors_epochs() -> None:
    config = preset("recovery")
    rates = {epoch: learning_rate(1000 * (epoch - 1), config) for epoch in (1, 19, 20, 40, 99, 100)}
    assert rates[1] == rates[19] == 1e-4
    assert rates[20] == pytest.approx(5e-5)
    assert rates[40] == pytest.approx(2.5e-5)
    assert rates[99] == pytest.approx(1e-4 / 16)
    assert rates[100] == pytest.approx(1e-4 / 32)


def test_other_networks_are_a_sentence() -> None:
    objective = paper_objective(preset("recovery"), CPU)
    with pytest.raises(DerainError, match="variant: reference"):
        objective.run(create_model("swift"), batch_of(torch.rand(1, 7, 3, 32, 32)))


@pytest.mark.usefixtures("own_home")
def test_both_presets_run_one_after_the_other(
    make_walk: Callable[..., Path], tmp_path: Path
) -> None:
    clips = make_walk(tmp_path / "clips", 9)
    tiny: dict[str, Any] = {"settings": SLIM, "steps": 2, "log_every": 1}
    first = preset("recovery", **tiny)
    data = first.data.model_copy(update={"clips": str(clips), "crop": 32, "workers": 0})
    weights = train(first.model_copy(update={"data": data}), tmp_path / "one", device="cpu")
    then = preset("refinement", **tiny, init=str(weights))
    assert then.refinement is not None
    narrow = then.refinement.model_copy(update={"settings": DiscriminatorSettings(width=4)})
    data = data.model_copy(update={"real": str(clips)})
    train(
        then.model_copy(update={"data": data, "refinement": narrow}), tmp_path / "two", device="cpu"
    )
    assert (tmp_path / "two" / "two_stage.safetensors").is_file()
