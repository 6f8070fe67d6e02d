"""Jobs outlive the server: what is saved, what is not, and one server a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Job
from derain.pipeline.serve.store import Store


def job(id: str = "a", **changes: object) -> Job:
    """A job that waits."""
    values = {"id": id, "name": "rain.mp4", "result": "rain.mp4", "origin": "upload"}
    values |= {"state": "queued", "source": "/in/x.mp4", "target": "/out/x.mp4"}
    return Job.model_validate(values | changes)


def test_jobs_are_found_again_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    store = Store(path)
    for id in "cab":
        store.add(job(id))
    store.update("a", state="done", frames=7)
    store.remove("b")
    store.close()
    again = Store(path)
    assert list(again.all()) == ["c", "a"]
    found = again.get("a")
    assert found is not None and (found.state, found.frames) == ("done", 7)
    again.close()


def test_what_changes_often_is_kept_in_memory_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    store.add(job())
    store.update("a", saved=False, frames=9)
    assert store.all()["a"].frames == 9
    store.close()
    again = Store(tmp_path / "jobs.sqlite")
    assert again.all()["a"].frames == 0
    again.close()


def test_changes_are_told_and_what_is_gone_stays_gone(tmp_path: Path) -> None:
    told: list[int] = []
    store = Store(tmp_path / "jobs.sqlite", lambda: told.append(1))
    store.add(job())
    store.update("a", state="running")
    store.remove("a")
    assert len(told) == 3
    store.update("a", state="done")
    assert store.get("a") is None and len(told) == 3
    store.close()


def test_a_copy_of_all_is_the_callers(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    store.add(job())
    store.all().clear()
    assert list(store.all()) == ["a"]
    store.close()


def test_a_film_of_the_watch_folder_is_new_until_it_changes(tmp_path: Path) -> None:
    store, film = Store(tmp_path / "jobs.sqlite"), tmp_path / "a.mp4"
    film.write_bytes(b"one")
    assert store.see(film) and not store.see(film)
    film.write_bytes(b"longer")
    assert store.see(film)
    store.close()


def test_a_second_server_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state" / "jobs.sqlite"
    path.parent.mkdir()
    store = Store(path)
    with pytest.raises(DerainError, match=f"Another derain serve uses {tmp_path}"):
        Store(path)
    store.close()
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 9)
    with pytest.raises(DerainError, match="move it away"):
        Store(path)
