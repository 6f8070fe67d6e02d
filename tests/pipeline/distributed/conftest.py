"""Jobs for the tests of many workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from derain.pipeline.distributed.plan import Job
from derain.pipeline.distributed.planning import make_plan
from derain.pipeline.distributed.work import Worker, WorkerOptions, WorkReport
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding

LOSSLESS = VideoOptions(precision="fp32", encoding=Encoding(codec="ffv1"))
QUICK = WorkerOptions(threads=1, beat=0.05, expiry=0.5)


@pytest.fixture
def planned(make_clip: Callable[..., Path], identity: nn.Module) -> Job:
    """A film of 50 frames in four segments, for a network that changes nothing."""
    source = make_clip("in.mkv", frames=50)
    job = Job(source.with_name("job"))
    make_plan(source, job, LOSSLESS, seconds=0.5, model=identity)
    return job


@pytest.fixture
def work_on(identity: nn.Module) -> Callable[[Job], WorkReport]:
    """`work_on(job)`: one worker, to the end."""

    def work(job: Job) -> WorkReport:
        return Worker(job, QUICK, model=identity).run(threading.Event())

    return work
