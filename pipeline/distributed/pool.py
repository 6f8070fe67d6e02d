"""`derain video --workers N`: a job of its own, worked on by processes of this machine.

The processes are those of `derain work`; they share the cores, and nothing but the job's folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from derain.models.errors import DerainError
from derain.pipeline.distributed.claiming import failed, finished
from derain.pipeline.distributed.join import check_shared_target, join
from derain.pipeline.distributed.journal import read_records
from derain.pipeline.distributed.leases import attempts_in
from derain.pipeline.distributed.plan import Job, Plan, read_plan
from derain.pipeline.distributed.planning import SEGMENT, make_plan
from derain.pipeline.storage.shared import remove, scratch
from derain.pipeline.storage.stores import StorePath, shared_path
from derain.pipeline.streaming.checkpoints import fingerprint_of
from derain.pipeline.streaming.inputs import Derain, Task
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.progress import Reporter
from derain.pipeline.video.paths import is_file

COMMAND = "from derain.pipeline.cli.main import main; main()"
LOOK = 0.5  # seconds between two looks at the job
LOOK_AT_STORE = 5.0  # where each look is paid for
STARTS = 10  # of one process; what dies more often is not started again
GRACE = 30.0  # seconds for processes that are asked to end


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How one machine shares a film among its own processes.

    workers: processes. segment: seconds of a segment at most; 0 divides no shot.
    threads: of each process; None shares the cores out.
    ray: instead of processes of this machine, actors of this Ray cluster: auto, local, or an
        address; `workers` is then the most that are wanted, 0 as many as fit.
    """

    workers: int
    segment: float = SEGMENT
    threads: int | None = None
    ray: str | None = None


def job_of(target: str | Path) -> Job:
    """The folder beside an output in which its parts are made."""
    path = shared_path(target)
    return Job(path.with_name(f"{path.name}.job"))


def delete(job: Job) -> None:
    """Remove a job with all that is on the way to it."""
    remove(job.folder)
    shutil.rmtree(scratch(job.folder), ignore_errors=True)


def derain_with_workers(
    source: str,
    target: str,
    options: VideoOptions,
    pool: PoolOptions,
    *,
    report: Report | None = None,
    progress: Callable[[Report], None] = lambda report: None,
    stop: threading.Event | None = None,
) -> Report:
    """Remove the rain from one video by several processes; see `derain_video` for the rest.

    Args:
        source: a file, or a URL that gives the same film each time.
        target: the file to make.
        options: of the run; `resume` goes on with the job that is beside the target.
        pool: how many processes.
        report: filled as it goes.
        progress: called now and then with the report.
        stop: set by somebody else to end early; the job's folder stays.

    Raises:
        DerainError: with one sentence that says what to do next.
        Interrupted: `stop` was set.
    """
    report = report or Report(source, target)
    stop = stop or threading.Event()
    began = time.monotonic()
    place = shared_path(target)
    if not (is_file(target) or isinstance(place, StorePath) or target.startswith("file://")):
        raise DerainError("--workers makes a file; name one, or leave the option out.")
    if options.resume and place.exists() and not options.overwrite:
        report.skipped = True
        return report
    check_shared_target(place, options.overwrite)
    job = job_of(target)
    plan = _plan(source, target, job, options, pool, report, stop)
    report.total, report.shots, report.repeats = plan.frames, len(plan.shots), len(plan.repeats)
    report.resumed_at = report.frames_out = _frames_done(job, plan)
    progress(report)
    _work(job, plan, options, pool, report, progress, stop)
    joined = join(job, target, overwrite=options.overwrite)
    for notice in joined.notices:
        report.notice(notice)
    records = read_records(job).values()
    report.frames_in = report.frames_out = joined.frames
    report.measured = joined.frames
    report.changed = sum(r.changed * r.frames for r in records) / max(1, joined.frames)
    report.changed_most = max((r.changed for r in records), default=0.0)
    report.damaged, report.incomplete = joined.damaged, bool(joined.missing)
    delete(job)
    report.seconds = time.monotonic() - began
    return report


def sharing(
    options: VideoOptions, pool: PoolOptions, reporter: Reporter, stop: threading.Event
) -> Derain:
    """`derain_with_workers` as `run_tasks` wants it.

    Args:
        options: of every film.
        pool: the workers.
        reporter: told how far it is.
        stop: set to end early.
    """

    def derain(task: Task, report: Report) -> None:
        derain_with_workers(
            task.source,
            task.target,
            options,
            pool,
            report=report,
            progress=reporter.frame,
            stop=stop,
        )

    return derain


