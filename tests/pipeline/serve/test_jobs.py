"""Settings of jobs: their limits, and regions that must lie in the film."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Film, Job, JobView, Settings, check_regions


@pytest.mark.parametrize(
    "wrong",
    [
        {"quality": "finest"},
        {"streaks": 1.1},
        {"haze": float("nan")},
        {"protect": ["1,2,3"]},
        {"protect": ["1,2,3,4"] * 21},
        {"codec": "../libx264"},
        {"codec": "x" * 41},
        {"crf": 64},
        {"nosuch": 1},
    ],
)
def test_what_is_beyond_limits_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_regions_lie_in_the_film() -> None:
    film = Film(width=64, height=48, fps=25, frames=9)
    check_regions(Settings(protect=("0,0,64,48", "60,40,4,8")), film)
    for wrong in ("61,0,4,8", "0,41,1,8", "0,0,0,5"):
        with pytest.raises(DerainError, match=f"The region {wrong} does not lie"):
            check_regions(Settings(protect=(wrong,)), film)


def test_what_only_the_server_knows_is_not_shown() -> None:
    values = {"id": "a", "name": "n", "result": "r", "origin": "folder", "state": "held"}
    job = Job.model_validate(values | {"source": "/secret/a", "target": "/secret/b"})
    shown = JobView.model_validate(job.model_dump())
    assert "secret" not in shown.model_dump_json()
    assert set(JobView.model_fields) < set(Job.model_fields)
