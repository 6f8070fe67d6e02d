"""Ray: two nodes on this machine, one of which is taken away in the middle; workers are killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.distributed.leases import attempts_in
from derain.pipeline.distributed.pool import PoolOptions, derain_with_workers, job_of
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding

ray = pytest.importorskip("ray")
OPTIONS = VideoOptions(model="median", precision="fp32", encoding=Encoding(codec="ffv1"))


NODE = {"num_cpus": 1, "memory": 4 << 30, "object_store_memory": 80 << 20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one core each, on this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # or all else on the machine goes first
    made = Cluster(initialize_head=True, head_node_args=NODE)
    made.add_node(**NODE)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def a_film(make_clip: Callable[..., Path], frames: int) -> tuple[Path, Path]:
    """A film, and what one process makes of it."""
    source = make_clip("in.mkv", frames=frames, size=(160, 120), audio="aac")
    whole = source.with_name("whole.mkv")
    derain_video(source, whole, OPTIONS, model=load_model("median"))
    return source, whole


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_that_is_lost_changes_nothing(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], cluster: Any
) -> None:
    source, whole = a_film(make_clip, 300)
    target = source.with_name("out.mkv")
    removed: list[int] = []

    def progress(report: Report) -> None:
        if report.frames_out > 60 and not removed:
            removed.append(report.frames_out)
            cluster.remove_node(next(iter(cluster.worker_nodes)))

    pool = PoolOptions(workers=0, segment=2.0, threads=1, ray=cluster.address)
    derain_with_workers(str(source), str(target), OPTIONS, pool, progress=progress)
    one, two = contents(whole), contents(target)
    assert removed
    assert two.same_frames(one)
    assert (two.times, two.packets) == (one.times, one.packets)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_at_random_moments_change_nothing(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], cluster: Any
) -> None:
    source, whole = a_film(make_clip, 750)
    target = source.with_name("out.mkv")
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

    pool = PoolOptions(workers=0, segment=1.0, threads=1, ray=cluster.address)
    derain_with_workers(str(source), str(target), OPTIONS, pool, progress=progress)
    one, two = contents(whole), contents(target)
    assert len(killed) == 10
    assert two.same_frames(one)
    assert (two.times, two.packets) == (one.times, one.packets)


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_sentence(make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.mkv", frames=10)
    pool = PoolOptions(workers=1, ray="127.0.0.1:1")
    with pytest.raises(DerainError, match=r"There is no Ray cluster at '127\.0\.0\.1:1'; start"):
        derain_with_workers(str(source), str(source.with_name("out.mkv")), OPTIONS, pool)
