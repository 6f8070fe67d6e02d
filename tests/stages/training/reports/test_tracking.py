"""Weights & Biases, by a module that stands in for theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.models.errors import DerainError
from derain.stages.training.reports.run_log import RunLog

CONFIG = TrainingConfig(model="swift", steps=4)


class Told:
    """What a run was told."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, Any]]] = []
        self.finished = 0

    def log(self, row: dict[str, Any], step: int) -> None:
        self.logged.append((step, row))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The module in place of wandb."""
    run, module = Told(), ModuleType("wandb")

    class RefusedError(Exception):
        pass

    def init(**settings: Any) -> Told:
        if settings["project"] == "closed":
            raise RefusedError("no key")
        run.opened.append(settings)
        return run

    given = {
        "init": init,
        "Image": np.asarray,
        "errors": SimpleNamespace(Error=RefusedError),
    }
    vars(module).update(given)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return run


def open_log(folder: Path, project: str, start: int = 0) -> RunLog:
    return RunLog(folder, CONFIG, start, lambda text: None, project)


def test_figures_and_images_are_shown_and_a_run_that_goes_on_is_one(
    tmp_path: Path, told: Told
) -> None:
    log = open_log(tmp_path / "swift", "rain")
    image = torch.linspace(0, 1, 3 * 4 * 5).reshape(3, 4, 5)
    log.write(2, {"loss": 0.5}, {"light": image})
    log.close()
    open_log(tmp_path / "swift", "rain", start=2).close()
    open_log(tmp_path / "other", "rain").close()
    first, again, other = told.opened
    assert (first["project"], first["name"], first["resume"]) == ("rain", "swift", "allow")
    assert first["config"]["steps"] == 4
    assert first["id"] == again["id"] != other["id"]
    step, row = told.logged[0]
    assert (step, row["loss"], told.finished) == (2, 0.5, 3)
    assert row["light"].shape == (4, 5, 3) and row["light"].dtype == np.uint8
    assert row["light"].max() == 255


def test_without_wandb_and_without_a_key_there_is_a_sentence(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DerainError, match=r"wandb does not take the run \(no key\); log in by"):
        open_log(tmp_path, "closed")
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DerainError, match=r"wandb is not installed; pip install 'derain\[wandb\]'"):
        open_log(tmp_path, "rain")
