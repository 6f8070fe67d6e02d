"""One machine's processes: killed, stopped, gone on with, and the film is the same."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.distributed.leases import attempts_in
from derain.pipeline.distributed.plan import Job, read_plan
from derain.pipeline.distributed.pool import PoolOptions, derain_with_workers, job_of
from derain.pipeline.distributed.ray_driver import Cluster, answers
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.video import Encoding

OPTIONS = VideoOptions(model="median", precision="fp32", encoding=Encoding(codec="ffv1"))
RESUME = VideoOptions(
    model="median", precision="fp32", encoding=Encoding(codec="ffv1"), resume=True
)


def test_an_address_where_nobody_listens_is_known_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert answers(f"127.0.0.1:{port}") and answers(f"ray://127.0.0.1:{port}")
    assert not answers(f"127.0.0.1:{port}") and not answers("127.0.0.1:99999")
    assert answers("auto") and answers("local")


def test_ray_that_is_not_installed_is_one_sentence(
    planned: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    cluster = Cluster("auto", 0, None, "auto", "auto")
    with pytest.raises(DerainError, match=r"Ray is not installed; pip install 'derain\[ray\]', or"):
        cluster.work(planned, read_plan(planned), lambda: None, threading.Event())


@pytest.mark.slow
def test_a_killed_process_and_an_interruption_change_nothing(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any]
) -> None:
    source = make_clip("in.mkv", frames=300, size=(320, 240), audio="aac")
    whole, target = source.with_name("whole.mkv"), source.with_name("out.mkv")
    derain_video(source, whole, OPTIONS, model=load_model("median"))
    stop, killed = threading.Event(), []

    def progress(report: Report) -> None:
        if not report.frames_out:
            return
        if killed:
            stop.set()  # the first look at the job after the kill
        for claim in attempts_in(job_of(target).leases).values():
            process = int(claim.holder()[0].rpartition("-")[2] or 0)
            if process and not killed:
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    pool = PoolOptions(workers=2, segment=3.0)
    with pytest.raises(Interrupted, match=r"Stopped after \d+ frames, .*; --resume goes on"):
        derain_with_workers(str(source), str(target), OPTIONS, pool, progress=progress, stop=stop)
    assert killed and not target.exists()
    with pytest.raises(DerainError, match="of an interrupted run is there; --resume goes on"):
        derain_with_workers(str(source), str(target), OPTIONS, pool)
    other = VideoOptions(model="median", precision="fp32", haze=0.5, resume=True)
    with pytest.raises(DerainError, match="of another input or other options"):
        derain_with_workers(str(source), str(target), other, pool)
    report = derain_with_workers(str(source), str(target), RESUME, pool)
    one, two = contents(whole), contents(target)
    assert two.same_frames(one)
    assert (two.times, two.packets) == (one.times, one.packets)
    assert report.frames_out == 300 and not job_of(target).folder.exists()


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any]
) -> None:
    source = make_clip("in.mkv", frames=750, size=(320, 240))
    whole, target = source.with_name("whole.mkv"), source.with_name("out.mkv")
    derain_video(source, whole, OPTIONS, model=load_model("median"))
    killed: set[int] = set()
    chance = random.Random(0)

    def progress(report: Report) -> None:
        for claim in attempts_in(job_of(target).leases).values():
            process = int(claim.holder()[0].rpartition("-")[2] or 0)
            # A segment that is lost three times is given up.
            if process and len(killed) < 10 and claim.attempt < 3 and chance.random() < 0.5:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                    killed.add(process)

    derain_with_workers(
        str(source), str(target), OPTIONS, PoolOptions(2, segment=1.0), progress=progress
    )
    assert len(killed) == 10
    assert contents(target).same_frames(contents(whole))