def _plan(
    source: str,
    target: str,
    job: Job,
    options: VideoOptions,
    pool: PoolOptions,
    report: Report,
    stop: threading.Event,
) -> Plan:
    """A new plan, or the one to go on with."""
    plain = replace(options, resume=False, overwrite=False)
    if job.plan.exists() and options.resume:
        plan = read_plan(job)
        same = replace(plan.options, encoding=plain.encoding).output_settings()
        known = fingerprint_of(plan.source, "") == plan.fingerprint
        if same == plain.output_settings() and known:
            return plan
        if not options.overwrite:
            raise DerainError(
                f"{job.folder} is of another input or other options; use -y to start again."
            )
    if job.folder.exists():
        if not options.overwrite and not options.resume:
            raise DerainError(
                f"{job.folder} of an interrupted run is there; --resume goes on, -y starts again."
            )
        delete(job)
    suffix = Path(target).suffix.lower()
    return make_plan(
        source, job, plain, suffix=suffix, seconds=pool.segment, stop=stop, notice=report.notice
    )


@dataclass(slots=True)
class _Processes:
    """The workers that are alive."""

    job: Job
    count: int
    options: VideoOptions
    threads: int
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)

    def start(self, index: int) -> None:
        """Start one; what it says goes into a file of its own."""
        threads = self.threads
        arguments = ["work", str(self.job.folder), "--index", str(index), "--count"]
        arguments += [str(self.count), "--threads", str(threads), "--with-parent"]
        arguments += ["--device", self.options.device, "--tile", self.options.tile]
        self.starts[index] = self.starts.get(index, 0) + 1
        with self.log(index).open("ab") as log:
            self.running[index] = subprocess.Popen(
                [sys.executable, "-c", COMMAND, *arguments],
                env=os.environ | {"OMP_NUM_THREADS": str(threads)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which then asks the others
            )

    def log(self, index: int) -> Path:
        """What a worker said."""
        return scratch(self.job.folder) / f"worker-{index}.log"

    def look(self) -> str:
        """Forget those that ended, start those anew that were killed; the last words of a failure.

        A worker that ends by itself with a sentence is not started again.
        """
        words = ""
        for index, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[index]
            if code < 0 and self.starts[index] < STARTS:
                self.start(index)
            elif code:
                lines = self.log(index).read_text(encoding="utf-8", errors="replace").splitlines()
                words = lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
        return words

    def end(self) -> None:
        """Ask all to end; then end them."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _work(
    job: Job,
    plan: Plan,
    options: VideoOptions,
    pool: PoolOptions,
    report: Report,
    progress: Callable[[Report], None],
    stop: threading.Event,
) -> None:
    """Let workers work until every segment has its part."""

    def look() -> None:
        report.frames_out = _frames_done(job, plan)
        progress(report)

    words = ""
    if len(finished(job.parts)) < len(plan.segments):
        if pool.ray is not None:
            from derain.pipeline.distributed.ray_driver import Cluster

            cluster = Cluster(pool.ray, pool.workers, pool.threads, options.device, options.tile)
            words = cluster.work(job, plan, look, stop)
        else:
            words = _work_here(job, plan, options, pool, look, stop)
    if stop.is_set():
        raise Interrupted(
            f"Stopped after {_frames_done(job, plan)} frames, which are in {job.folder}; --resume "
            "goes on from there."
        )
    if len(finished(job.parts)) < len(plan.segments):
        lost = failed(job)
        why = next(iter(lost.values()), words or "The workers ended.")
        raise DerainError(f"{why} What was done is in {job.folder}; --resume goes on from there.")


def _work_here(
    job: Job,
    plan: Plan,
    options: VideoOptions,
    pool: PoolOptions,
    look: Callable[[], None],
    stop: threading.Event,
) -> str:
    """Let processes of this machine work; the last words of one that failed."""
    count = max(1, min(pool.workers, len(plan.segments)))
    threads = pool.threads or max(1, (os.cpu_count() or 1) // count)
    look_every = LOOK_AT_STORE if isinstance(job.folder, StorePath) else LOOK
    processes = _Processes(job, count, options, threads)
    words = ""
    try:
        for index in range(count):
            processes.start(index)
        while processes.running and not stop.wait(look_every):
            words = processes.look() or words
            look()
            if len(finished(job.parts)) == len(plan.segments):
                break  # workers look for others' deaths for seconds before they end by themselves
    finally:
        processes.end()
    return words


def _frames_done(job: Job, plan: Plan) -> int:
    """Frames of complete parts, and of those in work."""
    done = finished(job.parts)
    frames = sum(plan.segments[number].frames for number in done)
    working = [c for n, c in attempts_in(job.leases).items() if n not in done]
    return frames + sum(claim.holder()[1] for claim in working)
