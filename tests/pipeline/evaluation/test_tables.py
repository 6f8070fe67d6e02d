"""Tables and files of figures."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from derain.configs.validation import ValidationSet, write_validation
from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.video_model import VideoModel
from derain.pipeline.evaluation import clips, model_runs, tables
from derain.pipeline.evaluation.model_runs import INPUT, Options
from derain.pipeline.rendered.scenes import demo_frames
from derain.pipeline.video import Encoding, write_rgb
from derain.stages.data.validation_pairs import calibrate

FP32 = Options(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of six frames, 96x64, and pairs calibrated on them."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [np.rint(f * 255).astype(np.uint8) for f in demo_frames(64, 96, 6)]
    write_rgb(folder / "a.mp4", frames, encoding=Encoding(crf=4))
    write_rgb(folder / "b.mp4", frames[::-1], encoding=Encoding(crf=4))
    layer = {"coverage": 0.2, "length": 8, "width": 1.0, "brightness": 0.4}
    layer |= {"opaque": 0.2, "fall": 1.5, "blur": 0.0}
    entry = {"rain": "test", "seed": 5}
    pairs = ValidationSet.model_validate(
        {
            "levels": {
                "light": {"psnr": 28, "tolerance": 1},
                "heavy": {"psnr": 22, "tolerance": 1},
            },
            "rains": {"test": {"layers": [layer]}},
            "clips": [
                {"file": "a.mp4", "camera": "static", "pairs": {"light": entry}},
                {"file": "b.mp4", "camera": "moving", "pairs": {"light": entry, "heavy": entry}},
            ],
        }
    )
    write_validation(calibrate(pairs, folder, model_runs.read_clip), folder / "pairs.yaml")
    return folder


def test_report_shows_and_writes_everything(folder: Path, tmp_path: Path) -> None:
    models: dict[str, VideoModel] = {"nothing": PerFrame(nn.Identity())}
    result = clips.evaluate_pairs(models, folder / "pairs.yaml", folder, FP32)
    console = Console(width=200, record=True, file=StringIO())
    for table in tables.pair_tables(result):
        console.print(table)
    text = console.export_text()
    for word in ("static (1)", "moving (1)", "all (2)", "nothing", "clean px", "+0.00"):
        assert word in text
    assert "Gaussian" in tables.definitions(result)
    tables.write_json(tables.as_json({"pairs": result}, FP32), tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert len(content["pairs"]["records"]) == 6
    assert content["pairs"]["pairs_sha256"] == result.pairs_sha256 != ""
    mean = next(
        m for m in content["pairs"]["averages"]
        if (m["level"], m["camera"], m["row"]) == ("light", "all", INPUT)
    )  # fmt: skip
    expected = [r["psnr"] for r in result.records if r["row"] == INPUT and r["level"] == "light"]
    assert mean["psnr"] == pytest.approx(np.mean(expected))
    with pytest.raises(DerainError, match="cannot be written"):
        tables.write_json({}, tmp_path / "no" / "folder.json")
