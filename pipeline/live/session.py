"""Live: capture, network and viewers side by side, always at the newest frame.

    source -> Capture -> LatestFrame -> network -> Broadcaster -> any number of viewers
                                             '-> FanOut -> recorder, and a push for each receiver

All viewers share one pass of the network; none can slow it. Sources are capture.py's, what
viewers see preview.py's, the page http.py's, the window window.py's, files and receivers outputs/.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import av
from av.video.reformatter import VideoReformatter

from derain.models import Derainer, VideoModel, list_models, load_model
from derain.models.errors import DerainError, UsageError
from derain.models.log import Log, mask_credentials, say_nothing
from derain.models.output import Output
from derain.models.registry import ENTRIES, is_ready
from derain.pipeline.live.capture import Capture, LatestFrame, LiveFrame
from derain.pipeline.live.options import LiveOptions
from derain.pipeline.live.outputs.fan_out import FanOut
from derain.pipeline.live.outputs.record import check_target
from derain.pipeline.live.outputs.sound import Heard
from derain.pipeline.live.outputs.targets import Target, parse_target
from derain.pipeline.live.preview import DERAINED, Broadcaster, PreviewFrame
from derain.pipeline.live.source import find_source
from derain.pipeline.live.stats import Rate, Times
from derain.pipeline.live.working_size import AutoSize, measure, parse_resolution
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.shot_runner import Finished, Shots
from derain.pipeline.streaming.threads import Stopped, Worker
from derain.pipeline.video.frames import decoded_rgb, reformat


class Live:
    """One live source on its way through the network. Start it, then look at `broadcaster`.

    Args:
        model: under the contract, instead of the one that `options` name.
        say: called with a line for the user, from any thread: notices, and that the source is lost.

    Raises (when made):
        DerainError: the source, the model or the file to record cannot be opened.
    """

    def __init__(
        self, options: LiveOptions, model: VideoModel | None = None, say: Log = say_nothing
    ) -> None:
        self.options = options
        self.say = lambda text: say(mask_credentials(text))
        self.broadcaster, self.times, self.rate = Broadcaster(), Times(), Rate()
        self.notices: list[str] = []
        self.stop, self.running, self._ready = (threading.Event() for _ in range(3))
        self._broken = threading.Event()  # an output failed; `stop` must not end it early
        self.running.set()
        self.frames = 0
        self.shots = 0
        self.size: tuple[int, int] | None = None  # width and height the network works at
        self.source_size: tuple[int, int] | None = None
        self._asked = parse_resolution(options.resolution)
        self._auto: AutoSize | None = None  # with --resolution auto
        self._check()
        name = options.model
        self.model_name = name if name in ENTRIES else Path(name).stem
        self.derainer = open_derainer(options, model, self.notice)
        self._next: Derainer | None = None
        self._switching = threading.Lock()
        self._connect([parse_target(word, options.overwrite) for word in options.to])
        self._workers = [
            Worker("capture", self.capture.run, self.stop),
            Worker("network", self._work, self.stop),
            *self.outputs.workers,
        ]

    def _connect(self, targets: list[Target]) -> None:
        """Open the source, and make what takes the results."""
        options = self.options
        size = None if isinstance(self._asked, str) else options.resolution
        source = find_source(
            options.source,
            format=options.input_format,
            options=options.input_options,
            size=size,
            fps=options.fps,
            realtime=options.realtime or any(t.receiver.paced for t in targets),
            opencv=options.opencv,
            allow_network_playlists=options.allow_network_playlists,
        )
        every_frame = not source.lives and not source.paced
        self.latest = LatestFrame(self.stop, block=every_frame)
        self.capture = Capture(
            source,
            self.latest,
            every=options.every,
            fps=options.fps,
            scenes=options.scene_reset == "auto",
            loop=options.loop,
            running=self.running,
            ready=self._ready,
            stop=self.stop,
            hear=self._hear if any(t.receiver.sound for t in targets) else None,
            notice=self.notice,
            say=self.say,
        )
        self.outputs = FanOut(
            options,
            targets,
            rate=self._rate_asked,
            sound=self.capture.reader.has_sound,
            block=every_frame,
            broken=self._broken,
            notice=self.notice,
            say=self.say,
        )

    def _check(self) -> None:
        options = self.options
        if options.scene_reset not in ("auto", "off"):
            raise UsageError(f"--scene-reset is auto or off, not '{options.scene_reset}'.")
        if options.fps is not None and options.fps <= 0:
            raise UsageError("--fps is a number of frames a second, above 0.")
        if options.record is not None:
            check_target(options.record, options.source, options.overwrite)

    def notice(self, text: str) -> None:
        """Note a sentence, once."""
        text = mask_credentials(text)
        if text not in self.notices:
            self.notices.append(text)
            self.say(f"notice: {text}")

    # Life

    def __enter__(self) -> Live:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop.set()
        self.running.set()
        try:
            self._join(quiet=kind is not None)
        finally:
            self.broadcaster.close()

    @property
    def ended(self) -> bool:
        """Whether no more frames come: the source ended, or something failed."""
        network = self._workers[1]
        if self._broken.is_set() or self.outputs.over:
            return True
        return network.ident is not None and not network.is_alive()

    def _join(self, quiet: bool) -> None:
        for worker in self._workers:
            # A device that gives nothing must not hold up the end; a recorder has to finish.
            worker.join(timeout=1.0 if worker.name == "capture" else 60.0)
        for worker in self._workers:
            error = worker.error
            if error is None or quiet:
                continue
            if isinstance(error, (OSError, DerainError)):
                raise DerainError(str(error)) from error
            raise error

    # Controls: from any thread

    def control(
        self,
        *,
        streaks: float | None = None,
        haze: float | None = None,
        boldness: float | None = None,
        model: str | None = None,
        paused: bool | None = None,
        new_shot: bool = False,
    ) -> None:
        """Change something while it runs; what is None stays.

        Args:
            streaks, haze: shares to remove, in [0, 1].
            boldness: in [0, 1], of networks that heed it.
            model: a name of `list_models()`.
            paused: whether frames are left as they are on the screen.
            new_shot: forget the shot.

        Raises:
            DerainError: a share is not between 0 and 1, or there is no such model.
        """
        dials = {"streaks": streaks, "haze": haze, "boldness": boldness}
        chosen = {name: share for name, share in dials.items() if share is not None}
        for name, share in chosen.items():
            if not 0 <= share <= 1:
                raise DerainError(f"{name} is a share between 0 and 1, not {share:g}.")
        if model is not None and model not in self.models:
            names = ", ".join(self.models)
            raise DerainError(f"There is no model '{model}' to choose; there are {names}.")
        if model is not None and model != self.model_name:
            with self._switching:
                fresh = replace(self.derainer, model=load_model(model))
                self.model_name, self._next = model, fresh
        for derainer in filter(None, (self.derainer, self._next)):
            for name, share in chosen.items():
                setattr(derainer, name, share)
        if new_shot:
            self.capture.new_shot()
        if paused is not None:
            (self.running.clear if paused else self.running.set)()

    @property
    def models(self) -> list[str]:
        """Names that `control` takes: the networks with weights, and the one that runs."""
        ready = [name for name in list_models() if is_ready(name)]
        return ready if self.model_name in ready else [self.model_name, *ready]

    def status(self, times: Times | None = None) -> dict[str, object]:
        """Everything a viewer may want to know, as JSON; latencies are of `times`, in ms."""
        newest, derainer = self.broadcaster.newest, self.derainer
        state = self.capture.state
        if state == "live" and not self.running.is_set():
            state = "paused"
        return {
            "source": mask_credentials(self.options.source),
            "state": "ended" if self.ended else state,
            "size": self.size,
            "source_size": self.source_size,
            "model": self.model_name,
            "models": self.models,
            "device": str(derainer.device),
            "precision": str(derainer.dtype).removeprefix("torch."),
            "streaks": derainer.streaks,
            "haze": derainer.haze,
            "boldness": derainer.boldness,
            "views": newest.views if newest else [DERAINED],
            "fps": round(self.rate.value(), 2),
            "source_fps": round(self.capture.rate, 2),
            "frames": self.frames,
            "captured": self.capture.captured,
            "dropped": self.latest.dropped,
            "shots": self.shots,
            "reconnects": self.capture.reconnects,
            "latency": (times or self.times).percentiles(),
            "recording": self.options.record,
            "sending": [push.status() for push in self.outputs.pushes],
            "notices": self.notices,
        }

    @property
    def _rate_asked(self) -> float:
        """Frames a second that the network is to take, where it can."""
        options = self.options
        return min(self.capture.rate / options.every, options.fps or float("inf"))

    # The network's thread

    def _work(self) -> None:
        self._scaler = VideoReformatter()
        self._output: Output | None = None
        shots, resized = Shots(self.derainer), False
        try:
            with suppress(Stopped):
                while (frame := self.latest.take()) is not None:
                    frame.taken = time.perf_counter()
                    if self._next is not None or self.size is None or resized:
                        self._show(shots.flush(), frame)
                        frame.cut, frame.repeat = True, False
                        begins = self._next is not None or self.size is None
                        shots = Shots(self._begin(frame) if begins else self._change_size())
                    self._convert(frame)
                    self._show(shots.push(frame), frame)
                    self._ready.set()
                    self.shots += frame.cut
                    now = time.perf_counter()
                    resized = (
                        self._auto is not None
                        and not frame.repeat  # which costs nothing
                        and self._auto.update(now - frame.taken, now)
                    )
            self._show(shots.flush(), None)
        finally:
            self.outputs.end()

    def _begin(self, frame: LiveFrame) -> Derainer:
        """The network asked for, at the size it can keep up with."""
        self.derainer, self._next = self._next or self.derainer, None
        image = frame.image
        self.source_size = (image.width, image.height)
        self._shape = image.width / image.height
        if isinstance(self._asked, tuple):
            self.size = self._asked
        elif self._asked == "source":
            self.size = self.source_size
        else:
            dropped = self.latest.dropped
            rgb = decoded_rgb(image, frame.color, self._scaler)
            per_pixel = measure(self.derainer, rgb)
            self._auto = AutoSize(self.source_size, per_pixel, self._rate_asked)
            self.size = self._auto.size
            self.latest.dropped = dropped  # measuring drops frames, being late does not
        return self.derainer

    def _change_size(self) -> Derainer:
        """The same network at the size that suits the present load."""
        assert self._auto is not None
        self.size = self._auto.size
        self.say(f"works at {self.size[0]}x{self.size[1]} now, which this machine keeps up with")
        return self.derainer

    def _convert(self, frame: LiveFrame) -> None:
        """Fill the frame's RGB, at the working size; its image keeps the source's."""
        assert self.size is not None
        image = frame.image
        if abs(image.width / image.height - self._shape) > 0.01:
            self.notice("The image changes its shape; it is stretched to the first one's.")
        if (image.width, image.height) != self.size:
            image = reformat(image, image.format.name, frame.color, self._scaler, self.size)
        frame.rgb = decoded_rgb(image, frame.color, self._scaler)
        frame.converted = time.perf_counter()

    def _show(self, done: list[Finished], newest: LiveFrame | None) -> None:
        """Hand finished frames on; `newest` is the frame whose coming finished them."""
        now = time.perf_counter()
        for item in done:
            frame = cast(LiveFrame, item.frame)
            last = newest if newest is not None and newest.converted else frame
            times = {
                "wait": frame.taken - frame.captured,
                "lookahead": last.taken - frame.taken,
                "convert": last.converted - last.taken,
                "network": now - last.converted,
            }
            self._output = item.output or self._output
            self.frames += 1
            self.rate.tick()
            self.times.add(times)
            self.broadcaster.publish(PreviewFrame(self.frames, item, self._output, times))
            self.outputs.put(item)

    def _hear(self, sound: av.AudioFrame, time: float) -> None:
        """Sound from the capture's thread."""
        self.outputs.hear(Heard(sound, time))
