"""Where a server keeps things: the films it is shown, uploads, results, the database."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Job
from derain.pipeline.video.output_files import output_files


@dataclass(frozen=True, slots=True)
class Folders:
    """The folder of a server, and what is in it.

    Uploads and what becomes of them lie in a folder for each job, named by the job's id, so that
    no name of a client is ever part of a path.
    """

    root: Path  # its films can be named

    @property
    def results(self) -> Path:
        """Where the results of its films go."""
        return self.root / "derained"

    @property
    def state(self) -> Path:
        """Uploads and the database."""
        return self.root / ".derain-serve"

    @property
    def database(self) -> Path:
        """The jobs."""
        return self.state / "jobs.sqlite"

    @property
    def uploads(self) -> Path:
        """Bodies that are not complete yet."""
        return self.state / "uploads"

    def job(self, job_id: str) -> Path:
        """A job's own folder."""
        return self.state / "jobs" / job_id

    def sheet(self, job_id: str) -> Path:
        """The sheet of a job's preview."""
        return self.job(job_id) / "preview.png"

    def make(self) -> None:
        """Make what is missing, and remove bodies that a server before this one left incomplete.

        Raises:
            DerainError: nothing can be written there.
        """
        try:
            shutil.rmtree(self.uploads, ignore_errors=True)
            for folder in (self.uploads, self.state / "jobs"):
                folder.mkdir(parents=True, exist_ok=True)
            os.chmod(self.state, 0o700)
        except OSError as error:
            raise DerainError(
                f"{self.root} cannot hold the jobs ({error.strerror}); choose another --folder."
            ) from error

    def sweep(self, known: Iterable[str]) -> None:
        """Remove the folders of jobs that are not known."""
        kept = set(known)
        for folder in (self.state / "jobs").iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def remove_made(self, job: Job) -> None:
        """Remove what was made of a job, finished or not."""
        files = output_files(job.target)
        if files is not None:
            files.remove_helpers()
            files.target.unlink(missing_ok=True)

    def remove_job(self, job: Job) -> None:
        """Remove a job's own folder, and its part; a result that lies elsewhere stays."""
        files = output_files(job.target)
        if files is not None:
            files.remove_helpers()
        shutil.rmtree(self.job(job.id), ignore_errors=True)

    def without_paths(self, job: Job, text: str) -> str:
        """A sentence with names in place of this machine's paths."""
        for path, name in ((job.source, job.name), (job.target, job.result)):
            text = text.replace(path, name)
            text = text.replace(os.path.realpath(path), name)
        return text.replace(f"{self.job(job.id)}{os.sep}", "").replace(f"{self.root}{os.sep}", "")
