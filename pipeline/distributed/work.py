"""One worker: claims segments of a job, derains each to a part, and waits until all are done."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import av

from derain.models import Derainer, VideoModel
from derain.models.errors import DerainError
from derain.pipeline.distributed.claiming import Claimer, failed
from derain.pipeline.distributed.journal import Record, examine, write_record
from derain.pipeline.distributed.leases import BEAT, EXPIRY, Claim, Heartbeat
from derain.pipeline.distributed.plan import Job, Plan, read_plan, weights_hash
from derain.pipeline.distributed.segment_reader import PlannedMarks, open_segment
from derain.pipeline.storage.shared import publish
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.streaming.runner import Run
from derain.pipeline.streaming.shot_runner import open_shots
from derain.pipeline.streaming.temporal_smoothing import load_chosen
from derain.pipeline.video.output_files import output_files

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PART = ".nut"  # keeps time stamps exactly, and packets as encoders give them


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker chooses for itself; all else is the plan's.

    index, count: its place among those that were started together; it only says where to begin.
    threads: of the network, the decoder and the encoder each; None is as many as there are cores.
    expiry, beat: seconds of silence that mean death, and between two signs of life.
    """

    index: int = 0
    count: int = 1
    device: str = "auto"
    tile: str = "auto"
    threads: int | None = None
    expiry: float = EXPIRY
    beat: float = BEAT


