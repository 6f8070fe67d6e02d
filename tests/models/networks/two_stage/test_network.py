"""The two-stage network: golden numbers, a literal forward, the contract's laws, conversion."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from derain.models.convert import flatten
from derain.models.errors import DerainError
from derain.models.networks.two_stage import State, TwoStage, convert_reference

Read = Callable[[str], Any]
ROLES = ("res", "haze", "s2")
SLIM: dict[str, Any] = {"width": 4, "blocks": 1}


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = _load("two_stage_literal")


def _reference(weights: dict[str, dict[str, Tensor]], **options: Any) -> TwoStage:
    settings, state = convert_reference(flatten(weights), **options)
    model = TwoStage(**settings)
    model.load_state_dict(state)
    return model.eval()


def _fresh(model: TwoStage, frames: Tensor) -> State:
    size = frames.shape[0], frames.shape[-2], frames.shape[-1]
    return model.initial_state(*size, device=frames.device, dtype=frames.dtype)


def _lively(**settings: Any) -> TwoStage:
    """A corrected network whose last layers are not zero, so that nothing is the identity."""
    torch.manual_seed(3)
    model = TwoStage(**(SLIM | settings)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 4 and not weight.any():
                weight.normal_(std=0.1 if "refine" in name else 0.05)
    return model


def _waves(length: int) -> Tensor:
    """Smooth, moving frames (1, length, 3, 16, 24)."""
    place = 0.4 * torch.arange(16.0)[:, None] + 0.3 * torch.arange(24.0)
    colour, time = torch.arange(3.0)[:, None, None], 0.3 * torch.arange(length)
    return 0.5 + 0.4 * torch.sin(place + colour + time[:, None, None, None])[None]


def _gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a part of the largest value where that is above 1."""
    return float((a - b).abs().max() / b.abs().max().clamp_min(1))


def test_rule_made_weights_are_those_of_the_golden_numbers(golden_file: Read) -> None:
    checks = json.loads(golden_file("two_stage/seeded_res_nf32_checks.json").read_text())
    weights = literal.rule_weights("res")
    assert weights.keys() == checks.keys()
    for key, (total, first, last) in checks.items():
        flat = weights[key].double().flatten()
        found = torch.tensor([flat.sum(), flat[0], flat[-1]], dtype=torch.float64)
        assert torch.allclose(found, torch.tensor([total, first, last]).double(), atol=1e-4)


def test_full_width_reproduces_the_golden_sequence(golden: Read) -> None:
    expected = golden("two_stage/pipeline_nf32_seeded").tensors
    frames = torch.stack([expected[f"frame{k}"] for k in range(7)], 1)
    model = _reference({role: literal.rule_weights(role) for role in ROLES})
    state = _fresh(model, frames[:, 0])
    with torch.no_grad():
        for k in range(3):
            output, state = model.step_window(frames[:, k : k + 5], state)
            found = {
                "H": output.hazy,
                "t_raw": output.features["transmission_raw"],
                "t_clamped": output.transmission,
                "A": output.airlight,
                "J1": output.recovered,
                "out": output.image,
            }
            for name, value in found.items():
                assert value is not None
                assert _gap(value, expected[f"step{k}.{name}"]) < 1e-5, (k, name)
    for cell, role in enumerate(("res", "trans", "alpha", "s2")):
        for kind, part in enumerate("hc"):
            wanted = expected[f"step2.state_{role}.{part}"]
            assert _gap(state.memory[:, cell, kind], wanted) < 1e-5, (role, part)


@pytest.mark.parametrize(("n", "blocks", "order"), [(4, 1, "rgb"), (6, 3, "rgb"), (8, 2, "bgr")])
def test_reference_is_a_literal_forward_at_any_width_and_depth(
    n: int, blocks: int, order: str
) -> None:
    weights = {role: literal.rule_weights(role, n, blocks) for role in ROLES}
    model = _reference(weights, channel_order=order).double()
    plain = literal.Literal(weights, torch.float64)
    generator = torch.Generator().manual_seed(n)
    frames = torch.rand(2, 8, 3, 16, 24, generator=generator, dtype=torch.float64)
    turned = frames if order == "rgb" else frames.flip(2)
    state = _fresh(model, frames[:, 0])
    with torch.no_grad():
        for k in range(4):
            expected = plain.step(turned[:, k : k + 5])
            output, state = model.step_window(frames[:, k : k + 5], state)
            pairs = [("H", output.hazy), ("A", output.airlight), ("out", output.image)]
            for name, value in pairs:
                assert value is not None
                wanted = expected[name] if order == "rgb" else expected[name].flip(1)
                assert _gap(value, wanted) < 1e-10, (k, name)
            assert output.transmission is not None
            assert _gap(output.transmission, expected["t_clamped"]) < 1e-10


def test_reference_works_for_its_four_used_heads_alone() -> None:
    model = TwoStage("reference", width=32, blocks=5, unshuffle=1).eval()
    assert sum(p.numel() for p in model.parameters()) == 23_753_612
    window = torch.rand(1, 5, 3, 16, 16)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.step_window(window, _fresh(model, window[:, 0]))
    assert counter.get_total_flops() / (16 * 16 * 1e3) == pytest.approx(6983, abs=0.5)


def test_corrected_starts_as_a_network_that_changes_next_to_nothing() -> None:
    torch.manual_seed(0)
    model = TwoStage().eval()
    clip = torch.rand(1, 3, 3, 32, 32)
    with torch.no_grad():
        output, _ = model(clip)
    assert (output.image - clip).abs().mean() < 0.02
    assert output.transmission is not None
    assert output.transmission.min() > 0.95


