"""Many inputs: which file becomes which, exit codes, signals, and what is reported."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from derain.models.errors import UsageError
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.inputs import StopRequest, Task, interruptible, plan, run_tasks
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.streaming.progress import JsonEvents, PlainLines


@pytest.fixture
def loads_identity(monkeypatch: pytest.MonkeyPatch, identity: nn.Module) -> None:
    monkeypatch.setattr("derain.models.load_model", lambda *_: identity)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_a_file_becomes_a_file_and_a_folder_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "in/b.mp4", "in/a.wmv", "in/deep/c.mkv", "in/notes.txt", "in/a.part.mkv")
    folder = str(tmp_path / "in")
    assert plan(["x.mp4"], "y.mkv") == [Task("x.mp4", "y.mkv")]
    assert plan(["x.mp4"], str(tmp_path)) == [
        Task("x.mp4", str(tmp_path / "x.mp4"), in_folder=True)
    ]
    assert [t.target for t in plan([folder], "out")] == ["out/a.mkv", "out/b.mp4"]
    deep = plan([folder], "out", recursive=True)
    assert [t.target for t in deep] == ["out/a.mkv", "out/b.mp4", "out/deep/c.mkv"]
    assert len(plan([f"{folder}/*.mp4", f"{folder}/a.wmv"], "out")) == 2


@pytest.mark.usefixtures("loads_identity")
@pytest.mark.parametrize("way", ["folder", "pattern", "shard", "slash"])
def test_a_folder_of_one_video_becomes_a_folder(
    make_clip: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    clip = make_clip("a.mp4", frames=2)
    inputs = {"pattern": str(tmp_path / "*.mp4"), "slash": str(clip)}.get(way, str(tmp_path))
    several = [inputs, "none.mp4"] if way == "shard" else [inputs]
    tasks = plan(several, f"{tmp_path}/out/", shard="1/2" if way == "shard" else None)
    options = VideoOptions(precision="fp32")
    assert run_tasks(tasks, options, PlainLines()) == 0
    made = (tmp_path / "out" / "a.mp4").stat().st_mtime_ns
    assert run_tasks(tasks, options, PlainLines()) == 0
    assert (tmp_path / "out" / "a.mp4").stat().st_mtime_ns == made
    assert f"there already  {clip}" in capsys.readouterr().err


@pytest.mark.usefixtures("loads_identity")
def test_an_input_is_not_taken_for_its_own_output(
    make_clip: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_clip("a.mp4", frames=2)
    assert run_tasks(plan([str(tmp_path)], str(tmp_path)), VideoOptions(), PlainLines()) == 1
    assert "the input itself" in capsys.readouterr().err


def test_a_shard_of_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = plan(["a.mp4", "b.mp4"], "out", shard="3/3")
    assert run_tasks(tasks, VideoOptions(), PlainLines()) == 0
    assert "nothing is done" in capsys.readouterr().err


def test_shards_are_all_of_the_list_once(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}.mp4" for i in range(7)))
    whole = plan([str(tmp_path)], "out")
    parts = [plan([str(tmp_path)], "out", shard=f"{i}/3") for i in (1, 2, 3)]
    assert sorted(t.source for part in parts for t in part) == [t.source for t in whole]
    for wrong in ("0/3", "4/3", "x", "1"):
        with pytest.raises(UsageError):
            plan([str(tmp_path)], "out", shard=wrong)


def test_what_cannot_be_is_wrong_use(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/x.mp4", "out.mp4")
    with pytest.raises(UsageError, match="Two inputs"):
        plan([str(tmp_path / "a" / "x.mp4"), str(tmp_path / "b" / "x.mp4")], "out")
    with pytest.raises(UsageError, match="folder"):
        plan(["a.mp4", "b.mp4"], str(tmp_path / "out.mp4"))
    for output in ("-", "%05d.png"):
        with pytest.raises(UsageError, match="folder"):
            plan(["a.mp4", "b.mp4"], output)
    with pytest.raises(UsageError, match="pattern"):
        plan([str(tmp_path / "*.mkv")], "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="--recursive"):
        plan([str(tmp_path / "empty")], "out")


def test_outputs_and_what_stands_beside_them_are_no_other_tasks(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.mp4", "in/b.mp4", "out/a.part.mp4")
    one, beside = str(tmp_path / "in" / "a.mp4"), str(tmp_path / "out" / "a.part.mp4")
    out = str(tmp_path / "out")
    with pytest.raises(UsageError, match=r"Beside .*a\.mp4 derain makes .*a\.part\.mp4"):
        plan([one, beside], out)  # read by one, written by the other
    (tmp_path / "link.mp4").symlink_to(beside)
    with pytest.raises(UsageError, match=r"derain makes .*link\.mp4 too"):
        plan([one, str(tmp_path / "link.mp4")], out)
    touch(tmp_path, "in/a.part.mp4")
    with pytest.raises(UsageError, match="an output too"):
        plan([one, str(tmp_path / "in" / "a.part.mp4")], str(tmp_path / "other"))
    os.symlink(tmp_path / "other", tmp_path / "same")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.mp4").symlink_to(tmp_path / "other" / "a.mp4")
    with pytest.raises(UsageError, match="Two inputs would become"):
        plan([one, str(tmp_path / "in" / "b.mp4")], str(tmp_path / "same"))


def test_unfinished_outputs_in_a_folder_are_passed_over_and_named(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.mp4", "b.part.mp4", "c.part.previous.mkv", "d.part.1.mp4", "e.final.part.mp4"
    )
    said: list[str] = []
    tasks = plan([str(tmp_path)], "out", notice=said.append)
    assert [Path(task.source).name for task in tasks] == ["a.mp4", "d.part.1.mp4"]
    assert [Path(text.split(" looks")[0]).name for text in said] == [
        "b.part.mp4",
        "c.part.previous.mkv",
        "e.final.part.mp4",
    ]


@pytest.mark.usefixtures("loads_identity")
def test_an_input_that_asks_for_all_memory_ends_alone(
    make_clip: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "c.mp4"):
        make_clip(name, frames=2)
    header = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    (tmp_path / "b_1.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    names = ("a.mp4", "b_%d.png", "c.mp4")
    tasks = [
        Task(str(tmp_path / name), str(tmp_path / "out" / f"{name[0]}.mkv"), True) for name in names
    ]
    assert run_tasks(tasks, VideoOptions(precision="fp32"), PlainLines()) == 1

    def exhausted(task: Task, report: Report) -> None:
        if "b_" in task.source:
            raise MemoryError
        report.frames_out = 1

    assert run_tasks(tasks, VideoOptions(overwrite=True), PlainLines(), derain=exhausted) == 1
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("done") for line in lines) == 4
    assert sum(line.startswith("failed") for line in lines) == 2


@pytest.mark.usefixtures("loads_identity")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_does_not_end_the_rest(
    make_clip: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    workers: int,
) -> None:
    for name in ("a.mp4", "c.mp4"):
        make_clip(name, frames=4)
    (tmp_path / "b.mp4").write_text("no video")
    tasks = plan([str(tmp_path / f"{n}.mp4") for n in "abc"], str(tmp_path / "out"))
    options = VideoOptions(precision="fp32")
    assert run_tasks(tasks, options, PlainLines(), jobs=workers) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.mp4", "c.mp4"]
    text = capsys.readouterr()
    assert text.out == ""
    assert "failed" in text.err and text.err.count("done") == 2
    before = (tmp_path / "out" / "a.mp4").stat().st_mtime_ns
    (tmp_path / "b.mp4").unlink()
    make_clip("b.mp4", frames=4)
    assert run_tasks(tasks, options, PlainLines(), jobs=workers) == 0
    assert (tmp_path / "out" / "a.mp4").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "b.mp4").exists()


@pytest.mark.usefixtures("loads_identity")
def test_a_stop_ends_the_list(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    clip = make_clip("a.mp4", frames=4)
    stop = StopRequest()
    stop.set()
    tasks = [Task(str(clip), str(tmp_path / "x.mp4")), Task(str(clip), str(tmp_path / "y.mp4"))]
    assert run_tasks(tasks, VideoOptions(), PlainLines(), stop=stop) == 130
    assert not (tmp_path / "x.mp4").exists()


def test_a_second_signal_ends_at_once_and_names_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    part = tmp_path / "out.part.mkv"
    with interruptible(["-", str(tmp_path / "out.mkv")]) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set() and not codes
        signal.raise_signal(signal.SIGTERM)
        part.touch()
        signal.raise_signal(signal.SIGINT)
        part.write_bytes(b"x")
        signal.raise_signal(signal.SIGINT)
    assert codes == [143, 130, 130]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "stopping; once more to stop at once"
    assert [line for line in said if line.startswith("stopped")] == [
        "stopped at once",
        "stopped at once",
        f"stopped at once; what was written is in {part}",
    ]


def test_events_are_lines_of_json(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    reporter = JsonEvents(0)
    report = Report("a.mp4", "b.mp4", frames_out=3, total=9, notices=["something"])
    reporter.frame(report)
    reporter.done(report)
    reporter.failed(report, "no", "error")
    reporter.table([("a.mp4", "done")])
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["progress", "done", "error", "end"]
    assert lines[0]["frames"] == 3 and lines[1]["notices"] == ["something"]


def test_frames_are_counted_from_the_first_that_is_written(
    make_clip: Callable[..., Path], tmp_path: Path, layered: nn.Module
) -> None:
    """Those before --start, which warm the network up, have no number."""
    clip = make_clip(frames=20)
    folder = tmp_path / "layers"
    options = VideoOptions(precision="fp32", start=0.48, layers=str(folder))
    report = derain_video(clip, tmp_path / "out.mkv", options, model=layered)
    names = sorted(path.name for path in (folder / "streaks").iterdir())
    assert names == [f"{number:06d}.png" for number in range(1, 9)]
    assert (report.frames_in, report.frames_out) == (8, 8)


@pytest.mark.usefixtures("loads_identity")
@pytest.mark.parametrize("name", ["100%.mp4", "50% rain.mp4", "my%20dog.mp4"])
def test_a_percent_in_a_name_is_no_sequence(
    make_clip: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    clip = make_clip("in.mp4", frames=2)
    tasks = plan([str(clip)], str(tmp_path / name))
    assert run_tasks(tasks, VideoOptions(precision="fp32"), PlainLines()) == 0
    assert (tmp_path / name).is_file()
