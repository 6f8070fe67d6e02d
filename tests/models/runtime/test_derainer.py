"""`Derainer`: padding, precision, dials, broken numbers and errors."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from derain.models import Derainer, DerainError, Output, create_model, load_model, save_model
from derain.models.networks.per_frame import PerFrame
from derain.models.registry import list_models, weights_file
from derain.models.runtime.derainer import choose_device
from derain.models.runtime.preparation import pad_to_multiple
from derain.models.runtime.tiles import Mean, spatial_mean
from derain.models.video_model import SingleImageModel


class Half(SingleImageModel):
    """Removes half of everything; asks for multiples of 16."""

    multiple, halo = 16, 0

    def forward_layers(
        self, rainy: Tensor, mean: Mean = spatial_mean
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert rainy.shape[-1] % 16 == 0
        assert rainy.shape[-2] % 16 == 0
        return rainy / 2, {}


class BreaksInHalf(nn.Module):
    """Gives NaN whenever autocast is on, as float16 does on some cards."""

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy * (float("nan") if torch.is_autocast_enabled("cpu") else 1.0)


class AlwaysBroken(nn.Module):
    """Gives one column of `value`."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, rainy: Tensor) -> Tensor:
        return rainy.index_fill(3, torch.tensor([2]), self.value)


def frame(height: int = 20, width: int = 30) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


def derainer(net: nn.Module, **options: Any) -> Derainer:
    return Derainer(PerFrame(net), device="cpu", **options)


def test_pads_and_crops() -> None:
    output = derainer(Half()).push(frame())
    assert output is not None
    torch.testing.assert_close(output.image[0], frame() / 2)


def test_padding_mirrors_and_replicates_where_it_cannot() -> None:
    frame = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 5, 5)
    assert pad_to_multiple(frame, 8)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert pad_to_multiple(frame[..., :1], 4)[0, 0, 0].tolist() == [0, 0, 0, 0]


def test_a_frame_that_half_precision_broke_is_redone() -> None:
    notices: list[str] = []
    run = derainer(BreaksInHalf(), precision="bf16", notice=notices.append)
    output = run.push(frame())
    assert output is not None
    torch.testing.assert_close(output.image[0], frame())
    assert len(notices) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_stay_broken_are_an_error(value: float) -> None:
    """Infinities, too: they must not be clamped to black and white."""
    with pytest.raises(DerainError, match="not finite"):
        derainer(AlwaysBroken(value)).push(frame())


def test_dials_give_the_input_back_at_zero() -> None:
    output = derainer(Half(), streaks=0.0, haze=0.0).push(frame())
    assert output is not None
    torch.testing.assert_close(output.image[0], frame())


def test_dialled_output_is_not_fed_back() -> None:
    torch.manual_seed(0)
    net = create_model("swift")
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    clip = [torch.rand(3, 48, 64) for _ in range(5)]
    full = Derainer(net, device="cpu", precision="fp32")
    part = Derainer(net, device="cpu", precision="fp32", streaks=0.3, haze=0.5)
    for frame in clip:
        a, b = full.push(frame), part.push(frame)
    assert a is not None
    assert b is not None
    torch.testing.assert_close(full.state.image, part.state.image, atol=0, rtol=0)
    assert not torch.equal(a.image, b.image)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "fp8"}, "not a precision"),
        ({"precision": "fp16"}, "not for the CPU"),
        ({"streaks": 2.0}, "between 0 and 1"),
        ({"device": "toaster"}, "not a device"),
        ({"device": "meta"}, "use auto, cpu, cuda, mps or xpu"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DerainError, match=words):
        Derainer(PerFrame(Half()), **({"device": "cpu"} | options))


def test_a_graphics_card_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1").index == 1
    with pytest.raises(DerainError, match="the last one is cuda:1"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.xpu, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("xpu", "mps"):
        with pytest.raises(DerainError, match=f"no {name.upper()} device here"):
            choose_device(name)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps").type == "mps"


def test_after_a_failure_the_next_frame_begins_a_shot() -> None:
    run = derainer(AlwaysBroken(float("nan")))
    with pytest.raises(DerainError, match="not finite"):
        run.push(frame())
    run.model = PerFrame(Half())
    output = run.push(frame(40, 40))
    assert output is not None
    torch.testing.assert_close(output.image[0], frame(40, 40) / 2)


def test_memory_that_a_library_lacks_is_a_sentence() -> None:
    class Full(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")

    with pytest.raises(DerainError, match="not enough memory"):
        derainer(Full(), tile="off").push(frame())


def test_size_must_not_change_inside_a_shot() -> None:
    run = derainer(Half())
    run.push(frame())
    with pytest.raises(DerainError, match="size changed"):
        run.push(frame(40, 40))
    run.flush()
    assert isinstance(run.push(frame(40, 40)), Output)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = create_model("swift", widths=(8, 16, 16), hidden=8)
    path = tmp_path / "small.safetensors"
    save_model(net, path, dtype=torch.float32)
    again = load_model(path)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


@pytest.mark.parametrize(
    ("note", "hidden"),
    [
        ({}, set()),
        ({"steps": 9}, {"occlusion"}),  # weights of 0.1.0 were not taught it
        (
            {"steps": 9, "layers": ["recovered", "occlusion", "transmission"]},
            {"streaks", "airlight"},
        ),
        ({"layers": "all"}, set()),
    ],
)
def test_layers_that_were_not_learned_are_not_shown(
    note: dict[str, Any], hidden: set[str], tmp_path: Path
) -> None:
    path = tmp_path / "swift.safetensors"
    save_model(create_model("swift"), path, note=note)
    for streaks in (1.0, 0.5):
        derainer = Derainer(load_model(path), device="cpu", streaks=streaks)
        (output,) = derainer.stream([torch.rand(1, 3, 32, 32)])
        layers = ("recovered", "streaks", "occlusion", "transmission", "airlight")
        assert {name for name in layers if getattr(output, name) is None} == hidden


@pytest.mark.parametrize("name", [name for name in list_models() if weights_file(name)])
def test_no_shipped_weights_show_occlusion(name: str) -> None:
    # It correlates with the truth by 0.26 at most (tests/bench/layers.py).
    assert "occlusion" in load_model(name).description.unlearned


def test_weights_that_cannot_be_loaded_are_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_model(create_model("swift", widths=(8, 16, 16), hidden=8), path)
    with pytest.raises(DerainError, match="no model"):
        load_model("nonsense")
    with pytest.raises(DerainError, match="holds weights of 'swift'"):
        load_model("median", weights=path)
    with pytest.raises(DerainError, match="no weight file"):
        load_model("swift", weights=tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(DerainError, match=r"cannot be read|can be read safely"):
        load_model("swift", weights=tmp_path / "text.safetensors")


def test_frames_are_let_go_at_once_not_when_cycles_are_collected() -> None:
    run = derainer(Half())
    run.push(frame())
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            run.push(frame())
        assert gc.collect() == 0
    finally:
        gc.enable()
