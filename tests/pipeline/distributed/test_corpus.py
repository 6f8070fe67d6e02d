"""Many films: only what is missing or changed, the longest first, and a manifest of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from torch import nn

from derain.models.errors import DerainError, UsageError
from derain.pipeline.distributed import corpus
from derain.pipeline.distributed.corpus import DiskBudget, expand_lists, read_manifest, run_corpus
from derain.pipeline.distributed.pool import PoolOptions
from derain.pipeline.storage.stores import StorePath
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.inputs import Derain, Task
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.progress import PlainLines

OPTIONS = VideoOptions(model="median", precision="fp32")


def test_only_what_is_missing_or_changed_is_done_the_longest_first(
    make_clip: Callable[..., Path], identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def sharing(options: VideoOptions, *_: object) -> Derain:
        def derain(task: Task, report: Report) -> None:
            done.append(Path(task.source).name)
            plain = VideoOptions(precision="fp32", overwrite=options.overwrite)
            derain_video(task.source, task.target, plain, model=identity, report=report)

        return derain

    monkeypatch.setattr(corpus, "sharing", sharing)  # without starting processes
    source = make_clip("short.mp4", frames=5)
    make_clip("long.mp4", frames=30)
    folder, out = str(source.parent), source.parent / "out"

    def run(options: VideoOptions = OPTIONS) -> list[str]:
        done.clear()
        assert run_corpus([folder], str(out), options, PoolOptions(1), PlainLines()) == 0
        return list(done)

    assert run() == ["long.mp4", "short.mp4"]
    assert {e.frames for e in read_manifest(out).values()} == {5, 30}
    assert run() == []
    make_clip("short.mp4", frames=7)
    assert run() == ["short.mp4"]
    assert read_manifest(out)[str(out / "short.mp4")].frames == 7
    (out / "long.mp4").unlink()
    assert run() == ["long.mp4"]
    assert run(VideoOptions(model="median", haze=0.5)) == ["long.mp4", "short.mp4"]


def test_a_corpus_goes_into_a_store(
    make_clip: Callable[..., Path], identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sharing(options: VideoOptions, *_: object) -> Derain:
        def derain(task: Task, report: Report) -> None:
            made = Path(task.source).with_name("made.mkv")
            plain = VideoOptions(precision="fp32", overwrite=True)
            derain_video(task.source, made, plain, model=identity, report=report)
            fsspec.filesystem("memory").put_file(str(made), task.target)

        return derain

    monkeypatch.setattr(corpus, "sharing", sharing)
    source, out = make_clip("film.mp4", frames=5), "memory://corpus/clean"
    code = run_corpus([str(source.parent)], out, OPTIONS, PoolOptions(1), PlainLines())
    told = read_manifest(StorePath(out))
    assert code == 0 and list(told) == ["memory://corpus/clean/film.mp4"]
    assert told[f"{out}/film.mp4"].bytes == StorePath(f"{out}/film.mp4").size() > 0
    monkeypatch.setattr(corpus, "sharing", lambda *_: pytest.fail("it is done"))
    run_corpus([str(source)], out, OPTIONS, PoolOptions(1), PlainLines())
    fsspec.filesystem("memory").store.clear()


def test_parts_of_films_side_by_side_stay_within_a_budget(tmp_path: Path) -> None:
    sizes = {"a": 600, "b": 300, "c": 500, "d": 200}
    tasks = []
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
        tasks.append(Task(str(tmp_path / name), f"{name}.mkv"))
    budget, lock = DiskBudget(1000), threading.Lock()
    held: list[int] = []
    most: list[int] = []

    def work(task: Task) -> None:
        with budget.room(task, threading.Event()):
            with lock:
                held.append(sizes[Path(task.source).name])
                most.append(sum(held))
            threading.Event().wait(0.02)
            with lock:
                held.remove(sizes[Path(task.source).name])

    threads = [threading.Thread(target=work, args=(task,)) for task in tasks * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 12 and 600 < max(most) <= 1000


def test_a_film_beyond_the_budget_is_named_and_who_waits_can_be_stopped(tmp_path: Path) -> None:
    film, stop = Task(str(tmp_path / "a"), "a.mkv"), threading.Event()
    (tmp_path / "a").write_bytes(bytes(600))
    with (
        pytest.raises(DerainError, match=r"The parts of .*a take about 6e-07 GB, and --disk-bud"),
        DiskBudget(500).room(film, stop),
    ):
        raise AssertionError("there is room")
    budget = DiskBudget(1000)
    stop.set()
    with (
        budget.room(film, stop),
        pytest.raises(Interrupted, match="Stopped before"),
        budget.room(film, stop),
    ):
        raise AssertionError("there is room twice")


def test_folders_of_a_store_are_looked_into() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a.mkv", "b.txt", "deep/c.mp4"):
        memory.pipe_file(f"memory://corpus/{name}", b"x")
    assert list(expand_lists(["memory://corpus/"])) == ["memory://corpus/a.mkv"]
    deep = ["memory://corpus/a.mkv", "memory://corpus/deep/c.mp4"]
    assert list(expand_lists(["memory://corpus"], recursive=True)) == deep
    with pytest.raises(UsageError, match="There is no video in memory://nothing; check the name"):
        list(expand_lists(["memory://nothing"]))
    memory.store.clear()


def test_lists_name_films(tmp_path: Path) -> None:
    (tmp_path / "films.txt").write_text("a.mp4\n\n b.mkv \n")
    assert list(expand_lists([str(tmp_path / "films.txt"), "c.mp4"])) == ["a.mp4", "b.mkv", "c.mp4"]
    with pytest.raises(UsageError, match="cannot be read"):
        list(expand_lists([str(tmp_path / "none.txt")]))


def test_a_manifest_that_was_cut_is_read_and_one_that_is_broken_is_named(tmp_path: Path) -> None:
    line = (
        '{"source":"a","target":"b","made_from":"c","frames":1,"shots":1,"damaged":0,'
        '"incomplete":false,"changed":0,"seconds":1,"bytes":1}'
    )
    path = tmp_path / corpus.MANIFEST
    path.write_text(f"{line}\n{line[:20]}")
    assert list(read_manifest(tmp_path)) == ["b"]
    path.write_text(f"{line[:20]}\n{line}")
    with pytest.raises(DerainError, match="Line 1 of"):
        read_manifest(tmp_path)
