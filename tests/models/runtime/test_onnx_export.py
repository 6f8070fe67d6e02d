"""Exported cores: ONNX Runtime gives what torch gives; what cannot be exported is a sentence."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from derain.models import Derainer, DerainError, create_model, load_model
from derain.models.networks.swift import Swift
from derain.models.networks.swift_core import CoreInputs, CoreOutputs
from derain.models.runtime.onnx_export import ExportPrecision, example_inputs, export_core
from derain.models.weights_io import as_video_model

onnxruntime = pytest.importorskip("onnxruntime")
FRAMES = 20


def shipped() -> Swift:
    model = load_model("swift")
    assert isinstance(model, Swift)
    return model


def drifting_rain(height: int, width: int) -> torch.Tensor:
    """(FRAMES, 3, H, W): a drifting texture with bright streaks."""
    generator = torch.Generator().manual_seed(4)
    wide = torch.rand(1, 3, height // 8, width // 4, generator=generator)
    wide = torch.nn.functional.interpolate(wide, (height, 2 * width), mode="bicubic").clamp(0, 1)
    clip = torch.cat([0.7 * wide[..., t : t + width] for t in range(FRAMES)])
    streaks = torch.rand(FRAMES, 1, height // 8, width, generator=generator) < 0.01
    return (clip + 0.3 * streaks.repeat_interleave(8, 2)).clamp(0, 1)


@pytest.mark.parametrize(
    ("size", "precision"), [((96, 64), "fp32"), (None, "fp32"), (None, "fp16"), (None, "int8")]
)
def test_onnx_runtime_gives_what_torch_gives_over_20_frames(
    tmp_path: Path, size: tuple[int, int] | None, precision: ExportPrecision
) -> None:
    model, path = shipped(), tmp_path / "swift.onnx"
    export_core(model, path, size, precision)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == list(CoreInputs._fields)
    known = session.get_modelmeta().custom_metadata_map
    assert known["derain.latency"] == "2" and known["derain.precision"] == precision

    def run(inputs: CoreInputs) -> CoreOutputs:
        feed = {n: np.ascontiguousarray(t.numpy()) for n, t in inputs._asdict().items()}
        return CoreOutputs(*map(torch.from_numpy, session.run(None, feed)))

    exported = copy(model)
    exported.engine = run
    clip = drifting_rain(64, 96)
    wanted, found = (
        torch.cat([o.image for o in Derainer(each, "cpu", "fp32").stream(clip)])
        for each in (model, exported)
    )
    assert float((wanted - clip).abs().max()) > 0.1
    error = (wanted - found).square().mean((1, 2, 3)).max().clamp_min(1e-12)
    assert float(-10 * error.log10()) > (50 if precision == "int8" else 60)


def test_what_cannot_be_exported_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with pytest.raises(DerainError, match="Only swift"):
        export_core(load_model("median"), path)
    with pytest.raises(DerainError, match="multiples of 8"):
        export_core(shipped(), path, (100, 60))
    with pytest.raises(DerainError, match="cannot be written"):
        export_core(shipped(), tmp_path / "no" / "x.onnx", (64, 64))
    with pytest.raises(DerainError, match="derain calibrate"):
        export_core(as_video_model(create_model("swift")), path, precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_the_example_has_the_shapes_that_the_core_takes() -> None:
    model = create_model("swift", widths=(8, 16, 16), hidden=8)
    assert isinstance(model, Swift)
    inputs = example_inputs(model, 32, 48)
    with torch.inference_mode():
        outputs = model.core(inputs)
    assert outputs.image.shape == inputs.frame.shape
    assert outputs.memory1.shape == inputs.memory1.shape == (1, 8, 4, 6)