@dataclass(slots=True)
class WorkReport:
    """What one worker did, and which segments nobody could do."""

    done: list[Record] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Frames that this worker wrote."""
        return sum(record.frames for record in self.done)


class Worker:
    """A network, loaded once, and the segments of one plan that it derains.

    Args:
        job: the folder.
        options: this worker's own.
        model: a model under the contract, instead of the one that the plan names.

    Raises:
        DerainError: no plan, another version of derain or of the weights, a changed source.
    """

    def __init__(
        self, job: Job, options: WorkerOptions, *, model: VideoModel | None = None
    ) -> None:
        self.job, self.own, self.plan = job, options, read_plan(job)
        self.plan.check_worker(weights_hash(self.plan.options) if model is None else "")
        job.make()  # on this machine, too
        set_threads(options.threads)
        self.options = local_options(self.plan, options)
        model = model if model is not None else load_chosen(self.options)
        self.notices: list[str] = []
        self.derainer: Derainer = open_derainer(
            self.options, model, self.notices.append, layers=False
        )
        begin = len(self.plan.segments) * options.index // max(1, options.count)
        self.claimer = Claimer(job, len(self.plan.segments), begin, options.expiry)

    def run(
        self,
        stop: threading.Event,
        progress: Callable[[int], None] = lambda frames: None,
    ) -> WorkReport:
        """Work until nothing is left that this worker could do, others' deaths included.

        Args:
            stop: set by somebody else to end early; the segment begun is given back.
            progress: told the frames done, after each.

        Raises:
            DerainError: there is no room for parts.
            Interrupted: `stop` was set.
        """
        report = WorkReport()
        while not stop.is_set():
            claim = self.claimer.next()
            if claim is not None:
                record = self.attempt(claim, stop, lambda n: progress(report.frames + n))
                if record is not None:
                    report.done.append(record)
            elif self.claimer.is_over():
                report.failed = failed(self.job, self.own.expiry)
                return report
            else:
                stop.wait(min(self.own.beat, 2.0))
        raise Interrupted(
            f"Stopped after {report.frames} frames; derain work {self.job.folder} goes on."
        )

    def attempt(
        self, claim: Claim, stop: threading.Event, progress: Callable[[int], None]
    ) -> Record | None:
        """Derain one claimed segment; None where it failed, was lost or was given back.

        Args:
            claim: the segment and the lease on it.
            stop: set to give it back.
            progress: told how many frames are done.
        """
        target = self.job.work / f"{claim.name}{PART}"
        report = Report(self.plan.source, str(target))
        lost = EitherEvent(stop)
        try:
            with Heartbeat(
                claim, self.claimer.worker, lambda: report.frames_out, lost, self.own.beat
            ):
                self._derain(claim.segment, report, lost, progress)
                record = self._describe(claim.segment, target, report)
            if not claim.is_lost():
                write_record(self.job, record)
                publish(target, self.job.parts / target.name)
                return record
        except Interrupted:
            if stop.is_set():
                claim.release()
        except (DerainError, OSError, av.FFmpegError) as error:
            if is_full(error):
                claim.release()
                raise DerainError(
                    f"There is no room left in {self.job.folder}; make some and run derain work "
                    f"{self.job.folder} again: what is done is kept."
                ) from error
            if not claim.is_lost():
                claim.fail(str(error))
        finally:
            self._clean(claim)
        return None

    def _derain(
        self, number: int, report: Report, stop: threading.Event, progress: Callable[[int], None]
    ) -> None:
        """One segment to a part in the folder of work."""
        segment = self.plan.segments[number]
        self.derainer.reset()
        began = time.monotonic()
        target = Path(report.target)
        target.unlink(missing_ok=True)
        files = output_files(target)
        with open_segment(
            self.plan, segment, threads=self.own.threads, notice=report.notice
        ) as reader:
            try:
                Run(
                    reader,
                    open_shots(self.derainer, reader.video, self.options),
                    self.options,
                    report,
                    lambda report: progress(report.frames_out),
                    stop,
                    None,
                    files,
                    PlannedMarks(self.plan),
                    video_only=True,
                ).all()
            finally:
                if files is not None:
                    files.release()
            report.damaged = reader.damaged
        report.seconds = time.monotonic() - began

    def _describe(self, number: int, part: Path, report: Report) -> Record:
        """The record of a part, once it holds what was planned."""
        contents, wanted = examine(part), self.plan.segments[number].frames
        if len(contents.order) != wanted:
            raise DerainError(
                f"Segment {number} has {len(contents.order)} frames instead of {wanted}; check "
                f"{self.plan.source}, or plan it again."
            )
        planned = self.plan.options.encoding.codec or contents.codec
        if av.Codec(planned, "w").canonical_name != av.Codec(contents.codec, "r").canonical_name:
            raise DerainError(
                f"{planned} does not work on this machine; run the worker on another one, or plan "
                "with another --codec."
            )
        in_order = contents.order == list(range(wanted))
        return Record(
            segment=number,
            part=part.name,
            worker=self.claimer.worker,
            frames=wanted,
            seconds=round(report.seconds, 3),
            bytes=part.stat().st_size,
            order=[] if in_order else contents.order,
            first=contents.first,
            last=contents.last,
            headers=contents.headers,
            codec=contents.codec,
            changed=report.changed,
            notices=[*self.notices, *report.notices],
        )

    def _clean(self, claim: Claim) -> None:
        """Delete what this and earlier attempts at a segment left half done."""
        for attempt in range(1, claim.attempt + 1):
            name = Claim(claim.folder, claim.segment, attempt).name
            for left in self.job.work.glob(f"{name}.*"):
                with suppress(OSError):
                    left.unlink()


class EitherEvent(threading.Event):
    """Set when it is itself set, or another one is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self.other = other

    def is_set(self) -> bool:
        """Whether either is."""
        return super().is_set() or self.other.is_set()


def stop_with_parent(stop: threading.Event) -> None:
    """Set `stop` when the process that started this one is no more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and not stop.wait(1):
            pass
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def set_threads(threads: int | None) -> None:
    """How many threads the network's libraries use in this process; None leaves it to them."""
    if threads is not None:
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)


def local_options(plan: Plan, own: WorkerOptions) -> VideoOptions:
    """The plan's options with what this worker chooses for itself."""
    encoding = plan.options.encoding
    if own.threads is not None:
        encoding = replace(encoding, options=encoding.options | {"threads": str(own.threads)})
    return replace(
        plan.options,
        device=own.device,
        tile=own.tile,
        encoding=encoding,
        format=None,
        overwrite=True,
    )


def is_full(error: BaseException | None) -> bool:
    """Whether something failed for want of room."""
    while error is not None:
        if isinstance(error, (OSError, av.FFmpegError)) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
