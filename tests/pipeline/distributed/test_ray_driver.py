"""Ray: two nodes on this machine, one of which is taken away in the middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.distributed.pool import PoolOptions, derain_with_workers
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding

ray = pytest.importorskip("ray")
OPTIONS = VideoOptions(model="median", precision="fp32", encoding=Encoding(codec="ffv1"))


@pytest.mark.slow
def test_a_node_that_is_lost_changes_nothing(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any]
) -> None:
    from ray.cluster_utils import Cluster

    source = make_clip("in.mkv", frames=400, size=(320, 240), audio="aac")
    whole, target = source.with_name("whole.mkv"), source.with_name("out.mkv")
    derain_video(source, whole, OPTIONS, model=load_model("median"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 4 << 30})
    second = cluster.add_node(num_cpus=1, memory=4 << 30)
    cluster.wait_for_nodes()
    removed: list[int] = []

    def progress(report: Report) -> None:
        if report.frames_out > 60 and not removed:
            removed.append(report.frames_out)
            cluster.remove_node(second)

    try:
        pool = PoolOptions(workers=0, segment=2.0, threads=1, ray=cluster.address)
        derain_with_workers(str(source), str(target), OPTIONS, pool, progress=progress)
    finally:
        cluster.shutdown()
    one, two = contents(whole), contents(target)
    assert removed
    assert two.same_frames(one)
    assert (two.times, two.packets) == (one.times, one.packets)


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_sentence(make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.mkv", frames=10)
    pool = PoolOptions(workers=1, ray="127.0.0.1:1")
    with pytest.raises(DerainError, match=r"There is no Ray cluster at '127\.0\.0\.1:1'; start"):
        derain_with_workers(str(source), str(source.with_name("out.mkv")), OPTIONS, pool)
