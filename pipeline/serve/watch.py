"""A folder whose films become jobs, each when it has been written to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from derain.models.errors import DerainError, UsageError
from derain.pipeline.serve.names import films_in, result_suffix
from derain.pipeline.serve.store import Store

PACE = 1.0  # seconds between two looks
SETTLED = 3.0  # seconds that a film stays as it is before it is taken


@dataclass(frozen=True, slots=True)
class Watched:
    """The folder that films come into, and the one that results go to."""

    source: Path
    into: Path

    def check(self) -> None:
        """Both are there, and they are two.

        Raises:
            UsageError: they are not.
        """
        for folder in (self.source, self.into):
            if not folder.is_dir():
                raise UsageError(f"There is no folder {folder}; make it first.")
        if self.source.samefile(self.into):
            raise UsageError("--watch and --into are the same folder; results would be watched.")


class Watcher:
    """Looks into the folder until `close`.

    Args:
        folders: where films come from and go to.
        store: knows the films that were taken before.
        add: makes a job of a film.
        log: told what is not taken, and why.
    """

    def __init__(
        self,
        folders: Watched,
        store: Store,
        add: Callable[[Path, Path], object],
        log: Callable[[str], None],
    ) -> None:
        self.folders, self.store, self.add, self.log = folders, store, add, log
        self._since: dict[str, tuple[tuple[int, int], float]] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(PACE):
            try:
                self.look(time.monotonic())
            except OSError as error:
                self.log(f"{self.folders.source} cannot be looked into ({error.strerror}).")

    def look(self, now: float) -> None:
        """Take the films that have been as they are for a while."""
        films = films_in(self.folders.source)
        self._since = {name: since for name, since in self._since.items() if name in films}
        for name, path in films.items():
            found = path.stat()
            state = (found.st_size, found.st_mtime_ns)
            before, since = self._since.get(name, (None, now))
            self._since[name] = (state, since if before == state else now)
            if before == state and found.st_size and now - since >= SETTLED:
                self._take(path)

    def _take(self, path: Path) -> None:
        if not self.store.see(path):
            return
        made = self.folders.into / f"{path.stem}{result_suffix(path.name)}"
        if made.exists() and made.stat().st_mtime >= path.stat().st_mtime:
            return  # derained already, by whomever
        try:
            self.add(path, self.folders.into)
        except DerainError as error:
            self.log(str(error))
