"""Frames prepared ahead, in another thread: the same outputs as without, to the last bit."""

from __future__ import annotations

from queue import Queue
from threading import Thread

import pytest
import torch

from derain.models import Derainer, load_model
from derain.models.ops.image_arrays import as_float, as_levels
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


def test_a_shot_keeps_the_type_of_its_first_frame() -> None:
    preparer = Derainer(load_model("median"), device="cpu").preparer()
    levels = torch.randint(0, 256, (3, 49, 66), dtype=torch.uint8)
    kept = [preparer.take(x) for x in (levels, levels / 255)]
    assert [each.padded.dtype for each in kept] == [torch.uint8] * 2
    assert torch.equal(kept[1].frame[0], levels) and kept[1].padded.shape[-2:] == (50, 66)
    preparer.cut()
    floats = [preparer.take(x).frame for x in (levels / 255, levels)]
    assert torch.equal(floats[0], floats[1]) and floats[1].dtype == torch.float32


@pytest.mark.parametrize("name", ["swift", "median"])
def test_levels_give_what_floats_give_to_half_a_level(name: str) -> None:
    wide = torch.rand(1, 3, 8, 24, generator=torch.Generator().manual_seed(2))
    wide = torch.nn.functional.interpolate(wide, (64, 192), mode="bicubic").clamp(0, 1)
    clip = torch.cat([wide[..., t : t + 96] for t in range(6)])
    levels, model = as_levels(clip), load_model(name)
    found, wanted = (
        torch.cat([out.image for out in Derainer(model, "cpu", "fp32", engine="torch").stream(x)])
        for x in (levels, as_float(levels))
    )
    assert found.dtype == torch.float32
    assert float((found - wanted).abs().mean()) < 0.1 / 255
    assert float((found - wanted).abs().quantile(0.99)) < 0.5 / 255
