"""Tables and files of figures."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.models.video_model import VideoModel
from derain.pipeline.evaluation import clips, tables
from derain.pipeline.evaluation.model_runs import INPUT, Options

FP32 = Options(device="cpu", precision="fp32")


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
