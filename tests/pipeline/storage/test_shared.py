"""What workers do with shared files: the same in a plain folder and in a store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from derain.pipeline.storage import shared
from derain.pipeline.storage.stores import StorePath


@pytest.fixture(params=["plain", "stored"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | StorePath]:
    """A folder that workers share."""
    if request.param == "plain":
        yield tmp_path
        return
    yield StorePath("memory://stores/job")
    fsspec.filesystem("memory").store.clear()


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


def test_a_folder_goes_with_all_that_is_in_it(folder: Path | StorePath) -> None:
    for name in ("b", "a"):
        shared.create(folder / name, name)
    assert [path.name for path in shared.files_in(folder)] == ["a", "b"]
    shared.remove(folder)
    assert not folder.exists()


def test_files_on_the_way_to_a_store_lie_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = StorePath("memory://stores/job"), StorePath("memory://stores/other")
    assert shared.scratch(tmp_path / "job") == tmp_path / "job"
    assert shared.scratch(one).parent == tmp_path / "derain" / "stored"
    assert shared.scratch(one) == shared.scratch(one) != shared.scratch(other)
