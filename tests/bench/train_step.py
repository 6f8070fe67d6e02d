"""CPU seconds that training takes, of one sample of a megapixel, by how the steps are computed.

    python tests/bench/train_step.py [swift|two_stage] [--rounds 5] [--threads 1] [--compile]

A step is forward, loss, backward and an update, of moving noise; the data's rendering is not in it.
All ways run in turn, and the medians of CPU time are told, which other programs disturb little.
`crop x batch` have the same number of pixels. `--compile` adds the trunks by torch.compile, which
needs a C++ compiler and minutes. `--only` leaves out ways without these words in their name.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from derain.models import create_model
from derain.models.networks.haze_estimator import GRID, Haze
from derain.models.networks.swift import Swift
from derain.models.ops.optical_flow import dis_flow
from derain.models.output import Output
from derain.models.video_model import VideoModel, run_clip
from derain.pipeline.distributed.work import set_threads

import torch  # isort: skip  # after ours, which sets how its threads wait
from torch import Tensor  # isort: skip

FRAMES = 7


@dataclass(frozen=True)
class Way:
    """How a step is computed."""

    name: str
    crop: int = 96
    batch: int = 4
    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.channels_last
    singly: bool = False  # stage 1 frame by frame
    align: bool = False
    compiled: bool = False


BF16 = torch.bfloat16
WAYS = {
    "swift": [
        Way("float32"),
        Way("float32, not channels_last", layout=torch.contiguous_format),
        Way("float32, crop 192 x 1", crop=192, batch=1),
        Way("bf16", dtype=BF16),
        Way("bf16, crop 192 x 1", crop=192, batch=1, dtype=BF16),
    ],
    "two_stage": [
        Way("float32, frame by frame", batch=1, singly=True),
        Way("float32, stage 1 at once", batch=1),
        Way("bf16, frame by frame", batch=1, dtype=BF16, singly=True),
        Way("bf16, stage 1 at once", batch=1, dtype=BF16),
        Way("bf16, aligned, stage 1 at once", batch=1, dtype=BF16, align=True),
    ],
}


def prepare(network: str, way: Way) -> Callable[[], None]:
    """One step of one way, on a clip of its own."""
    torch.manual_seed(0)
    settings = {"align": way.align} if network == "two_stage" else {}
    model = create_model(network, **settings)
    assert isinstance(model, VideoModel)
    model.train()
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=way.layout)
    if way.compiled and isinstance(model, Swift):
        model.trunk1.compile(), model.trunk2.compile()
    size = way.crop
    noise = torch.rand(way.batch, 3, size + 2 * FRAMES, size)
    clip = torch.stack([noise[..., 2 * t : 2 * t + size, :] for t in range(FRAMES)], 1)
    pairs = [dis_flow(clip[:, t], clip[:, t + 1]) for t in range(FRAMES - 1)]
    flows = torch.stack([torch.cat(pair, 1) for pair in pairs], 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def output() -> Output:
        if isinstance(model, Swift):
            haze = Haze(torch.ones(way.batch, 1, GRID, GRID), torch.ones(way.batch, 3, 1, 1))
            return model(clip, haze=haze, flows=flows)[0]
        if way.singly:
            return run_clip(model, clip)[0]
        return model(clip, flows=flows)[0]

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", way.dtype, enabled=way.dtype != torch.float32):
            found = output()
        assert found.recovered is not None
        loss: Tensor = (found.image - clip).square().mean() + (found.recovered - clip).abs().mean()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    """Read the command line, run all ways in turn, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", choices=WAYS, default="swift")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    set_threads(given.threads)
    ways = list(WAYS[given.network])
    if given.compile:
        compiled = "bf16, crop 192 x 1, trunks compiled"
        ways.append(Way(compiled, crop=192, batch=1, dtype=BF16, compiled=True))
    ways = [way for way in ways if given.only in way.name]
    steps = [prepare(given.network, way) for way in ways]
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(given.rounds + 1):  # the first warms up
        for step, own in zip(steps, times, strict=True):
            before = time.process_time()
            step()
            own.append(time.process_time() - before)
    first = 0.0
    for way, own in zip(ways, times, strict=True):
        pixels = way.crop**2 * way.batch * FRAMES
        cost = statistics.median(own[1:]) / pixels * 1e6
        first = first or cost
        sys.stdout.write(
            f"{way.name:36} {cost:6.2f} CPU s a megapixel ({cost / first:.2f}); "
            f"first step {own[0]:.1f} s\n"
        )


if __name__ == "__main__":
    main()
