"""The log of a run: its settings, rows, and the place from which it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

from derain.configs.training import TrainingConfig
from derain.stages.training.reports.run_log import RunLog, read_metrics

CONFIG = TrainingConfig(model="swift")


def test_settings_and_rows_are_written_down(tmp_path: Path) -> None:
    said: list[str] = []
    log = RunLog(tmp_path / "run", CONFIG, 0, said.append)
    log.write(10, {"loss": 0.25, "rate": 1e-3})
    log.write(20, {"score": 31.5}, {"light": torch.rand(3, 8, 8)})
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert TrainingConfig.model_validate(saved) == CONFIG
    assert read_metrics(log.metrics) == [
        {"step": 10, "loss": 0.25, "rate": 1e-3},
        {"step": 20, "score": 31.5},
    ]
    assert said == ["step 10: loss 0.25  rate 0.001", "step 20: score 31.5"]


def test_rows_behind_the_place_to_go_on_from_are_left_out(tmp_path: Path) -> None:
    log = RunLog(tmp_path, CONFIG, 0, lambda _: None)
    for step in (10, 20, 30):
        log.write(step, {"loss": 1.0} | ({"score": 30.0} if step == 20 else {}))
    again = RunLog(tmp_path, CONFIG, 20, lambda _: None)
    assert [row["step"] for row in read_metrics(again.metrics)] == [10, 20]
    assert again.validated
    assert not RunLog(tmp_path, CONFIG, 10, lambda _: None).validated


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    assert read_metrics(tmp_path / "none.jsonl") == []
