"""What several tests of networks share: running them, and the originals' numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from derain.models import Derainer

GOLDEN = Path(__file__).resolve().parents[3] / "shared/golden"


class Golden(NamedTuple):
    """A file of an original's numbers."""

    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name starts with `prefix`, without it."""
        chosen = {k: v for k, v in self.tensors.items() if k.startswith(prefix)}
        return {k.removeprefix(prefix): v for k, v in chosen.items()}


@pytest.fixture
def golden_file() -> Callable[[str], Path]:
    """`golden_file("dcsfn/NAME")`: its path; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        if not (GOLDEN / name).is_file():
            pytest.skip("the original's numbers are not at hand")
        return GOLDEN / name

    return find


@pytest.fixture
def golden(golden_file: Callable[[str], Path]) -> Callable[[str], Golden]:
    """`golden("dcsfn/NAME")`: read NAME.safetensors; skipped where it is not at hand."""

    def read(name: str) -> Golden:
        with safe_open(golden_file(f"{name}.safetensors"), "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return Golden(json.loads((file.metadata() or {}).get("meta", "{}")), tensors)

    return read


@pytest.fixture
def run() -> Callable[[Derainer, Tensor], Tensor]:
    """`run(derainer, clip)`: all frames of one shot (T, 3, H, W)."""

    def derain(derainer: Derainer, clip: Tensor) -> Tensor:
        outputs = [output for frame in clip if (output := derainer.push(frame)) is not None]
        return torch.cat([output.image for output in outputs + derainer.flush()])

    return derain


@pytest.fixture
def hold_in_half() -> Callable[[nn.Module, Tensor], None]:
    """`hold_in_half(net, rainy)`: in bfloat16 the result is another, by -45 dB at most."""

    def check(net: nn.Module, rainy: Tensor) -> None:
        with torch.no_grad():
            exact = net(rainy)
            with torch.autocast("cpu", torch.bfloat16):
                half = net(rainy)
        assert half.dtype == torch.float32
        assert float((half - exact).abs().max()) > 0
        assert -10 * float(torch.log10((half - exact).square().mean())) > 45

    return check
