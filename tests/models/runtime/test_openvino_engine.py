"""OpenVINO for the core: its results, its caches, CPUs that multiply wrongly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from derain.models import Derainer, DerainError, VideoModel, create_model, load_model
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs, CoreOutputs
from derain.models.runtime import engines
from derain.models.runtime.half_size import HalfSize
from derain.models.weights_io import as_video_model


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "derain" / "openvino"


def clip(frames: int, height: int = 64, width: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    wide = torch.rand(1, 3, height // 8, width // 4, generator=generator)
    wide = torch.nn.functional.interpolate(wide, (height, 2 * width), mode="bicubic").clamp(0, 1)
    drifting = torch.cat([0.7 * wide[..., t : t + width] for t in range(frames)])
    rain = torch.rand(frames, 1, height // 8, width, generator=generator) < 0.01
    return (drifting + 0.3 * rain.repeat_interleave(8, 2)).clamp(0, 1)


def images(model: VideoModel, engine: engines.Engine, precision: str, frames: Tensor) -> Tensor:
    outputs = Derainer(model, "cpu", precision, engine=engine).stream(frames)
    return torch.cat([output.image for output in outputs])


def decibels(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean((1, 2, 3)).max().clamp_min(1e-12)))


def test_openvino_gives_what_torch_gives(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from derain.models.runtime import openvino_engine

    model, frames = load_model("swift"), clip(8)
    wanted = images(model, "torch", "fp32", frames)
    assert decibels(images(model, "openvino", "fp32", frames), wanted) > 60
    assert decibels(images(model, "openvino", "bf16", frames), wanted) > 45
    assert decibels(images(model, "openvino", "int8", frames), wanted) > 40
    levels = (255 * frames).round().byte()
    wanted_of_levels = images(model, "torch", "fp32", levels)
    assert decibels(images(model, "openvino", "fp32", levels), wanted_of_levels) > 60
    half = HalfSize(model)
    halved = images(half, "torch", "fp32", frames)
    assert decibels(images(half, "openvino", "fp32", frames), halved) > 60
    assert cache.stat().st_mode & 0o777 == 0o700
    plain, integers = sorted(
        cache.glob("*.onnx"), key=lambda path: b"QuantizeLinear" in path.read_bytes()
    )
    assert b"QuantizeLinear" in integers.read_bytes()
    plain.write_bytes(b"broken")
    few = frames[:3]
    wanted = images(model, "torch", "fp32", few)
    assert decibels(images(model, "openvino", "fp32", few), wanted) > 60
    assert len(plain.read_bytes()) > 1000
    before = set(cache.glob("*.onnx"))
    monkeypatch.setattr(openvino_engine, "traced_code", lambda: "another version")
    images(model, "openvino", "fp32", few)
    assert len(set(cache.glob("*.onnx")) - before) == 1


def test_int8_is_for_openvino_and_weights_with_ranges() -> None:
    model = load_model("swift")
    with pytest.raises(DerainError, match="--precision int8"):
        Derainer(model, "cpu", "int8", engine="torch")
    with pytest.raises(DerainError, match="derain calibrate"):
        Derainer(as_video_model(create_model("swift")), "cpu", "int8", engine="openvino")


def test_a_cpu_that_multiplies_wrongly_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    from derain.models.runtime import openvino_engine

    right = openvino_engine.OpenVinoCore._run
    precisions: list[str] = []

    def run(self: Any, request: Any, inputs: CoreInputs) -> CoreOutputs:
        found = right(self, request, inputs)
        model = request.get_compiled_model()
        precisions.append(model.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        return found if precisions[-1] == "f32" else found._replace(image=found.image + 0.1)

    def no_compiler(*_: Any) -> Any:
        raise RuntimeError("object is not initialized")

    monkeypatch.setattr(openvino_engine.OpenVinoCore, "_run", run)
    notices: list[str] = []
    derainer = Derainer(
        load_model("swift"), "cpu", "bf16", engine="openvino", notice=notices.append
    )
    for _ in derainer.stream(clip(4)):
        pass
    assert len(notices) == 1 and "wrongly in bfloat16" in notices[0]
    assert precisions[0] == "bf16" and set(precisions[1:]) == {"f32"}
    monkeypatch.setattr(openvino_engine.OpenVinoCore, "_compile", no_compiler)
    frames, notices[:] = clip(3), []
    derainer = Derainer(load_model("swift"), "cpu", engine="openvino", notice=notices.append)
    found = torch.cat([output.image for output in derainer.stream(frames)])
    assert torch.equal(found, images(load_model("swift"), "torch", "auto", frames))
    assert len(notices) == len(set(notices)) >= 2


def test_a_home_that_cannot_be_written_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert images(load_model("swift"), "openvino", "fp32", clip(1)).shape == (1, 3, 64, 96)


def test_what_openvino_cannot_do_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DerainError, match="Only swift"):
        Derainer(load_model("median"), "cpu", engine="openvino")
    model = load_model("swift")
    monkeypatch.delitem(sys.modules, "derain.models.runtime.openvino_engine", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DerainError, match="OpenVINO is not installed"):
        Derainer(model, "cpu", engine="openvino")
    notices: list[str] = []
    monkeypatch.setattr(engines, "is_faster", lambda device: True)
    found = Derainer(model, "cpu", engine="auto", notice=notices.append)
    assert isinstance(found.model, Swift) and found.model.engine is None
    assert len(notices) == 1 and "torch does the work" in notices[0]


def test_few_sizes_are_held() -> None:
    from derain.models.runtime import openvino_engine

    small = as_video_model(create_model("swift", widths=(8, 8, 8), blocks=(0, 0), hidden=8))
    derainer = Derainer(small, "cpu", "fp32", engine="openvino")
    for width in range(32, 32 + 8 * (openvino_engine.SIZES + 2), 8):
        assert len(list(derainer.stream(clip(1, 32, width)))) == 1
    assert isinstance(derainer.model, Swift)
    core = derainer.model.engine
    assert isinstance(core, openvino_engine.OpenVinoCore)
    assert len(core._requests) == openvino_engine.SIZES
    for request in core._requests.values():
        assert request is not None
        model = request.get_compiled_model()
        assert not model.get_property("ENABLE_CPU_PINNING")  # or all processes share one core
