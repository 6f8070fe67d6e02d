"""Many workers with a network that does nothing: how fast segments are claimed, and that none is
claimed twice or lost.

    python tests/bench/workers.py [--workers 100] [--segments 10000] [--folder DIR] [--kill 5]

Every worker is a process of its own. It claims, writes a journal line and an empty part, and claims
again; no film is decoded. --kill ends so many of them (-9) on the way, whose segments others take
over. Prints JSON: segments, seconds, claims a second, claimed twice, lost. Each line of the journal
waits for the disk (fsync), which is most of the time; --folder /dev/shm measures the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

from derain.pipeline.distributed.claiming import Claimer, finished
from derain.pipeline.distributed.journal import Record, read_records, write_record
from derain.pipeline.distributed.plan import Job


def work(folder: str, segments: int, start: int) -> None:
    """One worker, to the end."""
    job = Job(Path(folder))
    claimer = Claimer(job, segments, start)
    while True:
        claim = claimer.next()
        if claim is None:
            if claimer.is_over():
                return
            time.sleep(0.2)
            continue
        part = job.parts / f"{claim.name}.nut"
        write_record(
            job,
            Record(
                segment=claim.segment,
                part=part.name,
                worker=claimer.worker,
                frames=1,
                seconds=0,
                bytes=0,
                order=[],
                first="",
                last="",
                headers="",
                codec="",
            ),
        )
        part.touch(exist_ok=False)


def simulate(folder: Path, workers: int, segments: int, kill: int = 0) -> dict[str, float]:
    """Run all workers to the end.

    Args:
        folder: for the job; on the file system that is to be measured.
        workers: processes.
        segments: of the job.
        kill: how many processes are ended on the way.

    Returns:
        What the module's page says.
    """
    job = Job(folder)
    job.make()
    context = get_context("fork")
    processes = [
        context.Process(target=work, args=(str(folder), segments, segments * k // workers))
        for k in range(workers)
    ]
    began = time.monotonic()
    for process in processes:
        process.start()
    for process in random.Random(0).sample(processes, kill):
        done = len(finished(job.parts))
        while len(finished(job.parts)) < min(segments, done + segments // (2 * kill)):
            time.sleep(0.01)
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
    for process in processes:
        process.join()
    seconds = time.monotonic() - began
    # Attempts beyond the first are those whose holder was killed.
    attempts = Counter(path.name.partition(".")[0] for path in job.leases.glob("*.lease"))
    journalled = Counter(
        json.loads(line)["segment"]
        for path in job.journal.glob("*.jsonl")
        for line in path.read_text().splitlines()
    )
    again = sum(attempts.values()) - len(attempts)
    return {
        "workers": workers,
        "segments": segments,
        "seconds": round(seconds, 2),
        "claims_a_second": round(segments / seconds),
        "claimed_again": again,
        "claimed_twice": max(0, sum(n - 1 for n in journalled.values()) - kill),
        "lost": segments - len(finished(job.parts)) + segments - len(read_records(job)),
    }


def main() -> None:
    """Read the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kill", type=int, default=0)
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        result = simulate(base / "job", given.workers, given.segments, given.kill)
        print(json.dumps(result))  # noqa: T201
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