MODELS = [
    pytest.param({"variant": "corrected"}, id="corrected"),
    pytest.param({"variant": "corrected", "unshuffle": 1}, id="corrected, every pixel"),
    pytest.param({"variant": "reference", "unshuffle": 1}, id="reference"),
]


def _any(settings: dict[str, Any]) -> TwoStage:
    if settings["variant"] == "corrected":
        return _lively(**settings)
    return _reference({role: literal.rule_weights(role, 4, 1) for role in ROLES})


@pytest.mark.parametrize("settings", MODELS)
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_steps_and_flush_are_forward_and_pieces_are_the_whole(
    settings: dict[str, Any], length: int
) -> None:
    model = _any(settings)
    clip = torch.rand(1, length, 3, 16, 24)
    with torch.no_grad():
        whole, _ = model(clip)
        state = _fresh(model, clip[:, 0])
        stepped = []
        for index in range(length):
            output, state = model.step(clip[:, index], state)
            assert (output is None) == (index < model.latency)
            stepped += [] if output is None else [output]
        stepped += model.flush(state)
        assert len(stepped) == length
        assert whole.image.shape == clip.shape
        for index, output in enumerate(stepped):
            assert torch.equal(output.image, whole.image[:, index])
        if length == 6:
            first, carried = model(clip[:, :4], _fresh(model, clip[:, 0]))
            second, carried = model(clip[:, 4:], carried)
            pieces = torch.cat([first.image, second.image], 1)
            assert torch.equal(pieces, whole.image[:, :4])
            assert torch.equal(model.flush(carried)[1].image, whole.image[:, 5])


@pytest.mark.parametrize("settings", MODELS)
def test_ends_of_a_shot_see_the_nearest_frames(settings: dict[str, Any]) -> None:
    model = _any(settings)
    clip = torch.rand(1, 4, 3, 16, 16)
    windows = [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]
    with torch.no_grad():
        whole, _ = model(clip)
        state = _fresh(model, clip[:, 0])
        for index, window in enumerate(windows):
            output, state = model.step_window(clip[:, window], state)
            assert _gap(output.image.clamp(0, 1), whole.image[:, index]) < 1e-6


@pytest.mark.parametrize("settings", MODELS)
def test_memory_counts_and_can_be_wiped_without_the_window(settings: dict[str, Any]) -> None:
    model = _any(settings)
    clip = torch.rand(1, 6, 3, 16, 16)
    with torch.no_grad():
        _, state = model(clip[:, :5], _fresh(model, clip[:, 0]))
        wiped = model.reset_hidden_state(state)
        kept, _ = model.step(clip[:, 5], state)
        forgot, _ = model.step(clip[:, 5], wiped)
        alone, _ = model.step_window(clip[:, 1:6], _fresh(model, clip[:, 0]))
    assert int(state.remembered) == 3
    assert torch.equal(wiped.frames, state.frames)
    assert torch.equal(wiped.seen, state.seen)
    assert _gap(forgot.image, alone.image.clamp(0, 1)) < 1e-6
    assert _gap(kept.image, forgot.image) > 1e-4


@pytest.mark.parametrize("settings", MODELS[1:])  # the first: tests/models/test_video_model.py
def test_half_precision_stays_close_for_forty_frames(settings: dict[str, Any]) -> None:
    model = _any(settings)
    clip = _waves(40)
    with torch.no_grad():
        exact, _ = model(clip)
        with torch.autocast("cpu", torch.bfloat16):
            half, state = model(clip)
    assert half.image.dtype == torch.float32
    assert state.memory.dtype == torch.float32
    error = (half.image - exact.image).square().mean((0, 2, 3, 4))
    assert float(-10 * torch.log10(error).max()) > 45


def test_streams_in_one_batch_do_not_touch() -> None:
    model = _lively()
    clip = torch.rand(2, 4, 3, 16, 16)
    with torch.no_grad():
        both, _ = model(clip)
        alone, _ = model(clip[1:])
    assert _gap(both.image[1:], alone.image) < 1e-6


def test_training_reaches_every_weight_and_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = TwoStage(width=8, blocks=1).train()
    clean = _waves(4)
    rainy = (clean + 0.3 * (torch.rand_like(clean[:, :, :1]) > 0.8)).clamp(0, 1)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(12):
        output, _ = model(rainy)
        assert output.recovered is not None
        # Squares: an absolute error stays long with changing nothing, as most pixels are dry.
        loss = sum((x - clean).square().mean() for x in (output.image, output.recovered))
        assert isinstance(loss, Tensor)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
    assert losses[-1] < 0.8 * losses[0]


def test_one_step_can_be_exported() -> None:
    model = _lively()
    window = torch.rand(1, 5, 3, 16, 16)

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, window: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            output, after = self.model.step_window(window, State(*state))
            return output.image, *after

    state = _fresh(model, window[:, 0])
    with torch.no_grad():
        exported = torch.export.export(Step(), (window, *state)).module()
        for _ in range(3):  # through "no output yet", one and two of them
            expected, after = model.step_window(window, state)
            image, *rest = exported(window, *state)
            assert _gap(image, expected.image) < 1e-6
            assert all(_gap(a.float(), b.float()) < 1e-5 for a, b in zip(rest, after, strict=True))
            state = after


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(DerainError, match="variant"):
        TwoStage("original")
    with pytest.raises(DerainError, match="unshuffle 1"):
        TwoStage("reference")
