"""A joined film that differs from its parts is deleted, and the parts are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from derain.models.errors import DerainError
from derain.pipeline.distributed.join import join
from derain.pipeline.distributed.journal import Record, read_records
from derain.pipeline.distributed.plan import Job, read_plan
from derain.pipeline.distributed.verify import verify_film


@pytest.fixture
def film(planned: Job, work_on: Callable[[Job], object]) -> Path:
    """The joined film of `planned`."""
    work_on(planned)
    path = Path(planned.folder).with_name("film.mkv")
    join(planned, path)
    return path


def records(job: Job) -> list[Record]:
    return [each for _, each in sorted(read_records(job).items())]


def without(film: Path, target: str, dropped: int) -> Path:
    """A copy of a film that lacks a frame, and shows the next one for it."""
    copy = film.with_name(target)
    with av.open(str(film)) as given, av.open(str(copy), "w") as out:
        stream = out.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(p for p in given.demux() if p.size):
            if number != dropped:
                packet.stream = stream
                out.mux(packet)
    return copy


def test_a_film_that_holds_its_parts_is_kept(planned: Job, film: Path) -> None:
    verify_film(planned, read_plan(planned), records(planned), film)
    assert film.exists()


def test_a_missing_frame_is_told_and_the_film_deleted(planned: Job, film: Path) -> None:
    copy = without(film, "copy.mkv", 20)
    with pytest.raises(DerainError, match=r"it has 49 frames instead of 50.*still in"):
        verify_film(planned, read_plan(planned), records(planned), copy)
    assert not copy.exists() and list(Path(planned.parts).iterdir())


def test_another_frame_at_a_seam_is_told(planned: Job, film: Path) -> None:
    plan, found = read_plan(planned), records(planned)
    swapped = [found[1], found[0], *found[2:]]  # as if parts had been joined in a wrong order
    with pytest.raises(DerainError, match="frame 0 is another"):
        verify_film(planned, plan, swapped, film)


def test_what_cannot_be_read_is_told(planned: Job, film: Path) -> None:
    film.write_bytes(b"nothing")
    with pytest.raises(DerainError, match="it cannot be read"):
        verify_film(planned, read_plan(planned), records(planned), film)
