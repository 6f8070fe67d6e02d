"""Memory that runs out makes tiles smaller, frame for frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from derain.models import Derainer, DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.runtime import tile_planner
from derain.models.runtime.tile_planner import is_exhausted
from derain.models.runtime.tiles import Mean, Tiles, spatial_mean
from derain.models.video_model import MemoryProfile, SingleImageModel

Run = Callable[[Derainer, Tensor], Tensor]


def exactly(model: nn.Module, tile: str, **more: Any) -> Derainer:
    return Derainer(model, device="cpu", precision="fp32", tile=tile, **more)


class Hungry(SingleImageModel):
    """Half of the frame is left; more than `limit` pixels a side do not fit into the memory."""

    multiple, halo = 4, 8
    memory_profile = MemoryProfile(100, 1000)

    def __init__(self, limit: int, error: Exception) -> None:
        super().__init__()
        self.limit, self.error, self.tried = limit, error, list[int]()

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.tried.append(rainy.shape[-1])
        if max(rainy.shape[-2:]) > self.limit:
            raise self.error
        return rainy / 2, {}


CPU_ALLOCATOR = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), CPU_ALLOCATOR, MemoryError()]
)
def test_memory_that_runs_out_halves_the_tiles_and_repeats_the_frame(
    run: Run, error: Exception
) -> None:
    notices: list[str] = []
    net, clip = Hungry(60, error), torch.rand(3, 3, 96, 160)
    derainer = exactly(PerFrame(net), "auto", notice=notices.append)
    torch.testing.assert_close(run(derainer, clip), clip / 2)
    assert derainer.tile_planner.tiles == Tiles(40, 8, 4)  # 160, 80, 40
    assert len(notices) == 1
    assert net.tried[0] == 160
    assert net.tried.count(160) == 1  # what was learned is kept


@pytest.mark.parametrize(("tile", "words"), [("auto", "smaller first"), ("off", "--tile off")])
def test_memory_that_is_too_small_even_for_tiles_is_one_sentence(tile: str, words: str) -> None:
    net = Hungry(10, CPU_ALLOCATOR)
    with pytest.raises(DerainError, match=f"not enough memory for frames of 160x96.*{words}"):
        exactly(PerFrame(net), tile).push(torch.rand(3, 96, 160))
    smallest = 16 + 2 * 8 if tile == "auto" else 160
    assert min(net.tried) <= smallest


def test_other_failures_are_not_taken_for_it() -> None:
    net = Hungry(10, RuntimeError("The size of tensor a must match"))
    with pytest.raises(RuntimeError, match="must match"):
        exactly(PerFrame(net), "auto").push(torch.rand(3, 96, 160))
    assert len(net.tried) == 1


def test_knows_what_the_machine_itself_says() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_exhausted(caught.value)
    assert not is_exhausted(ValueError("a tensor of 9 bytes"))


@pytest.mark.parametrize(
    ("there", "size"), [(None, None), (10**9, None), (60_000_000, 104), (20_000_000, 16), (0, 16)]
)
def test_tiles_are_planned_by_what_the_memory_allows(
    monkeypatch: pytest.MonkeyPatch, there: int | None, size: int | None
) -> None:
    monkeypatch.setattr(tile_planner, "available", lambda device: there)
    notices: list[str] = []
    net = Hungry(1000, CPU_ALLOCATOR)
    derainer = exactly(PerFrame(net), "auto", notice=notices.append)
    derainer.push(torch.rand(3, 240, 320))
    # 42 MB, less 350 bytes for each of 76800 pixels, hold a square of 122 pixels a side
    assert derainer.tile_planner.tiles == (None if size is None else Tiles(size, 8, 4))
    assert len(notices) == (size is not None)
