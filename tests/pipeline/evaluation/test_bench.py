"""Bench runs and says what it promises; how fast it is here is not a test's business."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from derain.models.errors import DerainError
from derain.pipeline.evaluation.bench import BenchOptions, run_bench
from derain.pipeline.evaluation.long_run import memory

SMALL = BenchOptions(
    model="median", device="cpu", precision="fp32", size=(64, 48), frames=6, rounds=1
)


def test_every_part_is_measured() -> None:
    found = run_bench(SMALL)
    parts = ["decode", "network", "encode", "pipeline", "pipeline_without_network"]
    if shutil.which("ffmpeg"):
        parts.append("ffmpeg")
        assert found["cpu_ratio_without_network_to_ffmpeg"] > 0
    for name in parts:
        assert found[name]["wall"] > 0
        assert found[name]["cpu"] >= 0
    assert found["fps"] == pytest.approx(1 / found["pipeline"]["wall"])
    assert found["size"] == "64x48" and found["engine"] == "torch"
    assert set(found["network_cpu_ms"]) == {"flow", "alignment", "core", "rest"}
    assert found["db_from_cpu_float32"] == 100  # it is float32 on the CPU
    if memory("VmHWM") is not None:
        assert found["peak_memory_mib"] > 50


def test_wrong_sizes_are_refused() -> None:
    for size, frames, long in (((63, 48), 6, 0), ((64, 48), 1, 0), ((64, 48), 6, 5)):
        with pytest.raises(DerainError):
            run_bench(replace(SMALL, size=size, frames=frames, long=long))
