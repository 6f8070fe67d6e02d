"""Curves of runs: which levels are drawn, how values are smoothed, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from derain.models.errors import DerainError
from derain.stages.training.reports.curves import plot_runs, smooth, watched_levels


def test_levels_are_those_with_an_input_to_compare_with() -> None:
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "light": 30.0, "light input": 25.0, "score": 1}]
    assert watched_levels(rows) == ["light"]


def test_each_value_becomes_the_mean_of_those_around_it() -> None:
    assert smooth([1.0, 5.0]) == [1.0, 5.0]  # too few
    values = [float(x % 2) for x in range(40)]
    assert smooth(values)[20] == pytest.approx(0.5, abs=0.11)
    assert smooth([2.0] * 40) == [2.0] * 40


def test_runs_without_figures_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(DerainError, match="holds no figures"):
        plot_runs([tmp_path], tmp_path / "out.png")
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0}) + "\n")
    with pytest.raises(DerainError, match=r"name a \.png"):
        plot_runs([tmp_path], tmp_path / "out.nosuch")
