"""Reading a live source as it comes, and the place in which the newest frame waits.

What a source is, is source.py's; the network and the viewers are session.py's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import av

from derain.models.errors import DerainError
from derain.models.log import Log, say_nothing
from derain.pipeline.live.source import OnSound, Reader, Source, open_reader
from derain.pipeline.streaming.shot_detection import ShotDetector
from derain.pipeline.streaming.threads import Stopped
from derain.pipeline.video.frames import Frame

TICKS = Fraction(1, 90000)  # of the time stamps here, whatever the source counts in
EARLY = 200  # pieces of sound that may come before the first frame
BACK_OFF = 0.5, 10.0  # seconds until a lost source is tried again: at first, and at most


@dataclass(slots=True)
class LiveFrame(Frame):
    """A frame with the moments it passed, in seconds of `time.perf_counter`."""

    captured: float = 0.0  # decoded
    taken: float = 0.0  # by the network's thread
    converted: float = 0.0  # to RGB


def stand_in(frame: LiveFrame, lost: LiveFrame) -> None:
    """`frame` comes instead of the one before it: what that one meant for the shot stays true."""
    frame.cut |= lost.cut
    frame.repeat &= lost.repeat


class LatestFrame:
    """Room for one frame between capture and network.

    A newer frame takes the place of one that waits there, which is counted as dropped: however late
    the network is, what it takes is fresh. With `block`, `put` waits and nothing is dropped.
    """

    def __init__(self, stop: threading.Event, block: bool = False) -> None:
        self.stop, self.block = stop, block
        self.dropped = 0
        self._changed = threading.Condition()
        self._frame: LiveFrame | None = None
        self._ended = False

    def put(self, frame: LiveFrame) -> None:
        """Leave a frame; Stopped when all is over."""
        with self._changed:
            while self.block and self._frame is not None:
                self._wait()
            if self._frame is not None:
                stand_in(frame, self._frame)
                self.dropped += 1
            self._frame = frame
            self._changed.notify_all()

    def end(self) -> None:
        """No more frames come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self) -> LiveFrame | None:
        """The newest frame as soon as there is one, None at the end; Stopped when all is over."""
        with self._changed:
            while self._frame is None and not self._ended:
                self._wait()
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def _wait(self) -> None:
        if self.stop.is_set():
            raise Stopped
        self._changed.wait(0.2)


