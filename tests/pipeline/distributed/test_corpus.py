"""Many films: only what is missing or changed, the longest first, and a manifest of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from derain.models.errors import DerainError, UsageError
from derain.pipeline.distributed import corpus
from derain.pipeline.distributed.corpus import expand_lists, read_manifest, run_corpus
from derain.pipeline.distributed.pool import PoolOptions
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.inputs import Derain, Task
from derain.pipeline.streaming.options import Report, VideoOptions
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
