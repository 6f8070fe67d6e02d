"""The process that decodes frames, as the server sees it: asked one thing at a time, in time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from derain.models.errors import DerainError
from derain.pipeline.serve.folders import Folders
from derain.pipeline.serve.jobs import Film, Job

if TYPE_CHECKING:
    from derain.pipeline.serve.frames import Message  # which loads decoders

PATIENCE = 30.0  # seconds for one answer
WAITING, TURN = 8, 5.0  # that may wait, and seconds that others wait for that
WIDTH = 1600  # pixels of a frame on the page


class BusyError(DerainError):
    """Too many ask at once."""


class FrameProcess:
    """Starts the process when it is needed, and anew when it has died."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(WAITING)

    def probe(self, path: Path, name: str, codec: str | None = None) -> Film:
        """What a film is.

        Args:
            path: where it is.
            name: what it is called in sentences.
            codec: an encoder that must be there, too.

        Raises:
            DerainError: it is no film, or there is no such encoder.
        """
        told, _ = self._ask({"ask": "probe", "path": str(path), "codec": codec})
        if "error" in told:
            raise DerainError(str(told["error"]).replace(str(path), name))
        return Film.model_validate(told["film"])

    def pair(self, job: Job, at: float) -> tuple[bytes, float]:
        """JPEG of a job's frame at a time: before, and below it after; and the frame's own time.

        Raises:
            DerainError: there is none yet.
        """
        film = job.film
        if film is not None:  # to look behind the end takes long
            done = film.seconds if job.state == "done" else job.frames / film.fps
            at = min(at, done or at)
        told, data = self._ask(
            {
                "ask": "pair",
                "source": job.source,
                "target": job.target,
                "at": at,
                "width": WIDTH,
            }
        )
        if "error" in told:
            raise DerainError(self.folders.without_paths(job, str(told["error"])))
        return data, float(told["time"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, request: Message) -> tuple[Message, bytes]:
        if not self._places.acquire(timeout=TURN):
            raise BusyError("Too many frames are asked for; try again.")
        try:
            with self._lock:
                return self._answer(json.dumps(request).encode() + b"\n")
        finally:
            self._places.release()

    def _answer(self, request: bytes) -> tuple[Message, bytes]:
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            told = json.loads(process.stdout.readline())
            return told, process.stdout.read(told["bytes"])
        except (OSError, ValueError):
            self._end()
            return {"error": "The film cannot be decoded here; check the file."}, b""
        finally:
            timer.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "derain.pipeline.serve.frames"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=sys.platform != "win32",
            )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None
