"""The two stages over one window: golden numbers, bounds, earlier outputs, many frames at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from derain.models.networks.two_stage.stages import CorrectedStages, ReferenceStages, State
from derain.models.ops.scattering import T_MIN

Read = Callable[[str], Any]
WIDTH = 4


def fresh(cells: int, frame: Tensor, unshuffle: int) -> State:
    """The state before the first of the frames (B, 3, H, W)."""
    batch, _, height, width = frame.shape
    deep = height // (4 * unshuffle), width // (4 * unshuffle)
    zero = torch.tensor(0)
    return State(
        torch.zeros(batch, 4, 3, height, width, dtype=frame.dtype),
        torch.zeros(batch, 2, 3, height, width, dtype=frame.dtype),
        torch.zeros(batch, cells, 2, 4 * WIDTH, *deep, dtype=frame.dtype),
        zero,
        zero,
    )


def lively(scale: float = 1.0) -> CorrectedStages:
    """Corrected stages whose last layers are not zero, so that nothing is the identity."""
    torch.manual_seed(3)
    stages = CorrectedStages(WIDTH, 1, 2).eval()
    with torch.no_grad():
        for name, weight in stages.named_parameters():
            if weight.ndim == 4 and not weight.any():
                weight.normal_(std=0.1 if "refine" in name else 0.05)
            weight.mul_(scale)
    return stages


def test_veil_is_taken_off_as_in_the_golden_numbers(golden: Read) -> None:
    """The reference's floor of t and its inversion, through the very lines the network runs."""
    expected = golden("two_stage/losses_ops").tensors
    stages = ReferenceStages(WIDTH, 1).double()
    hazy, raw, airlight = (expected[f"compose.{name}"].double() for name in ("H", "t_raw", "A"))
    window = torch.rand(1, 5, 3, 32, 48, dtype=torch.float64)
    state = fresh(stages.cells, window[:, 2], 1)
    cell = state.memory[:, 0]
    given: Any = stages
    given.res.forward = lambda *_: ([hazy], [cell])
    given.haze.forward = lambda *_: ([raw, airlight], [cell] * 2)
    output, _ = stages(window, state)
    close = {"atol": 2e-6, "rtol": 2e-6}
    torch.testing.assert_close(output.recovered, expected["compose.J"].double(), **close)
    torch.testing.assert_close(output.transmission, expected["compose.t_clamped"].double(), **close)


def test_corrected_physics_is_bounded_whatever_the_weights() -> None:
    stages = lively(3.0)
    window = torch.rand(1, 5, 3, 16, 24)
    state = fresh(stages.cells, window[:, 2], 2)
    with torch.no_grad():
        output, _ = stages(window, state)
        training, _ = stages.train()(window, state)
    assert output.transmission is not None
    assert output.transmission.min() >= T_MIN
    for value in (output.recovered, output.airlight, output.occlusion):
        assert value is not None
        assert value.min() >= 0
        assert value.max() <= 1
    assert training.recovered is not None
    assert training.recovered.min() < 0  # the margin that gradients need
    assert training.recovered.min() >= -0.2 - 1e-6
    assert training.recovered.max() <= 1.2 + 1e-6


def test_an_output_that_is_not_there_yet_has_a_stand_in() -> None:
    frame = torch.rand(1, 3, 16, 16)
    state = fresh(1, frame, 1)
    first, second = torch.full_like(frame, 1.0), torch.full_like(frame, 2.0)
    memory = [state.memory[:, 0]]
    for wanted in ((frame, frame), (frame, first), (first, second)):
        found = state.earlier(frame).unbind(1)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        state = state.advance(second if int(state.remembered) else first, memory)


@pytest.mark.parametrize("length", [1, 3])
def test_all_frames_at_once_are_one_after_another(length: int) -> None:
    stages = lively()
    windows = torch.rand(1, length, 5, 3, 16, 24)
    state = fresh(stages.cells, windows[:, 0, 2], 2)
    with torch.no_grad():
        whole, after = stages.run(windows, state)
        for index in range(length):
            output, state = stages(windows[:, index], state)
            torch.testing.assert_close(output.image, whole.image[:, index], atol=1e-5, rtol=0)
    torch.testing.assert_close(after.memory, state.memory, atol=1e-5, rtol=1e-4)
    assert int(after.remembered) == length
