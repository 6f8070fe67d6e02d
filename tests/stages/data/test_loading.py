"""Batches from any step on, and signals that workers leave to the run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.stages.data.loading import STOP_SIGNALS, batches
from derain.stages.data.rendered_clips import RainyClips

pytestmark = pytest.mark.usefixtures("own_home")


def test_a_run_that_goes_on_gets_the_batches_it_would_have_had(
    files: list[Path], config: TrainingConfig
) -> None:
    data = RainyClips(files, config.data, 0, 3 * config.data.batch)
    whole = list(batches(data, 0))
    assert len(whole) == 3
    assert whole[0].rainy.shape == (2, 4, 3, 48, 48)
    for one, two in zip(whole[1:], batches(data, 1), strict=True):
        assert torch.equal(one.rainy, two.rainy) and torch.equal(one.clean, two.clean)


def test_handlers_of_the_run_stay(files: list[Path], config: TrainingConfig) -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    next(iter(batches(RainyClips(files, config.data, 0, 2), 0)))
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
