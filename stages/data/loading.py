"""Batches from worker processes, which signals to the run leave alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch
from torch.utils.data import DataLoader

from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import Samples

# What asks a run to save and stop; SLURM can be told to send SIGUSR1 before time is up.
STOP_SIGNALS = [
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGUSR1")
    if name in signal.Signals.__members__  # Windows lacks the last
]


def batches(data: Samples, start: int) -> Iterator[Batch]:
    """Batches from step `start` on, made by spawned workers (OpenCV hangs in forked ones)."""
    config = data.config
    loader = DataLoader(
        data,
        batch_size=config.batch,
        sampler=range(start * config.batch, len(data)),
        num_workers=config.workers,
        multiprocessing_context="spawn" if config.workers else None,
        worker_init_fn=_prepare_worker,
        drop_last=True,
        prefetch_factor=3 if config.workers else None,
        pin_memory=torch.cuda.is_available(),  # or copying to the GPU would wait
    )
    with _deaf_children():
        return iter(loader)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that start within ignore STOP_SIGNALS, which a terminal sends to all of them.

    Their parent decides when to stop, and needs them for the step it is in.
    """
    try:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in STOP_SIGNALS}
    except ValueError:  # not the main thread: signals are not its own
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare_worker(worker: int) -> None:
    for number in STOP_SIGNALS:  # again, for torch has put a handler of its own
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
