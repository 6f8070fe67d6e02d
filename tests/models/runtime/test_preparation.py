"""Frames prepared ahead, in another thread: the same outputs as without, to the last bit."""

from __future__ import annotations

from queue import Queue
from threading import Thread

import pytest
import torch

from derain.models import Derainer, load_model
from derain.models.runtime.preparation import Prepared


@pytest.mark.parametrize("name", ["swift", "median", "two_stage"])
def test_frames_prepared_in_another_thread_give_the_same(name: str) -> None:
    model = load_model(name)
    clip = torch.rand(6, 3, 50, 70, generator=torch.Generator().manual_seed(1))
    plain, ahead = (Derainer(model, device="cpu", precision="fp32") for _ in range(2))
    wanted = [output.image for output in plain.stream(clip)]
    queue: Queue[Prepared] = Queue(2)

    def prepare() -> None:
        preparer = ahead.preparer()
        for frame in clip:
            queue.put(preparer.take(frame))

    thread = Thread(target=prepare)
    thread.start()
    outputs = [ahead.push(queue.get()) for _ in clip]
    thread.join()
    found = [output.image for output in [*outputs, *ahead.flush()] if output is not None]
    assert len(found) == len(wanted) == 6
    for mine, theirs in zip(found, wanted, strict=True):
        assert torch.equal(mine, theirs)


def test_only_frames_of_one_shot_and_size_have_flow_between_them() -> None:
    preparer = Derainer(load_model("median"), device="cpu").preparer()
    frame, other = torch.rand(3, 64, 64), torch.rand(3, 64, 80)
    taken = [preparer.take(x).flows is not None for x in (frame, frame, other, other)]
    preparer.cut()
    assert [*taken, preparer.take(other).flows is not None] == [False, True, False, True, False]
