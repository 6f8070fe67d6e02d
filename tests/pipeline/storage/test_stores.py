"""Object stores by fsspec, with its store in memory: what leases need, and errors as sentences."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from derain.pipeline.storage import shared
from derain.pipeline.storage.stores import (
    StoreError,
    StorePath,
    is_stored,
    shared_path,
)


@pytest.fixture(params=["plain", "stored"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | StorePath]:
    """A folder that workers share."""
    if request.param == "plain":
        yield tmp_path
        return
    yield StorePath("memory://stores/job")
    fsspec.filesystem("memory").store.clear()


def test_names_say_where_a_file_lies() -> None:
    assert shared_path("film.mp4") == shared_path("file://film.mp4") == Path("film.mp4")
    assert shared_path("file:///my%20films/a.mp4") == Path("/my films/a.mp4")
    assert shared_path("memory://films/") == StorePath("memory://films")
    assert is_stored("s3://films/a.mp4") and is_stored("gs://films/a.mp4")
    assert not is_stored("http://films/a.mp4") and not is_stored("s3:a.mp4")


def test_of_many_that_make_a_file_one_succeeds(folder: Path | StorePath) -> None:
    path = folder / "00001.1.lease"
    made: list[int] = []

    def make(number: int) -> None:
        if shared.create(path, f"worker {number}"):
            made.append(number)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"worker {number}" for number in made] == [path.read_text()]


def test_what_was_deleted_is_not_brought_back(folder: Path | StorePath) -> None:
    path = folder / "lease"
    shared.create(path, "a longer text")
    shared.rewrite(path, "short")
    assert path.read_text() == "short" and shared.modified(path) > 0
    path.unlink()
    with pytest.raises(FileNotFoundError):
        shared.rewrite(path, "again")
    with pytest.raises(FileNotFoundError):
        path.unlink()
    path.unlink(missing_ok=True)
    assert not path.exists() and not list(folder.iterdir())


def test_lines_are_added_and_files_arrive_whole(folder: Path | StorePath, tmp_path: Path) -> None:
    shared.append(folder / "a.jsonl", "1\n")
    shared.append(folder / "a.jsonl", "2\n")
    shared.replace(folder / "plan.json", "{}")
    part = tmp_path / "a part"
    part.write_bytes(b"x" * 1000)
    shared.publish(part, folder / "b.nut")
    assert not part.exists()
    assert (folder / "a.jsonl").read_text() == "1\n2\n"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["a.jsonl", "b.nut", "plan.json"]


def test_a_stored_file_is_wound_and_known_by_its_contents() -> None:
    path = StorePath("memory://stores/film.bin")
    fsspec.filesystem("memory").pipe_file(path.url, bytes(range(100)))
    with path.open() as file:
        file.seek(90)
        assert (file.read(20), file.tell()) == (bytes(range(90, 100)), 100)
    before = path.fingerprint()
    fsspec.filesystem("memory").pipe_file(path.url, bytes(100))
    assert path.size() == 100 and path.fingerprint() != before
    path.unlink()


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(StoreError, match=r"^s3a:// needs an extra; pip install 'derain\[s3\]'"):
        shared_path("s3a://films")


def test_a_store_that_does_not_answer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("no credentials")

    path = StorePath("memory://stores/film.bin")
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "exists", refused)
    with pytest.raises(StoreError, match=r"film.bin cannot be reached \(no credentials\); check"):
        path.exists()
