"""Going on after an interruption: what is saved beside a part file, and how it is put back.

A checkpoint belongs to a key frame in the part: the frames before it are in the part, the state of
the network is saved, and a new encoder begins at it; `Saver` waits for that frame. Files are
safetensors: tensors and JSON, no code.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import av
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from derain.models.errors import DerainError
from derain.pipeline.storage.stores import StorePath, is_stored
from derain.pipeline.video.output_files import OutputFiles, fresh_name, replace_exclusive
from derain.pipeline.video.paths import files_of

STREAMS = ("rtsp", "rtsps", "rtp", "rtmp", "rtmps", "srt", "tcp", "udp")
MOST = 1 << 40  # frames; no film has more
HEAD = 1 << 20  # bytes of an input that are hashed
FORMAT = 2  # of these files; version 0.1.0 wrote windows that grow
SETTLED = 4  # packets after a key frame until it has certainly left the muxer

S = TypeVar("S")


@dataclass(slots=True)
class Checkpoint:
    """Where a run stands between two frames. Frames are counted as they are decoded, from 0."""

    next_in: int  # the frame to be fed next
    next_out: int  # the frame to be encoded next
    prime_from: int  # frames from here on wait for their output, or show the frames' size
    written: int = 0  # frames in the part before `next_out`
    shots: int = 0
    repeats: int = 0
    state: list[Tensor] = field(default_factory=list)
    final: bool = False  # the part ends right before `next_out`
    residual: Tensor | None = None  # of the last finished frame, for frames that repeat it


def is_replayable(source: str) -> bool:
    """Whether a source gives the same frames again when it is opened again.

    Streams, pipes and cameras do not.
    """
    if source == "-" or (os.path.exists(source) and not os.path.isfile(source)):
        return False
    scheme, found, _ = source.partition("://")
    return not found or scheme not in STREAMS


def fingerprint_of(source: str, settings: object) -> dict[str, object]:
    """What must be the same when a run goes on: the input's contents and all that forms the output.

    Files are known by their sizes and a hash of the first one's first bytes, not by their names.
    """
    known: dict[str, object] = {"settings": str(settings), "source": source}
    if is_stored(source):
        known["stamp"] = StorePath(source).fingerprint()
    files = [path for path in files_of(source) if path.is_file()]
    if files:
        with files[0].open("rb") as file:
            known["source"] = sha256(file.read(HEAD)).hexdigest()
        known["sizes"] = [path.stat().st_size for path in files]
    return known


def save(files: OutputFiles, checkpoint: Checkpoint, fingerprint: dict[str, object]) -> None:
    """Write a checkpoint; the one before it stays whole until this one is.

    Args:
        files: the output's, beside which it lies.
        checkpoint: what to save.
        fingerprint: of the input and of the settings that form the output.
    """
    from safetensors.torch import save_file

    values = {each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}
    numbers = {name: value for name, value in values.items() if isinstance(value, int)}
    tensors = {f"state.{i:04d}": t for i, t in enumerate(checkpoint.state)}
    if checkpoint.residual is not None:
        tensors["residual"] = checkpoint.residual
    tensors["end"] = torch.zeros(1)  # a file needs one tensor
    # No copies of tensors that are in the file's layout already: states may be large.
    tensors = {k: t.detach().contiguous() for k, t in tensors.items()}
    noted = {"format": FORMAT, "numbers": numbers, "fingerprint": fingerprint}
    metadata = {"derain": json.dumps(noted)}
    path, fresh = files.checkpoint, fresh_name(files.checkpoint)
    try:
        replace_exclusive(fresh, like=files.target)
        save_file(tensors, str(fresh), metadata=metadata)
        os.replace(fresh, path)
    except Exception as error:
        fresh.unlink(missing_ok=True)
        raise DerainError(f"{path} cannot be written ({error}); make room for it.") from error


def load(path: Path, fingerprint: dict[str, object]) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DerainError: it is unreadable, or of another input or other settings.
    """
    from safetensors import SafetensorError, safe_open

    unreadable = DerainError(f"{path} cannot be read; use -y to start again.")
    try:
        with safe_open(str(path), framework="pt") as file:
            noted = json.loads((file.metadata() or {})["derain"])
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
        if noted.get("format") != FORMAT:
            raise DerainError(f"{path} is of another version of derain; use -y to start again.")
        numbers = _Numbers.model_validate(noted["numbers"])
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise unreadable from error
    if noted.get("fingerprint") != fingerprint:
        raise DerainError(f"{path} is of another input or other options; use -y to start again.")
    state = [tensor for key, tensor in tensors.items() if key.startswith("state.")]
    residual = tensors.get("residual")
    return Checkpoint(**numbers.model_dump(), state=state, residual=residual)


