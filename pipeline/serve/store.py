"""The jobs in SQLite, so that they outlive the server, however it ends.

What changes many times a second is kept in memory alone: frames that are done are found again in
the part files.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from derain.models.errors import DerainError
from derain.pipeline.serve.jobs import Job

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, data TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS seen (
    path TEXT, size INTEGER, modified INTEGER, PRIMARY KEY (path, size, modified)
);
"""


class Store:
    """All jobs of a folder; one server at a time has it open.

    Args:
        path: of the database.
        changed: called after every change, from the thread that made it.

    Raises:
        DerainError: another server uses it, or it cannot be read.
    """

    def __init__(self, path: Path, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(path, timeout=2, check_same_thread=False)
            # Held until the process ends: a second server on the same folder is refused.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            with self._db:
                self._db.execute("BEGIN EXCLUSIVE")
            self._db.executescript(TABLES)
            rows = self._db.execute("SELECT data FROM jobs ORDER BY number").fetchall()
        except sqlite3.Error as error:
            if "locked" in str(error):
                text = f"Another derain serve uses {path.parent.parent}; choose another --folder."
            else:
                text = f"{path} cannot be used ({error}); move it away to begin with no jobs."
            raise DerainError(text) from error
        jobs = [Job.model_validate_json(data) for (data,) in rows]
        self._jobs = {job.id: job for job in jobs}

    def all(self) -> dict[str, Job]:
        """All jobs by id, oldest first: a copy."""
        with self._lock:
            return dict(self._jobs)

    def get(self, job_id: str) -> Job | None:
        """One of them, where it is there."""
        return self._jobs.get(job_id)

    def add(self, job: Job) -> None:
        """One more."""
        with self._lock, self._db:
            self._db.execute(
                "INSERT INTO jobs (id, data) VALUES (?, ?)", (job.id, job.model_dump_json())
            )
            self._jobs[job.id] = job
        self._changed()

    def update(self, job_id: str, *, saved: bool = True, **values: object) -> None:
        """Change fields of a job; one that is gone stays gone.

        Args:
            job_id: which.
            saved: whether a restart must know it.
            values: the fields.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                return
            job = job.model_copy(update=values)
            if saved:
                with self._db:
                    row = (job.model_dump_json(), job_id)
                    self._db.execute("UPDATE jobs SET data = ? WHERE id = ?", row)
            self._jobs[job_id] = job
        self._changed()

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            self._jobs.pop(job_id, None)
        self._changed()

    def see(self, path: Path) -> bool:
        """Note a film of the watch folder as it is now; whether it is new."""
        found = path.stat()
        row = (str(path), found.st_size, found.st_mtime_ns)
        with self._lock, self._db:
            done = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", row)
        return done.rowcount == 1

    def close(self) -> None:
        """Let others use it."""
        with self._lock:
            self._db.close()
