"""A VapourSynth filter, for scripts and for Av1an, mpv and other programs that run them.

    from derain.pipeline.vapoursynth import Derain
    clip = Derain(clip)

A recurrent network wants the frames of a shot one after the other; VapourSynth asks for any frame
at any time. So a thread of the filter runs through the clip in order, a few frames ahead of what
was asked for, and begins anew, with some frames to warm up, where a frame elsewhere is wanted.
"""

from __future__ import annotations

import threading
from fractions import Fraction
from functools import partial
from typing import Any

import av
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from derain.models import VideoModel
from derain.models.errors import DerainError
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import NetworkOptions
from derain.pipeline.streaming.shot_detection import ShotDetector
from derain.pipeline.streaming.shot_runner import Shots
from derain.pipeline.video.color import RGB_MATRIX, Color, to_bytes, to_float
from derain.pipeline.video.frames import Frame
from derain.pipeline.video.reader import WARM_UP

AHEAD = 2  # frames to finish before they are asked for
KEPT = 32  # finished frames that stay, for who asks out of order
NEAR = 64  # frames to run through rather than begin anew
UNSPECIFIED = 2  # as matrix, in H.273


def Derain(  # noqa: N802 (as scripts name filters)
    clip: Any,
    model: str = "swift",
    *,
    weights: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    streaks: float = 1.0,
    haze: float = 1.0,
    boldness: float = 0.5,
    cuts: bool = True,
    network: VideoModel | None = None,
) -> Any:
    """A clip without rain, of the same format, length and frame properties.

    What the network does not change stays as it is to the last bit, in integer formats.

    Args:
        clip: a `vapoursynth.VideoNode` of constant format and size.
        model, weights: name of the network, and another file for it.
        device, precision: where it runs; `auto` takes what is fastest.
        streaks, haze: shares from 0 to 1 to remove.
        boldness: 0 leaves what might not be rain, 1 removes what might be.
        cuts: look for cuts, at which the network forgets.
        network: under the contract, instead of `model`.

    Raises:
        DerainError: format or size of the clip vary, or the network cannot be loaded.
    """
    fixed = clip.format is not None and clip.format.color_family != vs.UNDEFINED
    if not fixed or not clip.width or not clip.height:
        raise DerainError("Derain takes clips of one format and size; resize the clip first.")
    options = NetworkOptions(
        model=model,
        weights=weights,
        device=device,
        precision=precision,
        streaks=streaks,
        haze=haze,
        boldness=boldness,
    )
    core = vs.core.core
    # A thread of VapourSynth waits in this filter; another must be left for the filters before it.
    core.num_threads += 1
    there, back = _conversions(clip)
    rgb = core.resize.Bicubic(clip, format=vs.RGBS, **there)
    notice = partial(core.log_message, vs.MESSAGE_TYPE_INFORMATION)
    server = FrameServer(rgb, open_derainer(options, network, notice, layers=False), cuts)
    vs.register_on_destroy(server.close)
    blank = core.std.BlankClip(rgb, keep=True)
    clean = core.std.ModifyFrame(blank, blank, server.fill)
    back = {"format": clip.format.id} | back
    before, after = (core.resize.Bicubic(each, **back) for each in (rgb, clean))
    return core.std.Expr([clip, after, before], "x y + z -")


def _conversions(clip: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Arguments of resize to RGB and back: the matrix that the clip names, or the usual one."""
    if clip.format.color_family == vs.RGB:
        return {}, {}
    props = clip.get_frame(0).props
    matrix = int(props.get("_Matrix", UNSPECIFIED))
    if matrix in (RGB_MATRIX, UNSPECIFIED):
        matrix = 1 if clip.height >= 720 else 6
    return {"matrix_in": matrix}, {"matrix": matrix}


class FrameServer:
    """Finished frames of a clip by their number, from a thread that runs through it in order.

    Args:
        clip: the rainy one, RGBS.
        derainer: a fresh stream through the network.
        cuts: look for cuts.
    """

    def __init__(self, clip: Any, derainer: Any, cuts: bool) -> None:
        self.clip, self.derainer, self.cuts = clip, derainer, cuts
        self.ahead = AHEAD + derainer.latency
        self.rate = Fraction(clip.fps) or Fraction(25)
        self._changed = threading.Condition()
        self._done: dict[int, NDArray[np.float32]] = {}
        self._begin = 0  # of the present run, and the number that it gives next
        self._next = 0
        self._wanted = 0  # the furthest frame that was asked for since
        self._run = 0  # which one it is
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="derain", daemon=True)
        self._thread.start()

    def fill(self, n: int, f: Any) -> Any:
        """A copy of frame `f` with the derained image number `n` in it."""
        image = self.get(n)
        frame = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(frame[plane]), image[..., plane])
        return frame

    def get(self, number: int) -> NDArray[np.float32]:
        """The derained image, (H, W, 3), as soon as it is finished."""
        with self._changed:
            if number not in self._done and not self._next <= number < self._next + NEAR:
                self._begin = self._next = self._wanted = number
                self._run += 1
                self._done.clear()
            self._wanted = max(self._wanted, number)
            self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._done or self._error or self._closed)
            if self._error is not None:
                raise self._error
            if self._closed:
                raise DerainError("The script has ended.")
            for old in [n for n in self._done if n < number - KEPT]:
                del self._done[old]
            return self._done[number]

    def close(self) -> None:
        """No more frames are wanted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._closed:
                with self._changed:
                    run, begin = self._run, self._begin
                self._run_through(run, begin)
                with self._changed:
                    self._changed.wait_for(partial(self._is_over, run))
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _run_through(self, run: int, begin: int) -> None:
        """Derain from frame `begin` on, until the end or until another run is asked for."""
        self.derainer.reset()
        detector, shots = ShotDetector(scenes=self.cuts), Shots(self.derainer)
        for number in range(max(0, begin - WARM_UP), self.clip.num_frames):
            with self._changed:
                self._changed.wait_for(partial(self._may_go_on, run, number))
                if self._is_over(run):
                    return
            frame = self._frame(number)
            detector.mark(frame)
            self._finish(run, begin, shots.push(frame))
        self._finish(run, begin, shots.flush())

    def _is_over(self, run: int) -> bool:
        """Whether nobody wants more of a run."""
        return self._closed or run != self._run

    def _may_go_on(self, run: int, number: int) -> bool:
        """Whether a run has not to wait before a frame: it is over, or the frame is near."""
        return self._is_over(run) or number <= self._wanted + self.ahead

    def _frame(self, number: int) -> Frame:
        with self.clip.get_frame(number) as taken:
            rgb = np.stack([np.asarray(taken[plane]) for plane in range(3)], -1)
        rgb = np.clip(rgb, 0, 1)
        image = av.VideoFrame.from_ndarray(to_bytes(rgb), format="rgb24")
        color = Color(RGB_MATRIX, full_range=True)
        return Frame(image, number, 1 / self.rate, color, number, rgb=rgb)

    def _finish(self, run: int, begin: int, finished: list[Any]) -> None:
        with self._changed:
            for item in finished:
                number = item.frame.index
                if run == self._run and number >= begin:
                    self._done[number] = to_float(item.frame.rgb) + item.residual.whole()
                    self._next = number + 1
            self._changed.notify_all()
