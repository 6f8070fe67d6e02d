"""Object stores by fsspec, with its store in memory: names, reading, errors as sentences."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from derain.models.errors import UsageError
from derain.pipeline.storage.stores import (
    StoreError,
    StorePath,
    is_stored,
    require_local,
    shared_path,
)


def test_names_say_where_a_file_lies() -> None:
    assert shared_path("film.mp4") == shared_path("file://film.mp4") == Path("film.mp4")
    assert shared_path("file:///my%20films/a.mp4") == Path("/my films/a.mp4")
    assert shared_path("memory://films/") == StorePath("memory://films")
    assert is_stored("s3://films/a.mp4") and is_stored("gs://films/a.mp4")
    assert not is_stored("http://films/a.mp4") and not is_stored("s3:a.mp4")


@pytest.mark.parametrize("name", ["s3://a/b.mp4", "s3:/a/b.mp4", Path("memory://a"), "gs://a"])
def test_what_grows_needs_a_disk(name: str | Path) -> None:
    with pytest.raises(UsageError, match="lies in a store, where nothing can grow; name another"):
        require_local(name)


def test_other_names_are_places_of_this_machine_or_addresses() -> None:
    names = ("a/s3:b.mp4", "s3", "rtmp://host/a", "/s3/a", Path("films/a.mp4"), "c:/a.mp4", "-")
    for name in names:
        require_local(name)


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


def test_a_bucket_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    path, words = StorePath("memory://stores/plan.json"), r"\); make its bucket, or check the name"
    for name in ("pipe_file", "put_file"):
        monkeypatch.setattr(type(fsspec.filesystem("memory")), name, missing)
    with pytest.raises(StoreError, match=words):
        path.write_text("{}")
    with pytest.raises(StoreError, match=words):
        path.create("{}")
    with pytest.raises(StoreError, match=words):
        path.upload(tmp_path / "part.nut")
