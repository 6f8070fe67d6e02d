"""One worker, and what it does where something is wrong: one sentence each, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.distributed.claiming import forget_failures
from derain.pipeline.distributed.join import join
from derain.pipeline.distributed.leases import Claim, worker_name
from derain.pipeline.distributed.plan import Job, product_version, read_plan
from derain.pipeline.distributed.segment_reader import open_segment
from derain.pipeline.distributed.work import Worker, WorkerOptions, WorkReport
from derain.pipeline.streaming.options import Interrupted
from derain.pipeline.video import VideoWriter

QUICK = WorkerOptions(threads=1, beat=0.05, expiry=0.5)
Work = Callable[[Job], WorkReport]


def change_plan(job: Job, **values: Any) -> None:
    told = json.loads(job.plan.read_text())
    job.plan.write_text(json.dumps(told | values))


def test_a_worker_with_another_version_or_other_weights_is_refused(
    planned: Job, identity: nn.Module
) -> None:
    change_plan(planned, product="0.0.1")
    with pytest.raises(DerainError, match=r"made by derain 0\.0\.1 and this is .*; install"):
        Worker(planned, QUICK, model=identity)
    change_plan(planned, product=product_version(), weights="another")
    with pytest.raises(DerainError, match="not those that the film was planned with"):
        Worker(planned, QUICK, model=identity)
    assert not list(planned.leases.iterdir())


def test_a_changed_source_is_refused_by_workers_and_by_join(
    planned: Job, identity: nn.Module, work_on: Work, make_clip: Callable[..., Path]
) -> None:
    work_on(planned)
    source = make_clip("in.mkv", frames=50, draw=lambda k, w, h: np.full((h, w, 3), k, np.uint8))
    for refuse in (
        lambda: Worker(planned, QUICK, model=identity),
        lambda: join(planned, source.with_name("out.mkv")),
    ):
        with pytest.raises(DerainError, match="changed since it was planned; plan it again"):
            refuse()
    source.unlink()
    with pytest.raises(DerainError, match=r"There is no file .* on this machine"):
        Worker(planned, QUICK, model=identity)


def test_frames_that_are_not_the_planned_ones_are_noticed(planned: Job) -> None:
    plan = read_plan(planned)
    segment = plan.segments[2].model_copy(update={"thumbnail": "00" * 64})
    with pytest.raises(DerainError, match="gives other frames than when it was planned"):
        open_segment(plan, segment, threads=1)


def test_a_full_disk_stops_the_worker_and_counts_as_no_failure(
    planned: Job, work_on: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DerainError("No room.") from OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write", full)
        with pytest.raises(DerainError, match=r"There is no room left in .*: what is done is kept"):
            work_on(planned)
    assert not list(planned.leases.iterdir()) and not list(planned.work.iterdir())
    assert len(work_on(planned).done) == 4


def test_a_segment_that_fails_three_times_is_named_and_the_rest_is_done(
    planned: Job, work_on: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = VideoWriter.write

    def fails(self: VideoWriter, frame: Any, *rest: Any, **more: Any) -> None:
        if frame.index == 20:
            raise DerainError("Frame 20 is cursed.")
        write(self, frame, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, "write", fails)
        report = work_on(planned)
    assert len(report.done) == 3
    assert list(report.failed) == [1] and "Frame 20 is cursed." in report.failed[1]
    with pytest.raises(DerainError, match=r"1 of 4 .* Frame 20 is cursed\..* --retry makes them"):
        join(planned, planned.folder.with_name("out.mkv"))
    forget_failures(planned)
    assert len(work_on(planned).done) == 1


def test_a_worker_that_is_stopped_gives_its_segment_back(planned: Job, identity: nn.Module) -> None:
    stop = threading.Event()

    def progress(frames: int) -> None:
        if frames > 15:
            stop.set()

    with pytest.raises(Interrupted, match=r"Stopped after 13 frames; derain work .* goes on"):
        Worker(planned, QUICK, model=identity).run(stop, progress)
    assert len(list(planned.parts.iterdir())) == len(list(planned.leases.iterdir())) == 1
    assert not list(planned.work.iterdir())


def test_a_worker_that_others_take_for_dead_leaves_the_part_to_them(
    planned: Job, identity: nn.Module, work_on: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Worker(planned, QUICK, model=identity)
    claim = slow.claimer.next()
    assert claim is not None
    os.utime(claim.lease, (0, 0))
    monkeypatch.setattr(slow.claimer, "worker", "elsewhere-0-1")
    work_on(planned)
    assert slow.attempt(claim, threading.Event(), lambda frames: None) is None
    parts = sorted(path.name for path in planned.parts.iterdir())
    assert parts == ["00000.2.nut", "00001.1.nut", "00002.1.nut", "00003.1.nut"]
    join(planned, planned.folder.with_name("out.mkv"))


def test_what_a_killed_worker_left_is_done_by_another(
    planned: Job, work_on: Work, contents: Callable[[Path], Any]
) -> None:
    machine = worker_name().rpartition("-")[0]
    assert Claim(planned.leases, 2, 1).take(f"{machine}-{2**22 + 1}")  # no such process
    half = planned.work / "00002.1.part.nut"
    half.write_bytes(b"half a part")
    assert len(work_on(planned).done) == 4 and not half.exists()
    target = planned.folder.with_name("out.mkv")
    join(planned, target)
    assert contents(target).same_frames(contents(Path(read_plan(planned).source)))
