"""Where the network's time goes, and runs set against each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from derain.models import Derainer, DerainError, load_model
from derain.pipeline.evaluation.network_parts import engine_name, network_parts, ratios
from derain.pipeline.evaluation.tables import read_bench


@pytest.mark.parametrize(("name", "has_core"), [("swift", True), ("median", False)])
def test_parts_of_a_step_are_counted(name: str, has_core: bool) -> None:
    model = load_model(name)
    clip = torch.rand(7, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    parts = network_parts(Derainer(model, "cpu", "fp32"), clip)
    assert parts["flow"] > 0 and parts["rest"] >= 0
    assert (parts["core"] > 0) == (parts["alignment"] > 0) == has_core
    assert engine_name(model) == "torch"


def test_ratios_are_of_what_both_runs_measured() -> None:
    before = {"fps": 10.0, "encode": {"wall": 0.2, "cpu": 0.4}, "old": 1.0, "none": 0.0}
    found = {"fps": 20.0, "encode": {"wall": 0.1}, "new": 1.0, "none": 1.0, "model": "swift"}
    assert ratios(found, before) == {"fps": 2.0, "encode wall": 0.5}


def test_only_files_of_bench_are_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    with pytest.raises(DerainError, match="cannot be read"):
        read_bench(path)
    for content in ([1], {"640x360": 3}, {"640x360": {"fps": 1.0}}):
        path.write_text(json.dumps(content))
        with pytest.raises(DerainError, match="not of derain bench"):
            read_bench(path)
    known = {"640x360": {"pipeline": {"wall": 0.1, "cpu": 0.2}}}
    path.write_text(json.dumps(known))
    assert read_bench(path) == known
