"""All outputs of a session: the recorder, and one push for each receiver."""

from __future__ import annotations

import threading

from derain.models.log import Log
from derain.pipeline.live.options import LiveOptions
from derain.pipeline.live.outputs.push import Push
from derain.pipeline.live.outputs.record import record
from derain.pipeline.live.outputs.sound import Heard, WaitingSound
from derain.pipeline.live.outputs.targets import Target
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.streaming.threads import Channel, Worker

# Seconds of sound that go before the frame of their time. FFmpeg's muxers keep a frame back until
# something later comes, be it sound: without this each of the two keeps it until the next frame.
AHEAD = 0.1


class FanOut:
    """Hand each finished frame to every output, and the sound that is due by then.

    Args:
        options: of the session.
        targets: those of `options.to`.
        rate: frames a second to declare.
        sound: whether the source has sound.
        block: wait for receivers, as for a file whose every frame is wanted.
        broken: set when an output fails for good.
        notice, say: called with a sentence: once for all, or each time.

    Raises:
        DerainError: a receiver does not take what is asked for, or needs what is not installed.
    """

    def __init__(
        self,
        options: LiveOptions,
        targets: list[Target],
        *,
        rate: float,
        sound: bool,
        block: bool,
        broken: threading.Event,
        notice: Log,
        say: Log,
    ) -> None:
        self.options, self.rate, self.notice = options, rate, notice
        self.waiting = WaitingSound()
        self.pushes = [
            Push(
                target,
                rate,
                sound=sound,
                encoding=options.encoding,
                block=block,
                notice=notice,
                say=say,
            )
            for target in targets
        ]
        self._to_record = Channel(broken)
        self.workers = [Worker(f"push {p.target.name}", p.run, broken) for p in self.pushes]
        if options.record is not None:
            self.workers.append(Worker("record", self._record, broken))

    @property
    def over(self) -> bool:
        """Whether whoever read standard output has ended, so that nobody is left to work for."""
        return any(push.gone.is_set() for push in self.pushes)

    def hear(self, heard: Heard) -> None:
        """Let sound of the source wait for its frame."""
        self.waiting.put(heard)

    def put(self, item: Finished) -> None:
        """Hand a frame on; waits for the recorder, which leaves nothing out."""
        due = self.waiting.until(item.frame.time + AHEAD)
        for push in self.pushes:
            push.put(item)  # a connection begins with a frame
            for heard in due:
                push.put(heard)
        if self.options.record is not None:
            self._to_record.put(item)

    def end(self) -> None:
        """No more frames come."""
        for push in self.pushes:
            push.put(None)
        if self.options.record is not None:
            self._to_record.put(None)

    def _record(self) -> None:
        """The recorder's thread."""
        options = self.options
        assert options.record is not None
        record(
            self._to_record,
            options.record,
            self.rate,
            encoding=options.encoding,
            overwrite=options.overwrite,
            notice=self.notice,
        )
