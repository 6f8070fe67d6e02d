"""The queue: which job runs next, in a process of its own, and what becomes of it.

One thread looks at all of them. Previews have a lane of their own, for whoever asks for one decides
by it whether to start hours of work.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.jobs import ConflictError, Job, Preview, Settings
from derain.pipeline.serve.process import Event, JobProcess, lives
from derain.pipeline.serve.store import Store
from derain.pipeline.serve.work import GRACE, Order

PACE = 0.25  # seconds between two looks
Kind = Literal["video", "preview"]


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How jobs are run.

    Args:
        command: starts `work()` in a process of its own.
        jobs: films at the same time.
        device: of the network: auto, cpu, cuda, …
    """

    command: Sequence[str]
    jobs: int = 1
    device: str = "auto"


class Queue:
    """Runs the jobs of a store until `close`."""

    def __init__(self, store: Store, folders: Folders, options: QueueOptions) -> None:
        self.store, self.folders, self.options = store, folders, options
        self._running: dict[tuple[str, Kind], JobProcess] = {}
        self._lock = threading.RLock()
        self._news, self._closing = threading.Event(), threading.Event()
        self._orphans_until = time.monotonic() + GRACE + 10
        for job in store.all().values():
            self._take_up(job)
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)

    def _take_up(self, job: Job) -> None:
        """What a server before this one left."""
        if job.state == "running":
            self.store.update(job.id, state="queued", fps=0.0, seconds_left=None)
        elif job.state == "stopping":
            self.store.update(job.id, state="stopped", fps=0.0, seconds_left=None)
        if job.preview is not None and job.preview.state == "running":
            self.store.update(job.id, preview=Preview())

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once whether there is something to do."""
        self._news.set()

    def close(self) -> None:
        """Stop what runs; the next server goes on with it."""
        self._closing.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        for process in self._running.values():
            process.stop()
        for (job_id, kind), process in self._running.items():
            process.wait(GRACE)
            self._read(job_id, kind, process)
            self._finish(job_id, kind, process)
        self._running.clear()

    # What clients ask for

    def enqueue(self, job_id: str, again: bool = False) -> None:
        """Let a job run when its turn comes.

        Args:
            job_id: which.
            again: from the beginning: what was made is removed; else it goes on from there.

        Raises:
            ConflictError: it is under way already, or done.
        """
        with self._lock:
            job = self._job(job_id)
            if job.state in ("queued", "running", "stopping"):
                raise ConflictError("This job is under way already; stop it first.")
            if job.state == "done" and not again:
                raise ConflictError("This job is done; again=true makes it anew.")
            if again:
                self.folders.remove_made(job)
                self.store.update(job_id, frames=0, notices=[], result_size=None)
            self.store.update(job_id, state="queued", queued=time.time(), error=None, finished=None)
        self._news.set()

    def stop(self, job_id: str) -> None:
        """Stop a job, so that it can go on later.

        Raises:
            ConflictError: it is not under way.
        """
        with self._lock:
            job = self._job(job_id)
            process = self._running.get((job_id, "video"))
            if job.state == "queued":
                self.store.update(job_id, state="stopped" if job.started else "held")
            elif process is not None:
                process.stop()
                self.store.update(job_id, state="stopping")
            else:
                raise ConflictError("This job is not under way; there is nothing to stop.")

    def preview(self, job_id: str) -> None:
        """Make a preview soon.

        Raises:
            ConflictError: one is being made.
        """
        with self._lock:
            job = self._job(job_id)
            if job.preview is not None and job.preview.state in ("queued", "running"):
                raise ConflictError("A preview is being made already; wait for it.")
            self.store.update(job_id, preview=Preview())
        self._news.set()

    def change(self, job_id: str, settings: Settings) -> None:
        """Turn the dials of a job that nothing was made of yet.

        Raises:
            ConflictError: frames were made with the old settings.
        """
        with self._lock:
            job = self._job(job_id)
            if job.state != "held":
                raise ConflictError("The dials are fixed once a job was started; add it again.")
            self.store.update(job_id, settings=settings)

    def remove(self, job_id: str) -> Job:
        """Forget a job.

        Raises:
            ConflictError: it is under way.
        """
        with self._lock:
            job = self._job(job_id)
            if (job_id, "video") in self._running:
                raise ConflictError("This job is under way; stop it first.")
            preview = self._running.pop((job_id, "preview"), None)
            if preview is not None:
                preview.stop()
                preview.wait(PACE)
                preview.close()
            self.store.remove(job_id)
            return job

    def _job(self, job_id: str) -> Job:
        job = self.store.get(job_id)
        if job is None:
            raise ConflictError("This job is gone.")
        return job

    # The thread

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.wait(PACE)
            self._news.clear()
            with self._lock:
                for (job_id, kind), process in list(self._running.items()):
                    over = process.ended() is not None
                    self._read(job_id, kind, process)
                    if over:
                        del self._running[job_id, kind]
                        self._finish(job_id, kind, process)
                self._start_next()

    def _start_next(self) -> None:
        jobs = list(self.store.all().values())
        videos = sum(kind == "video" for _, kind in self._running)
        waiting = sorted((j for j in jobs if j.state == "queued"), key=lambda job: job.queued)
        for job in waiting[: max(0, self.options.jobs - videos)]:
            self._begin(job, "video")
        if not any(kind == "preview" for _, kind in self._running):
            wanted = [j for j in jobs if j.preview is not None and j.preview.state == "queued"]
            for job in wanted[:1]:
                self._begin(job, "preview")

    def _begin(self, job: Job, kind: Kind) -> None:
        """Start a process, unless one of a server before this one still ends."""
        orphan = lives(job.process)
        if orphan is not None and kind == "video":
            if time.monotonic() < self._orphans_until:
                return
            orphan.kill()
        folder = self.folders.job(job.id)
        try:
            folder.mkdir(exist_ok=True)
            process = JobProcess(self.options.command, folder / f"{kind}.log")
        except OSError as error:
            return self._fail(job.id, kind, f"No process can be started ({error}); try again.")
        self._running[job.id, kind] = process
        if kind == "video":
            self.store.update(
                job.id, state="running", started=time.time(), process=process.known_as, fps=0.0
            )
            target = job.target
        else:
            self.store.update(job.id, preview=Preview(state="running", settings=job.settings))
            target = str(self.folders.sheet(job.id))
        process.begin(
            Order(
                kind=kind,
                source=job.source,
                target=target,
                settings=job.settings,
                device=self.options.device,
            )
        )

    def _read(self, job_id: str, kind: Kind, process: JobProcess) -> None:
        """Note what a process told."""
        for event in process.events():
            name, text = event["event"], str(event.get("text", ""))
            if name == "error":
                process.tail = [text]
            elif kind == "preview" and name == "preview":
                found = {k: v for k, v in event.items() if k in Preview.model_fields}
                job = self.store.get(job_id)
                dials = job.preview.settings if job is not None and job.preview else None
                done = Preview(state="done", settings=dials, **found)
                self.store.update(job_id, preview=done)
            elif name in ("progress", "interrupted", "done") and not event.get("skipped"):
                self.store.update(job_id, saved=name != "progress", **_progress(event))

    def _finish(self, job_id: str, kind: Kind, process: JobProcess) -> None:
        """Note how a process ended."""
        code, job = process.ended(), self.store.get(job_id)
        process.close()
        if job is None:
            return
        if kind == "preview":
            if self._closing.is_set():
                self.store.update(job_id, preview=Preview())
            elif job.preview is None or job.preview.state != "done":
                self._fail(job_id, kind, self._reason(job, process, code))
        elif code == 0:
            size = Path(job.target).stat().st_size if Path(job.target).exists() else None
            self.store.update(
                job_id,
                state="done",
                finished=time.time(),
                seconds_left=None,
                result_size=size,
            )
        elif process.stopping:
            state = "queued" if self._closing.is_set() and job.state == "running" else "stopped"
            self.store.update(job_id, state=state, fps=0.0, seconds_left=None)
        else:
            self._fail(job_id, kind, self._reason(job, process, code))

    def _fail(self, job_id: str, kind: Kind, text: str) -> None:
        if kind == "preview":
            return self.store.update(job_id, preview=Preview(state="failed", error=text))
        self.store.update(
            job_id,
            state="failed",
            error=text,
            fps=0.0,
            seconds_left=None,
            finished=time.time(),
        )

    def _reason(self, job: Job, process: JobProcess, code: int | None) -> str:
        """Why it failed, as a sentence without paths of this machine."""
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return f"The process of this job was ended by {name}; start it again to go on."
        text = " ".join(process.tail) or f"The process of this job ended with code {code}."
        return self.folders.without_paths(job, text)


def _progress(event: Event) -> dict[str, object]:
    """Fields of a job from an event of progress or of an end."""
    frames = int(event["frames"] if "frames" in event else event.get("frames_out", 0))
    total, fps = int(event.get("total", 0)), float(event.get("fps", 0.0))
    found: dict[str, object] = {"frames": frames, "total": max(total, frames) if total else 0}
    if fps > 0:
        found |= {"fps": fps, "seconds_left": max(0, total - frames) / fps if total else None}
    if "notices" in event:
        found["notices"] = [str(notice) for notice in event["notices"]]
    return found
