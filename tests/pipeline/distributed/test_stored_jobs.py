"""Film, job and result in an object store: what local disks give, and what goes wrong there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from torch import nn

from derain.models.errors import DerainError, VideoError
from derain.pipeline.distributed.join import join
from derain.pipeline.distributed.plan import Job
from derain.pipeline.distributed.planning import make_plan
from derain.pipeline.distributed.pool import delete
from derain.pipeline.distributed.work import Worker, WorkerOptions
from derain.pipeline.storage.stores import StorePath
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding

OPTIONS = VideoOptions(precision="fp32", encoding=Encoding(codec="ffv1"))
QUICK = WorkerOptions(threads=1, beat=0.05, expiry=0.5)
FILM, JOB, OUT = "memory://films/in.mkv", "memory://films/job", "memory://films/out.mkv"


@pytest.fixture
def source(make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A film on the disk, and the same in a store."""
    clip = make_clip("in.mkv", frames=50, audio="aac")
    monkeypatch.setenv("XDG_CACHE_HOME", str(clip.parent / "cache"))
    fsspec.filesystem("memory").put_file(str(clip), FILM)
    yield clip
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def planned(source: Path, identity: nn.Module) -> Job:
    job = Job(StorePath(JOB))
    make_plan(FILM, job, OPTIONS, seconds=0.5, model=identity)
    return job


def test_a_film_goes_from_store_to_store_as_it_does_on_disks(
    source: Path, planned: Job, identity: nn.Module, contents: Callable[[Path], Any]
) -> None:
    Worker(planned, QUICK, model=identity).run(threading.Event())
    parts = sorted(path.name for path in planned.parts.iterdir())
    assert parts == [f"0000{number}.1.nut" for number in range(4)]
    join(planned, OUT)
    with pytest.raises(DerainError, match=r"memory://films/out.mkv is there already; add -y"):
        join(planned, OUT)
    whole, found = source.with_name("whole.mkv"), source.with_name("found.mkv")
    fsspec.filesystem("memory").get_file(OUT, str(found))
    derain_video(FILM, whole, OPTIONS, model=identity)
    one, two = contents(whole), contents(found)
    assert two.same_frames(one)
    assert (two.times, two.packets) == (one.times, one.packets)
    delete(planned)
    assert not planned.folder.exists() and not list(source.parent.glob("cache/derain/stored/*"))


def test_a_film_that_changed_or_went_is_noticed(
    source: Path, planned: Job, identity: nn.Module
) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file(FILM, source.read_bytes() + b" ")
    with pytest.raises(DerainError, match="changed since it was planned; plan it again"):
        Worker(planned, QUICK, model=identity)
    memory.rm_file(FILM)
    with pytest.raises(DerainError, match=r"There is no memory://films/in.mkv any more; put"):
        Worker(planned, QUICK, model=identity)
    with pytest.raises(VideoError, match=r"There is no memory://films/in.mkv; check the name"):
        make_plan(FILM, Job(StorePath(f"{JOB}2")), OPTIONS, model=identity)


def test_a_store_whose_extra_is_missing_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, identity: nn.Module
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(DerainError, match=r"^s3a:// needs an extra; pip install 'derain\[s3\]'"):
        make_plan("s3a://films/in.mkv", Job(tmp_path / "job"), OPTIONS, model=identity)


def test_a_part_that_was_cut_is_named(planned: Job, identity: nn.Module) -> None:
    Worker(planned, QUICK, model=identity).run(threading.Event())
    memory = fsspec.filesystem("memory")
    part = f"{JOB}/parts/00002.1.nut"
    memory.pipe_file(part, memory.cat_file(part)[:-3000])
    with pytest.raises(VideoError, match=r"parts/00002.1.nut is broken; delete it and run derain"):
        join(planned, OUT)
    assert not StorePath(OUT).exists()
