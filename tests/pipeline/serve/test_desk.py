"""Films become jobs: from an upload, from the server's folder, from the watch folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.desk import Desk
from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.jobs import Film, Settings
from derain.pipeline.serve.store import Store


class Frames:
    """Says of every file that it is a film of 64x48, but for those that hold `no film`."""

    def probe(self, path: Path, name: str, codec: str | None = None) -> Film:
        if path.read_bytes() == b"no film":
            raise DerainError(f"{name} is no film.")
        return Film(width=64, height=48, fps=25, frames=9)


class Queue:
    """Counts what it is told, and forgets jobs that are not under way."""

    def __init__(self, store: Store) -> None:
        self.store, self.woken = store, 0

    def wake(self) -> None:
        self.woken += 1

    def remove(self, job_id: str) -> Any:
        job = self.store.get(job_id)
        self.store.remove(job_id)
        return job


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folders = Folders(tmp_path)
    folders.make()
    store = Store(folders.database)
    queue: Any = Queue(store)
    frames: Any = Frames()
    return Desk(folders, store, queue, frames)


def upload(desk: Desk, content: bytes = b"film") -> Path:
    body = desk.folders.uploads / "body"
    body.write_bytes(content)
    return body


def test_an_upload_lies_in_a_folder_of_its_own_under_no_name_of_the_client(desk: Desk) -> None:
    job = desk.add_upload(upload(desk), "../räin.AVI", Settings(), hold=False)
    assert (job.name, job.result, job.origin) == ("räin.AVI", "räin_clean.avi", "upload")
    assert (job.state, job.total, job.size) == ("queued", 9, 4)
    folder = desk.folders.job(job.id)
    assert [path.name for path in folder.iterdir()] == ["film.avi"]
    assert job.target == str(folder / "clean.avi")
    assert desk.store.get(job.id) == job
    desk.remove(job.id)
    assert not folder.exists() and not desk.store.all()


def test_what_is_no_film_leaves_nothing(desk: Desk) -> None:
    with pytest.raises(DerainError, match=r"^rain\.mp4 is no film"):
        desk.add_upload(upload(desk, b"no film"), "rain.mp4", Settings(), hold=False)
    outside = Settings(protect=("60,0,8,8",))
    with pytest.raises(DerainError, match="does not lie in frames"):
        desk.add_upload(upload(desk), "rain.mp4", outside, hold=False)
    assert not desk.store.all() and not list((desk.folders.state / "jobs").iterdir())


def test_who_waits_is_held_until_somebody_starts_it(desk: Desk) -> None:
    held = desk.add_upload(upload(desk), "a.mp4", Settings(), hold=True)
    queued = desk.add_upload(upload(desk), "b.mp4", Settings(), hold=False)
    assert (held.state, queued.state) == ("held", "queued")
    assert queued.queued is not None and queued.queued >= queued.created > 0


def test_films_of_the_folder_are_named_and_their_results_never_collide(desk: Desk) -> None:
    root = desk.folders.root
    (root / "rain.mp4").write_bytes(b"film")
    with pytest.raises(DerainError, match="no film of that name"):
        desk.add_named("../rain.mp4", Settings(), hold=False)
    one, two = (desk.add_named("rain.mp4", Settings(), hold=False) for _ in range(2))
    assert (one.result, two.result) == ("rain.mp4", "rain-2.mp4")
    assert Path(one.target).parent == desk.folders.results
    assert one.source == str(root / "rain.mp4") and one.origin == "folder"


def test_films_of_a_watch_folder_go_where_they_are_told(desk: Desk, tmp_path: Path) -> None:
    film, into = tmp_path / "watched.flv", tmp_path / "into"
    film.write_bytes(b"film")
    into.mkdir()
    job = desk.add_file(film, into, origin="watch")
    assert (job.origin, job.state, job.settings) == ("watch", "queued", Settings())
    assert Path(job.target).parent == into
