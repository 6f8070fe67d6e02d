"""Kill -9 at random moments of a small training, go on each time, and compare weights bit for bit.

    python tests/bench/kill_training.py [--kills 10] [--steps 60] [--seed 0]

Once without and once with a discriminator. A run is killed when it says that it is at a random
step, or a little later: within a step, or while it writes. `--resume` goes on and is killed again;
the last run ends. Each run is a process of its own, forked where torch is loaded and not yet used.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

from derain.configs.training import DataConfig, RefinementConfig, TrainingConfig
from derain.models.log import say_nothing
from derain.stages.training.loop import train

FORK = get_context("fork")


def make_clip(folder: Path, frames: int = 14) -> Path:
    """A folder of frames of a drifting texture."""
    noise = np.random.default_rng(0).integers(0, 256, (100, 150 + 2 * frames, 3), np.uint8)
    wide = cv2.GaussianBlur(noise, (0, 0), 2)
    (folder / "walk").mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(folder / f"walk/{index:02d}.png"), wide[:, 2 * index : 2 * index + 150])
    return folder


def small_run(clips: Path, steps: int, adversary: bool) -> TrainingConfig:
    """A tiny network that saves every other step."""
    data = DataConfig(clips=str(clips), frames=4, crop=48, batch=1, workers=0, thumbnails=1)
    return TrainingConfig(
        model="swift",
        settings={"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4},
        data=data,
        steps=steps,
        warmup=2,
        precision="fp32",
        log_every=5,
        validate_every=steps,
        save_every=2,
        refinement=RefinementConfig(critic_warmup=3) if adversary else None,
    )


def learn(config: TrainingConfig, folder: Path, resume: bool, told: Connection) -> None:
    """One process."""
    import torch

    torch.set_num_threads(1)
    train(
        config,
        folder,
        device="cpu",
        resume=resume,
        report=say_nothing,
        progress=lambda step, steps, doing: told.send(step),
    )


def run(config: TrainingConfig, folder: Path, kill_at: int | None, delay: float) -> int:
    """Run to the end, or until that step and a little longer; the last step that was told."""
    mine, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(
        target=learn, args=(config, folder, (folder / "last.pt").exists(), theirs)
    )
    process.start()
    theirs.close()
    step = 0
    try:
        while True:
            step = mine.recv()
            if kill_at is not None and step >= kill_at:
                time.sleep(delay)
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                break
    except EOFError:
        pass
    process.join()
    if kill_at is None and process.exitcode:
        raise SystemExit(f"the run failed with exit code {process.exitcode}")
    return step


def main() -> None:
    """Read the command line, run whole and killed, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = str(Path(name, "cache"))
        clips = make_clip(Path(name, "clips"))
        for adversary in (False, True):
            config = small_run(clips, given.steps, adversary)
            whole, killed = (Path(name, f"{kind}-{adversary}") for kind in ("whole", "killed"))
            began = time.monotonic()
            run(config, whole, None, 0)
            pace = (time.monotonic() - began) / given.steps
            # Not so late that a run ends before it is killed.
            latest = max(2, given.steps * 4 // 5)
            moments = sorted(chance.randrange(1, latest) for _ in range(given.kills))
            steps = [run(config, killed, each, chance.random() * pace) for each in moments]
            run(config, killed, None, 0)
            files = [folder / "swift.safetensors" for folder in (whole, killed)]
            same = files[0].read_bytes() == files[1].read_bytes()
            sys.stdout.write(
                f"{'with' if adversary else 'without'} a discriminator: killed at steps {steps} of "
                f"{given.steps}; weights {'equal' if same else 'DIFFER'}\n"
            )
            sys.stdout.flush()
            if not same:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
