"""News for those who watch: threads tell that something changed, coroutines wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

from derain.pipeline.serve.jobs import ENDED, Job, JobView

QUIET = 10.0  # seconds after which a line says that the connection lives
PACE = 0.25  # seconds between two events, at least


class Changes:
    """Wakes all that wait, from any thread."""

    def __init__(self) -> None:
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def notify(self) -> None:
        """Something changed."""
        for loop, event in list(self._waiting):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    @contextmanager
    def subscribed(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.add(entry)
        try:
            yield entry[1]
        finally:
            self._waiting.discard(entry)


async def job_events(
    changes: Changes, jobs: Callable[[], dict[str, Job]], only: str | None = None
) -> AsyncGenerator[bytes, None]:
    """Server-sent events: `job` with a job as it is now, `removed` with the id of one that is gone.

    Args:
        changes: tells when to look again.
        jobs: all of them by id; a job that changed is another object.
        only: the job to follow, until nothing happens to it any more; None for all, without end.
    """
    shown: dict[str, Job] = {}
    with changes.subscribed() as changed:
        while True:
            changed.clear()
            now = {key: job for key, job in jobs().items() if only in (None, key)}
            for key, job in now.items():
                if shown.get(key) is not job:
                    yield _event("job", JobView.model_validate(job.model_dump()).model_dump_json())
            for key in shown.keys() - now.keys():
                yield _event("removed", key)
            shown = now
            if only is not None and (only not in now or is_settled(now[only])):
                return
            try:
                async with asyncio.timeout(QUIET):
                    await changed.wait()
                await asyncio.sleep(PACE)
            except TimeoutError:
                yield b": nothing new\n\n"


def is_settled(job: Job) -> bool:
    """Whether nothing happens to a job until somebody asks."""
    previewing = job.preview is not None and job.preview.state in ("queued", "running")
    return job.state in ENDED and not previewing


def _event(kind: str, data: str) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()
