"""The folder of a server: what is made, what is swept away, and no path in a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from derain.models.errors import DerainError
from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.jobs import Job


def job(id: str = "a", **changes: object) -> Job:
    """A job that waits."""
    values = {"id": id, "name": "rain.mp4", "result": "rain.mp4", "origin": "upload"}
    values |= {"state": "queued", "source": "/in/x.mp4", "target": "/out/x.mp4"}
    return Job.model_validate(values | changes)


def test_what_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.make()
    assert folders.uploads.is_dir() and (folders.state / "jobs").is_dir()
    if os.name == "posix":
        assert folders.state.stat().st_mode & 0o777 == 0o700


def test_uploads_of_a_server_before_go_and_jobs_stay(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.make()
    (folders.uploads / "half").touch()
    for id in ("a", "b"):
        folders.job(id).mkdir()
    folders.make()
    assert list(folders.uploads.iterdir()) == []
    folders.sweep(["b"])
    assert [path.name for path in (folders.state / "jobs").iterdir()] == ["b"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="choose another --folder"):
        Folders(tmp_path / "file").make()


def test_what_was_made_goes_or_stays_by_what_is_asked(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folders.make()
    target = tmp_path / "clean.mp4"
    made = job(source=str(tmp_path / "rain.mp4"), target=str(target))
    part = tmp_path / "clean.part.mp4"
    for path in (target, part):
        path.touch()
    folders.job("a").mkdir()
    folders.remove_job(made)
    assert target.exists() and not part.exists() and not folders.job("a").exists()
    part.touch()
    folders.remove_made(made)
    assert not target.exists() and not part.exists()


def test_sentences_have_names_in_place_of_paths(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    own = folders.job("a")
    made = job(source=str(own / "source.mp4"), target=str(own / "result.mp4"), result="clean.mp4")
    text = f"{own / 'source.mp4'} ends early; {own / 'result.mp4'} and {own / 'x.part'} are there."
    assert folders.without_paths(made, text) == (
        "rain.mp4 ends early; clean.mp4 and x.part are there."
    )
    assert folders.without_paths(made, f"no {tmp_path / 'film.mp4'}") == "no film.mp4"
