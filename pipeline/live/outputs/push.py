"""Sending what a session makes to one receiver, for as long as the session lasts.

The network's thread only leaves frames here. The thread of the push encodes and sends; where it is
late, older frames make room for newer ones; where the receiver goes away it is tried again and
again, with longer and longer waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque

import av

from derain.models.log import Log, mask_credentials
from derain.pipeline.live.outputs.camera import VirtualCamera, require_camera
from derain.pipeline.live.outputs.connection import (
    Connection,
    SendingProcess,
    encoding_for,
    require_sender,
)
from derain.pipeline.live.outputs.sound import Heard
from derain.pipeline.live.outputs.targets import Target
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.streaming.threads import QUEUE
from derain.pipeline.video.encoders import Encoding

BACK_OFF = 0.5, 10.0  # seconds until a lost receiver is tried again: at first, and at most
STABLE = 3.0  # seconds after which a connection has come about
STALL = 10.0  # seconds that one write may take
MOST_SOUND = 500  # pieces of sound that may wait, ten seconds of it


class Outbox:
    """Frames and sound on their way to one receiver, in order and bounded.

    With `block`, `put` waits for room while `patient` says so; else the oldest frame goes.
    """

    def __init__(self, block: bool) -> None:
        self.block = block
        self.dropped = 0
        self._changed = threading.Condition()
        self._items: deque[Finished | Heard | None] = deque()
        self._frames = 0

    def put(self, item: Finished | Heard | None) -> bool:
        """Leave something, None for the end; False where there is no room yet, with `block`."""
        with self._changed:
            if isinstance(item, Finished):
                if self._frames == QUEUE and self.block:
                    self._changed.wait(0.2)
                    if self._frames == QUEUE:
                        return False
                if self._frames == QUEUE:
                    self._drop(Finished)
                    self.dropped += 1
                self._frames += 1
            elif item is not None and len(self._items) - self._frames >= MOST_SOUND:
                self._drop(Heard)
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self) -> Finished | Heard | None:
        """The next, as soon as there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items))
            item = self._items.popleft()
            self._frames -= isinstance(item, Finished)
            self._changed.notify_all()
            return item

    def _drop(self, kind: type[Finished] | type[Heard]) -> None:
        oldest = next(i for i, item in enumerate(self._items) if isinstance(item, kind))
        del self._items[oldest]
        self._frames -= kind is Finished


class Push:
    """One receiver of a session.

    Args:
        target: where to.
        rate: frames a second to declare.
        sound: whether the source has sound.
        encoding: the user's choice of codec and quality.
        block: wait for the receiver rather than leave frames out, as files want it.
        notice, say: called with a sentence: once for all, or each time.

    Raises:
        DerainError: what it needs is not installed.
    """

    def __init__(
        self,
        target: Target,
        rate: float,
        *,
        sound: bool,
        encoding: Encoding,
        block: bool,
        notice: Log,
        say: Log,
    ) -> None:
        if target.is_camera:
            require_camera()
        else:
            require_sender(target)
            encoding_for(target, encoding, rate)  # refuses what the receiver does not take
        self.target, self.rate, self.sound, self.encoding = target, rate, sound, encoding
        self.notice, self.say = notice, say
        self.state = "waiting"
        self.frames = 0  # that were sent, as far as is known
        self._unsure = 0  # of them on a connection that has not come about yet
        self.reconnects = 0
        self.gone = threading.Event()  # nothing is sent any more
        self.outbox = Outbox(block)
        self._connection: Connection | None = None
        self._opened = 0.0
        self._writing: float | None = None  # since when the present write lasts
        self._retry, self._pause = 0.0, BACK_OFF[0]

    def put(self, item: Finished | Heard | None) -> None:
        """Leave a frame, sound, or None for the end; called by the network's thread."""
        self._check()
        while not self.gone.is_set() and not self.outbox.put(item):
            self._check()

    def status(self) -> dict[str, object]:
        """What a viewer may want to know, as JSON."""
        return {
            "target": mask_credentials(self.target.name),
            "state": self.state,
            "frames": self.frames,
            "dropped": self.outbox.dropped,
            "reconnects": self.reconnects,
        }

    def run(self) -> None:
        """The thread."""
        try:
            while not self.gone.is_set() and (item := self.outbox.take()) is not None:
                self._send(item)
        finally:
            self.gone.set()
            self.state = "ended"
            if self._connection is not None and not self._connection.close():
                self.frames -= self._unsure

    def _check(self) -> None:
        """End a connection that does not come on with a write."""
        connection, since = self._connection, self._writing
        if connection is not None and since is not None and time.monotonic() - since > STALL:
            connection.kill()

    def _send(self, item: Finished | Heard) -> None:
        if self._connection is None:
            if isinstance(item, Heard) or time.monotonic() < self._retry:
                return
            self._connection, self._opened = self._open(item), time.monotonic()
        self._writing = time.monotonic()
        try:
            if isinstance(item, Heard):
                self._connection.hear(item)
            else:
                self._connection.write(item)
                self.frames += 1
                self._unsure += self.state != "sending"
        except (OSError, av.FFmpegError):
            return self._lose()
        finally:
            self._writing = None
        if self.state != "sending" and time.monotonic() - self._opened > STABLE:
            self._pause = BACK_OFF[0]
            if self.state == "lost":
                self.reconnects += 1
                self.say(f"{self.target.name} is back")
            self.state = "sending"
            self._unsure = 0

    def _open(self, first: Finished) -> Connection:
        if self.target.is_camera:
            return VirtualCamera(self.target.address, first, self.rate)
        return SendingProcess(
            self.target,
            first,
            self.rate,
            sound=self.sound,
            encoding=self.encoding,
            notice=self.notice,
        )

    def _lose(self) -> None:
        """The connection failed: another one later."""
        assert self._connection is not None
        reason = self._connection.fail()
        self._connection = None
        self.frames -= self._unsure
        self._unsure = 0
        if not self.target.receiver.returns:
            self.gone.set()
            return self.notice(f"Whatever read {self.target.name} has ended.")
        if self.state != "lost":
            self.state = "lost"
            self.say(f"{self.target.name} does not take the stream ({reason}); trying again")
        self._retry = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, BACK_OFF[1])
