"""Frames in, as many out, in order: shots, repeated frames, and the network's window.

Which frames begin a shot or repeat is found in shot_detection.py; files are in video/.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from derain.models import Derainer, DerainError
from derain.models.output import Output
from derain.models.runtime.preparation import Prepared
from derain.pipeline.streaming.checkpoints import Checkpoint, tensors_of, with_tensors
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.sizes import protected_mask
from derain.pipeline.video.color import Residual, to_float
from derain.pipeline.video.frames import Frame, Video, as_stored, is_turned, upright


@dataclass(slots=True)
class Finished:
    """A frame on its way to the encoder."""

    frame: Frame
    residual: Residual  # what the network adds
    output: Output | None = None  # None for a frame that repeats the one before it


class Shots:
    """Feed a `Derainer` with marked frames and give every frame back with its residual.

    A repeated frame does not enter the window; it gets the residual of the frame it repeats. The
    network sees upright frames, or rain would fall sideways in the films of a turned camera.

    Args:
        derainer: a fresh stream.
        matrix: the video's `display_matrix`.
        protected: (H, W) of the upright frame, True where it stays as it is; None for nowhere.
    """

    def __init__(
        self,
        derainer: Derainer,
        matrix: tuple[int, ...] | None = None,
        protected: NDArray[np.bool_] | None = None,
    ) -> None:
        self.derainer, self.matrix = derainer, matrix
        self._protected = None if protected is None else as_stored(protected, matrix)[..., None]
        self.count = 0
        self.repeats = 0
        self._waiting: deque[Frame] = deque()
        self._last: Residual | None = None  # of the last finished frame
        self._next = 0
        self._fed = 0  # index of the last frame that was fed
        self._sample: Frame | None = None  # one that shows the size, before `restore`

    def push(self, frame: Frame, prepared: Prepared | None = None) -> list[Finished]:
        """Take a frame whose `rgb` is filled unless it repeats; give what is finished by it.

        Args:
            frame: the next one of the video.
            prepared: what a `ShotPreparer` made of it, where one is at work.
        """
        done = self.flush() if frame.cut else []
        self.count += frame.cut or frame.index == 0
        self._next = frame.index + 1
        if frame.repeat:
            self.repeats += 1
            self._waiting.append(frame)
            return done + self._repeated()
        return done + self._feed(frame, prepared)

    def flush(self) -> list[Finished]:
        """End the shot: the frames that still wait, in order."""
        done = []
        for output in self.derainer.flush():
            done += self._finish(output)
        return done

    def _feed(self, frame: Frame, prepared: Prepared | None) -> list[Finished]:
        assert frame.rgb is not None
        self._waiting.append(frame)
        self._fed = frame.index
        output = self.derainer.push(prepared or upright_image(frame, self.matrix))
        return self._finish(output) if output is not None else []

    def _finish(self, output: Output) -> list[Finished]:
        frame = self._waiting.popleft()
        assert frame.rgb is not None
        image = as_stored(output.image[0].permute(1, 2, 0).cpu().numpy(), self.matrix)
        if self._protected is not None:
            image = np.where(self._protected, to_float(frame.rgb), image)
        self._last = Residual(image, frame.rgb)
        return [Finished(frame, self._last, output), *self._repeated()]

    def _repeated(self) -> list[Finished]:
        """Repeats at the head of the line: what they repeat is finished."""
        done = []
        while self._waiting and self._waiting[0].repeat and self._last is not None:
            done.append(Finished(self._waiting.popleft(), self._last))
        return done

    # Checkpoints

    @property
    def can_snapshot(self) -> bool:
        """Whether the network is inside a shot."""
        return self.derainer.state is not None

    def snapshot(self, final: bool = False) -> Checkpoint:
        """All that a later run needs to go on after the last frame taken."""
        waiting = [frame.index for frame in self._waiting]
        fed = [frame.index for frame in self._waiting if not frame.repeat]
        plain = torch.contiguous_format  # as files hold it
        return Checkpoint(
            next_in=self._next,
            next_out=waiting[0] if waiting else self._next,
            prime_from=fed[0] if fed else self._fed,
            shots=self.count,
            repeats=self.repeats,
            state=[
                t.detach().cpu().clone(memory_format=plain) for t in tensors_of(self.derainer.state)
            ],
            residual=None if self._last is None else torch.from_numpy(self._last.whole()),
            final=final,
        )

    def prime(self, frame: Frame, at: Checkpoint) -> None:
        """Take a frame from before the checkpoint: those that wait there wait again."""
        if frame.index < at.prime_from:
            return
        if frame.index >= at.next_out:
            self._waiting.append(frame)
        if not frame.repeat:
            self._sample, self._fed = frame, frame.index

    def restore(self, at: Checkpoint) -> None:
        """Put back the state after the last frame of `prime`."""
        self.count, self.repeats, self._next = at.shots, at.repeats, at.next_in
        if at.residual is not None:
            self._last = Residual(at.residual.numpy(), np.zeros(at.residual.shape, np.float32))
        if self._sample is None:
            raise DerainError("The input has other frames than it had; use -y to start again.")
        prepare, derainer = self.derainer.preparer().take, self.derainer
        waiting = [
            prepare(upright_image(frame, self.matrix))
            for frame in self._waiting
            if not frame.repeat
        ]
        derainer.begin(prepare(upright_image(self._sample, self.matrix)), waiting)
        derainer.state, self._sample = with_tensors(derainer.state, at), None


def open_shots(derainer: Derainer, video: Video, options: VideoOptions) -> Shots:
    """Fresh shots of a video, as the options say.

    Args:
        derainer: a fresh stream.
        video: what is read.
        options: of which `protect` is heeded.

    Raises:
        UsageError: a region does not fit the video.
    """
    matrix = video.display_matrix
    size = (video.height, video.width) if is_turned(matrix) else (video.width, video.height)
    return Shots(derainer, matrix, protected_mask(options.protect, *size))


class ShotPreparer:
    """Prepares marked frames for `Shots.push`, in order, in a thread of its own."""

    def __init__(self, derainer: Derainer, matrix: tuple[int, ...] | None = None) -> None:
        self._preparer, self._matrix = derainer.preparer(), matrix

    def take(self, frame: Frame) -> Prepared | None:
        """What `Shots` will feed; None for a frame that it will not."""
        if frame.cut:
            self._preparer.cut()
        if frame.repeat or frame.rgb is None:
            return None
        return self._preparer.take(upright_image(frame, self._matrix))


def upright_image(frame: Frame, matrix: tuple[int, ...] | None) -> Tensor:
    """A frame whose `rgb` is filled, (3, H, W), as players show it."""
    assert frame.rgb is not None
    return torch.from_numpy(np.ascontiguousarray(upright(frame.rgb, matrix))).permute(2, 0, 1)