class _Numbers(BaseModel):
    """The numbers of a checkpoint as a file may hold them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    next_in: int = Field(ge=0, le=MOST)
    next_out: int = Field(ge=0, le=MOST)
    prime_from: int = Field(ge=0, le=MOST)
    written: int = Field(ge=0, le=MOST)
    shots: int = Field(ge=0, le=MOST)
    repeats: int = Field(ge=0, le=MOST)
    final: bool

    @model_validator(mode="after")
    def _in_order(self) -> _Numbers:
        # A part holds what was decoded before, so that it never has more than that.
        if not (self.prime_from <= self.next_in and self.written <= self.next_out <= self.next_in):
            raise ValueError("out of order")
        return self


class Saver:
    """Saves checkpoints beside a part file, each once its key frame is safely in the part.

    The network's thread takes them, the encoder's watches frames and packets pass.

    Args:
        files: of the output.
        fingerprint: what the checkpoints are of.
        seconds: between two checkpoints, at least.
    """

    def __init__(self, files: OutputFiles, fingerprint: dict[str, object], seconds: float) -> None:
        self.files = files
        self.fingerprint, self.seconds = fingerprint, seconds
        self._next = time.monotonic() + seconds
        self._busy = False  # one at a time: the encoder may lag behind by seconds
        self._waiting: Checkpoint | None = None  # whose key frame is not in the part yet
        self._key_time: Fraction | None = None
        self._settling = 0

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return not self._busy and time.monotonic() >= self._next

    def take(self, snapshot: Callable[[], Checkpoint]) -> Checkpoint:
        """Take a checkpoint, which `wait_for_key` gets in its turn between the frames."""
        self._busy = True
        began = time.monotonic()
        checkpoint = snapshot()
        # Large states take long to copy: no more than a small share of the time.
        self._next = began + max(self.seconds, 50 * (time.monotonic() - began))
        return checkpoint

    def wait_for_key(self, checkpoint: Checkpoint) -> None:
        """The next frame is the one that a new encoder would begin with."""
        self._waiting, self._key_time = checkpoint, None

    def wants_key(self, time: Fraction) -> bool:
        """Whether the frame of this time must become a key frame."""
        if self._waiting is None or self._key_time is not None:
            return False
        self._key_time = time
        return True

    def packet(self, packet: av.Packet) -> None:
        """Look at a packet of the video that was written."""
        if self._waiting is None or self._key_time is None:
            return
        if self._settling:
            self._settling -= 1
            if not self._settling:
                self.save(self._waiting)
                self._waiting, self._busy = None, False
        elif abs(packet.pts * packet.time_base - self._key_time) < packet.time_base:
            if packet.is_keyframe:
                self._settling = SETTLED
            else:
                # This encoder gives no key frames on demand; perhaps the next one fits.
                self._waiting, self._busy = None, False

    def save(self, checkpoint: Checkpoint) -> None:
        """Save what the part file is complete for; the part before it has served."""
        save(self.files, checkpoint, self.fingerprint)
        self.files.previous.unlink(missing_ok=True)

    def clear(self) -> None:
        """The output is complete."""
        self.files.checkpoint.unlink(missing_ok=True)
        self.files.previous.unlink(missing_ok=True)


def tensors_of(value: object) -> Iterator[Tensor]:
    """All tensors of a state, in order: tuples, named tuples and lists of them, nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors_of(part)


def with_tensors(like: S, saved: Checkpoint) -> S:
    """A saved state with the structure of another one of the same network.

    Raises:
        DerainError: the two are not of one network.
    """
    tensors = iter(saved.state)

    def rebuilt(value: Any) -> Any:
        if isinstance(value, Tensor):
            fresh = next(tensors, None)
            if fresh is None or fresh.shape != value.shape:
                raise other
            return fresh.to(value.device, value.dtype)
        if not isinstance(value, (tuple, list)):
            return value
        parts = list(map(rebuilt, value))
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)

    other = DerainError("The saved state is of another network; use -y to start again.")
    state = rebuilt(like)
    if next(tensors, None) is not None:
        raise other
    return state
