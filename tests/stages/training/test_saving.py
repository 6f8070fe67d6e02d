"""What a run leaves when it is stopped, when files are damaged, and when the disk is full."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from derain.configs.training import DataConfig, TrainingConfig
from derain.models import DerainError
from derain.models.weights_io import read_weights
from derain.stages.training.loop import train
from derain.stages.training.reports.run_log import read_metrics

MEASURED = {"minutes", "samples a second", "waiting", "memory"}
pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture(scope="module")
def config(
    tmp_path_factory: pytest.TempPathFactory, make_walk: Callable[..., Path]
) -> TrainingConfig:
    clips = make_walk(tmp_path_factory.mktemp("clips"), 4)
    data = DataConfig(
        clips=str(clips), validation=str(clips), frames=3, crop=48, batch=1, workers=0
    )
    return TrainingConfig(
        model="swift",
        settings={"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4},
        data=data.model_copy(update={"thumbnails": 1}),
        steps=6,
        precision="fp32",
        log_every=2,
        validate_every=4,
    )


@pytest.fixture(scope="module")
def whole(config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a run that nothing stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return train(config, tmp_path_factory.mktemp("whole"), device="cpu")


def same_rows(folder: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if k not in MEASURED}
        for row in read_metrics(folder / "metrics.jsonl")
    ]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_signals_save_the_step_and_the_run_goes_on_bit_for_bit(
    name: str, config: TrainingConfig, whole: Path, tmp_path: Path
) -> None:
    said: list[str] = []

    def interrupt(step: int, steps: int, doing: str) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.Signals[name])

    before = signal.getsignal(signal.Signals[name])
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, device="cpu", report=said.append, progress=interrupt)
    assert signal.getsignal(signal.Signals[name]) == before
    assert f"by {name}: saved up to step 4 " in said[-1]
    resumed = train(config, tmp_path, device="cpu", resume=True)
    assert resumed.read_bytes() == whole.read_bytes()
    assert same_rows(tmp_path) == same_rows(whole.parent)


def test_a_run_stopped_while_it_looks_has_saved_and_looks_again(
    config: TrainingConfig, whole: Path, tmp_path: Path
) -> None:
    said: list[str] = []

    def interrupt(step: int, steps: int, doing: str) -> None:
        if "clip 2 of 4" in doing:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, device="cpu", report=said.append, progress=interrupt)
    assert "validating on 4 clips" in said[-2]
    assert "saved up to step 4 " in said[-1]
    train(config, tmp_path, device="cpu", resume=True)
    assert same_rows(tmp_path) == same_rows(whole.parent)


def test_the_best_weights_and_earlier_states_are_kept(whole: Path) -> None:
    folder = whole.parent
    states = sorted(path.name for path in folder.glob("*.pt"))
    assert states == ["last.pt", "step-0000004.pt"]
    scores = {
        row["step"]: row["score"]
        for row in read_metrics(folder / "metrics.jsonl")
        if "score" in row
    }
    assert list(scores) == [4, 6]
    note = read_weights(folder / "swift-best.safetensors")[1].note
    assert note["steps"] == max(scores, key=lambda step: scores[step])
    assert note["score"] == pytest.approx(max(scores.values()))


def test_a_damaged_state_is_named_and_the_one_before_goes_on(
    config: TrainingConfig, whole: Path, tmp_path: Path
) -> None:
    often = config.model_copy(update={"save_every": 1, "keep": 2})
    train(often, tmp_path, device="cpu")
    states = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert states == ["last.pt", "step-0000004.pt", "step-0000005.pt"]
    for name in ("last.pt", "step-0000005.pt"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said: list[str] = []
    resumed = train(often, tmp_path, device="cpu", resume=True, report=said.append)
    assert ["last.pt is damaged" in line or "5.pt is damaged" in line for line in said[:2]] == [
        True,
        True,
    ]
    assert resumed.read_bytes() == whole.read_bytes()
    for path in tmp_path.glob("*.pt"):
        path.write_bytes(b"nothing")
    with pytest.raises(DerainError, match="No saved state"):
        train(often, tmp_path, device="cpu", resume=True)


def test_states_are_saved_by_the_clock_too(config: TrainingConfig, tmp_path: Path) -> None:
    steps = [5, 6]  # of every step, those that are left with one kept before the last
    each = config.model_copy(update={"save_minutes": 1e-9, "keep": 1, "validate_every": 100})
    train(each, tmp_path, device="cpu")
    found = [torch.load(p, weights_only=True)["step"] for p in sorted(tmp_path.glob("*.pt"))]
    assert sorted(found) == steps


def test_a_full_disk_leaves_what_was_there(config: TrainingConfig, tmp_path: Path) -> None:
    """A limit on the size of files is met as a full disk is, in the middle of a write."""
    often = config.model_copy(update={"save_every": 2, "validate_every": 100})
    said: list[str] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(step: int, steps: int, doing: str) -> None:
        if step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(DerainError, match="last steps could not be saved"):
            train(often, tmp_path, device="cpu", report=said.append, progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert any(line.startswith("Step 4 cannot be saved") for line in said)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 2
    assert read_weights(tmp_path / "swift.safetensors")[1].note["steps"] == 2
    assert not list(tmp_path.glob("*.part"))


def test_a_log_cut_short_has_no_row_twice(
    config: TrainingConfig, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole.parent, tmp_path, dirs_exist_ok=True)
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join([*rows, json.dumps({"step": 8, "loss": 1.0}), '{"step": 9, "lo']))
    train(config, tmp_path, device="cpu", resume=True)
    assert path.read_text().splitlines() == rows


def test_weights_have_the_type_asked_for_and_the_mode_of_the_umask(
    config: TrainingConfig, tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        full = config.model_copy(update={"weights": "fp32", "steps": 1})
        weights = train(full, tmp_path, device="cpu")
    finally:
        os.umask(before)
    for path in (weights, tmp_path / "last.pt"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    average = torch.load(tmp_path / "last.pt", weights_only=True)["average"]
    for name, value in read_weights(weights)[0].items():
        assert torch.equal(value, average[name])
