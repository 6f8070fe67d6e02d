"""Bench runs and says what it promises; how fast it is here is not a test's business."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace

import pytest

from derain.models.errors import DerainError
from derain.pipeline.evaluation import bench
from derain.pipeline.evaluation.bench import BenchOptions, Clock, forth_and_back, run_bench

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
    if bench.memory("VmHWM") is not None:
        assert found["peak_memory_mib"] > 50


def test_a_long_run_looks_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "EARLY", 6)
    monkeypatch.setattr(bench, "WINDOW", 3)
    found = run_bench(replace(SMALL, long=20))
    assert found["long_frames"] == 20
    assert 10 < found["psnr_early"] < 60
    assert found["psnr_late"] == pytest.approx(found["psnr_early"], abs=6)


def test_wrong_sizes_are_refused() -> None:
    for size, frames, long in (((63, 48), 6, 0), ((64, 48), 1, 0), ((64, 48), 6, 5)):
        with pytest.raises(DerainError):
            run_bench(replace(SMALL, size=size, frames=frames, long=long))


def test_forth_and_back_never_jumps() -> None:
    path = list(forth_and_back([0, 1, 2, 3], 14))
    assert path == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]
    assert list(forth_and_back([5], 3)) == [5, 5, 5]


def test_sleep_takes_wall_time_and_work_takes_both() -> None:
    with Clock() as asleep:
        time.sleep(0.2)
    assert asleep.wall >= 0.2 > 2 * asleep.cpu
    with Clock() as working:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert working.wall > 0.05
    assert working.cpu > 0.05  # it counts in hundredths of a second