class Capture:
    """Read a source into a `LatestFrame` until it ends or `stop` is set; reopen a lost one.

    Args:
        every: only each so many-th frame goes on.
        fps: at most so many frames a second go on.
        scenes: look for cuts.
        loop: begin again where a file ends.
        running: clear it to pause. Files wait, cameras are emptied.
        ready: set once the network made its first frame. Files that are played at their own pace
            wait for it, or short ones would be over by then; cameras do not.
        hear: called with the source's sound and its time in seconds of the session.
        notice, say: called with a sentence: once for all, or each time.
    """

    def __init__(
        self,
        source: Source,
        latest: LatestFrame,
        *,
        every: int = 1,
        fps: float | None = None,
        scenes: bool = True,
        loop: bool = False,
        running: threading.Event,
        ready: threading.Event,
        stop: threading.Event,
        hear: OnSound | None = None,
        notice: Log,
        say: Log = say_nothing,
    ) -> None:
        self.source, self.latest = source, latest
        self.every, self.fps, self.scenes, self.loop = every, fps, scenes, loop
        self.running, self.ready, self.stop = running, ready, stop
        self.notice, self.say = notice, say
        self.state = "live"
        self.captured = 0
        self.reconnects = 0
        self._fresh = threading.Event()  # the next frame begins a shot
        self._last = 0.0  # time of the newest frame, on the line of all connections
        self._origin = 0.0  # the moment of time 0
        self._due = 0.0
        self._skipped: LiveFrame | None = None
        self._hear = hear
        self._shift: float | None = None  # from the times of the connection to ours
        self._early: deque[tuple[av.AudioFrame, float]] = deque(maxlen=EARLY)
        self.reader = self._open()
        declared = self.reader.rate
        self.rate = declared if 1 <= declared <= 1000 else 25.0  # streams declare what they like

    def new_shot(self) -> None:
        """Let the next frame begin a shot."""
        self._fresh.set()

    def run(self) -> None:
        """The thread."""
        try:
            while not self.stop.is_set():
                before = self.captured
                try:
                    self._read(self.reader)
                finally:
                    self.reader.close()
                if self.source.lives:
                    self._reconnect()
                elif self.loop and self.captured > before:
                    self.reader = self._open()
                else:
                    break
        finally:
            self.state = "ended"
            self.latest.end()

    def _open(self) -> Reader:
        try:
            on_sound = None if self._hear is None else self._heard
            return open_reader(self.source, self.notice, on_sound)
        except OSError as error:
            raise DerainError(str(error)) from error

    def _reconnect(self) -> None:
        """Try again and again, with longer and longer waits."""
        self.state = "lost"
        self.say(f"{self.source.name} is lost; trying to open it again")
        pause, longest = BACK_OFF
        while not self.stop.wait(pause):
            try:
                self.reader = self._open()
            except DerainError:
                pause = min(2 * pause, longest)
                continue
            self.reconnects += 1
            self.state = "live"
            self.say(f"{self.source.name} is back")
            return

    def _read(self, reader: Reader) -> None:
        """One connection: every frame of it on one line of time with those before."""
        detector = ShotDetector(scenes=self.scenes)
        self.new_shot()
        self._shift = None
        self._early.clear()
        self._origin = self._origin or time.perf_counter()
        for frame in reader.frames():
            if self.stop.is_set():
                return
            if not self.running.is_set():
                if self.source.lives:
                    self.new_shot()
                    continue
                self._origin += self._hold(self.running)
            if self._shift is None:
                start = self._last + 1 / self.rate if self.captured else 0.0
                if self.source.lives and self.captured:
                    start = max(start, time.perf_counter() - self._origin)
                self._shift = start - frame.time
                while self._early:
                    self._heard(*self._early.popleft())
            detector.mark(frame)
            self._last = max(self._last, frame.time + self._shift)
            if self.source.paced:
                self.stop.wait(max(0.0, self._origin + self._last - time.perf_counter()))
            self._offer(frame)
            if self.source.paced and not self.source.lives and not self.ready.is_set():
                self._origin += self._hold(self.ready)

    def _heard(self, sound: av.AudioFrame, time: float) -> None:
        """Hand sound on, as long as frames are; what comes before the first frame waits for it."""
        if self._hear is None or (self.source.lives and not self.running.is_set()):
            return
        if self._shift is None:
            self._early.append((sound, time))
        else:
            self._hear(sound, time + self._shift)

    def _hold(self, until: threading.Event) -> float:
        """Wait for a pause to end, or for the network; how long it took."""
        began = time.perf_counter()
        while not until.is_set() and not self.stop.is_set():
            until.wait(0.2)
        return time.perf_counter() - began

    def _offer(self, frame: Frame) -> None:
        """Hand the frame on, or leave it out where the user asked for fewer."""
        live = LiveFrame(
            frame.image,
            round(self._last / TICKS),
            TICKS,
            frame.color,
            self.captured,
            cut=frame.cut,
            repeat=frame.repeat,
            captured=time.perf_counter(),
        )
        self.captured += 1
        if self._fresh.is_set():
            self._fresh.clear()
            live.cut = True
        if self._skipped is not None:
            stand_in(live, self._skipped)
        # A frame that comes a little early is in time.
        early = self.fps is not None and self._last < self._due - 0.2 / self.fps
        if early or (self.captured - 1) % self.every:
            self._skipped = live
            return
        if self.fps is not None:
            self._due = max(self._due, self._last - 1 / self.fps) + 1 / self.fps
        self._skipped = None
        live.repeat &= not live.cut
        self.latest.put(live)
