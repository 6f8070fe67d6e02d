"""Plans as files: those that cannot be understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.distributed.plan import VERSION, Job
from derain.pipeline.distributed.work import Worker, WorkerOptions

QUICK = WorkerOptions(threads=1, beat=0.05, expiry=0.5)


def change_plan(job: Job, **values: Any) -> None:
    told = json.loads(job.plan.read_text())
    job.plan.write_text(json.dumps(told | values))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"version": VERSION + 1}, "of a later version of derain"),
        ({"pts": "none"}, "is not a plan of derain"),
    ],
)
def test_plans_that_cannot_be_understood_are_refused(
    planned: Job, identity: nn.Module, values: dict[str, Any], sentence: str
) -> None:
    change_plan(planned, **values)
    with pytest.raises(DerainError, match=sentence):
        Worker(planned, QUICK, model=identity)


def test_a_folder_without_a_plan_is_named(tmp_path: Path, identity: nn.Module) -> None:
    with pytest.raises(DerainError, match="There is no plan in"):
        Worker(Job(tmp_path), QUICK, model=identity)
