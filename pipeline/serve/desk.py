"""Where films become jobs: from an upload, from the server's folder, from the watch folder."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from pathlib import Path

from derain.models.errors import DerainError
from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.frame_process import FrameProcess
from derain.pipeline.serve.jobs import Film, Job, Origin, Settings, check_regions
from derain.pipeline.serve.names import (
    clean_name,
    film_suffix,
    films_in,
    free_target,
    result_suffix,
)
from derain.pipeline.serve.queue import Queue
from derain.pipeline.serve.store import Store


class Desk:
    """Takes films in and puts them into the queue.

    Args:
        folders: where uploads and results go.
        store: the jobs, for names that are promised already.
        queue: what a film goes to.
        frames: tells what a film is, and whether it is one.
    """

    def __init__(self, folders: Folders, store: Store, queue: Queue, frames: FrameProcess) -> None:
        self.folders, self.store, self.queue, self.frames = folders, store, queue, frames
        self._lock = threading.Lock()  # one name is promised once

    def add_upload(self, body: Path, name: str, settings: Settings, hold: bool) -> Job:
        """A film that was sent.

        Args:
            body: the file it is in, which is moved.
            name: what the client calls it.
            settings: the dials.
            hold: whether it waits until it is started.

        Raises:
            DerainError: it is no film.
        """
        shown, job_id = clean_name(name), secrets.token_hex(8)
        folder = self.folders.job(job_id)
        source = folder / f"film{film_suffix(shown)}"
        try:
            folder.mkdir()
            os.replace(body, source)
            film = self.film_for(source, shown, settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        suffix = result_suffix(shown)
        job = Job(
            id=job_id,
            name=shown,
            result=f"{Path(shown).stem}_clean{suffix}",
            origin="upload",
            state="held",
            settings=settings,
            film=film,
            total=film.frames,
            size=source.stat().st_size,
            created=time.time(),
            source=str(source),
            target=str(folder / f"clean{suffix}"),
        )
        return self._enter(job, hold)

    def add_named(self, name: str, settings: Settings, hold: bool) -> Job:
        """A film of the server's folder.

        Args:
            name: one of those that `films_in` lists.
            settings: the dials.
            hold: whether it waits until it is started.

        Raises:
            DerainError: there is no such film, or it is none.
        """
        source = films_in(self.folders.root).get(name)
        if source is None:
            raise DerainError("There is no film of that name in the folder; see /api/films.")
        self.folders.results.mkdir(exist_ok=True)
        return self.add_file(source, self.folders.results, settings, hold)

    def add_file(
        self,
        source: Path,
        into: Path,
        settings: Settings | None = None,
        hold: bool = False,
        origin: Origin = "folder",
    ) -> Job:
        """A film of this machine.

        Args:
            source: where it is.
            into: folder for the result.
            settings: the dials.
            hold: whether it waits until it is started.
            origin: who named it.

        Raises:
            DerainError: it is no film.
        """
        settings = settings or Settings()
        film = self.film_for(source, source.name, settings)
        with self._lock:
            taken = {job.target for job in self.store.all().values()}
            target = free_target(into, source, taken)
            job = Job(
                id=secrets.token_hex(8),
                name=source.name,
                result=target.name,
                origin=origin,
                state="held",
                settings=settings,
                film=film,
                total=film.frames,
                size=source.stat().st_size,
                created=time.time(),
                source=str(source),
                target=str(target),
            )
            return self._enter(job, hold)

    def film_for(self, source: Path, name: str, settings: Settings) -> Film:
        """What a film is that is to be derained with these settings.

        Args:
            source: where it is.
            name: what it is called in sentences.
            settings: the dials.

        Raises:
            DerainError: it is no film, or the settings do not fit it.
        """
        film = self.frames.probe(source, name, settings.codec)
        check_regions(settings, film)
        return film

    def remove(self, job_id: str) -> None:
        """Forget a job, with its upload, its part and the result of an upload.

        Raises:
            ConflictError: it is under way.
        """
        self.folders.remove_job(self.queue.remove(job_id))

    def _enter(self, job: Job, hold: bool) -> Job:
        if not hold:
            job = job.model_copy(update={"state": "queued", "queued": time.time()})
        self.store.add(job)
        self.queue.wake()
        return job
