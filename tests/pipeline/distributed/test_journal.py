"""What was done: records that outlive their worker, and parts that are read without decoding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError, VideoError
from derain.pipeline.distributed.journal import (
    Record,
    examine,
    read_records,
    write_record,
)
from derain.pipeline.distributed.plan import Job


def record(segment: int = 0, part: str = "00000.1.nut", **changes: Any) -> Record:
    values = {"segment": segment, "part": part, "worker": "w", "frames": 2, "seconds": 0.1}
    values |= {"bytes": 9, "order": [], "first": "a", "last": "b", "headers": "c", "codec": "ffv1"}
    return Record.model_validate(values | changes)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = Job(tmp_path)
    for folder in (job.journal, job.parts):
        folder.mkdir(parents=True)
    return job


def test_records_count_where_their_part_is_there(job: Job) -> None:
    for each in (record(), record(1, "00001.1.nut"), record(1, "00001.2.nut", worker="other")):
        write_record(job, each)
    for name in ("00000.1.nut", "00001.2.nut"):
        (job.parts / name).touch()
    found = read_records(job)
    assert {number: each.part for number, each in found.items()} == {
        0: "00000.1.nut",
        1: "00001.2.nut",
    }


def test_the_earliest_of_two_attempts_counts(job: Job) -> None:
    for name in ("00000.2.nut", "00000.1.nut"):
        write_record(job, record(part=name))
        (job.parts / name).touch()
    assert read_records(job)[0].part == "00000.1.nut"


def test_a_line_cut_short_is_passed_over_and_a_part_nobody_tells_of_is_named(job: Job) -> None:
    write_record(job, record())
    journal = job.journal / "w.jsonl"
    journal.write_text(journal.read_text() + '{"segment": 1, "pa')
    (job.parts / "00000.1.nut").touch()
    assert list(read_records(job)) == [0]
    (job.parts / "00009.1.nut").touch()
    with pytest.raises(DerainError, match=r"No journal tells of .*00009\.1\.nut"):
        read_records(job)


def test_a_part_says_its_order_and_ends(make_clip: Callable[..., Path]) -> None:
    plain = examine(make_clip("a.mkv", codec="ffv1", frames=5))
    assert plain.order == [0, 1, 2, 3, 4] and plain.codec == "ffv1"
    assert plain.first != plain.last
    options = {"bf": "2", "g": "12", "preset": "medium"}
    reordered = examine(make_clip("b.mkv", frames=9, options=options))
    assert sorted(reordered.order) == list(range(9)) != reordered.order


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.nut").write_bytes(b"nothing")
    with pytest.raises(VideoError, match=r"x\.nut is broken; delete it"):
        examine(tmp_path / "x.nut")
