"""What was done: a line of JSON for each part, in a file for each worker, so that none shares one.

A part counts when it stands in its folder; its line, which is written before, says what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from pydantic import BaseModel, ConfigDict, ValidationError

from derain.models.errors import DerainError, VideoError
from derain.pipeline.distributed.plan import Job
from derain.pipeline.storage.shared import append, files_in
from derain.pipeline.storage.stores import SharedPath, StorePath
from derain.pipeline.video.paths import local


class Record(BaseModel):
    """One complete part.

    order: for each packet, as it is stored, its place among the frames as they are shown; empty
        where both are the same.
    first, last: hashes of the first and the last packet. headers: of the encoder's.
    changed: mean share of samples that the network changed visibly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment: int
    part: str
    worker: str
    frames: int
    seconds: float
    bytes: int
    order: list[int]
    first: str
    last: str
    headers: str
    codec: str
    changed: float = 0.0
    notices: list[str] = []


class Contents(NamedTuple):
    """What a part holds."""

    order: list[int]  # as in `Record`, never empty where there are frames
    first: str
    last: str
    headers: str
    codec: str


def digest(data: bytes) -> str:
    """A hash."""
    return sha256(data).hexdigest()[:32]


def examine(part: Path) -> Contents:
    """Read a part without decoding it.

    Raises:
        VideoError: it is broken.
    """
    times: list[int] = []
    first = last = b""
    try:
        with av.open(local(part)) as file:
            stream = file.streams.video[0]
            headers = digest(bytes(stream.codec_context.extradata or b""))
            codec = stream.codec_context.name
            for packet in file.demux(stream):
                if not packet.size:
                    continue
                if packet.pts is None:
                    raise VideoError(f"{part} is broken: a frame has no time.")
                times.append(packet.pts)
                last = bytes(packet)
                first = first or last
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise VideoError(f"{part} is broken; delete it, and derain work makes it again.") from error
    ranks = {time: rank for rank, time in enumerate(sorted(times))}
    if len(ranks) != len(times):
        raise VideoError(f"{part} is broken: two frames have one time.")
    return Contents([ranks[t] for t in times], digest(first), digest(last), headers, codec)


@contextmanager
def open_part(part: SharedPath) -> Iterator[InputContainer]:
    """A part, wherever it lies, for reading."""
    if isinstance(part, StorePath):
        with part.open() as stored, av.open(stored) as file:
            yield file
    else:
        with av.open(local(part)) as file:
            yield file


def write_record(job: Job, record: Record) -> None:
    """Append to this worker's journal; it is on the disk when this returns."""
    path = job.journal / f"{record.worker}.jsonl"
    append(path, record.model_dump_json() + "\n")


def read_records(job: Job) -> dict[int, Record]:
    """The records of all segments whose part is complete: of each the earliest attempt's."""
    told: dict[str, Record] = {}
    for path in files_in(job.journal):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = Record.model_validate_json(line)
            except ValidationError:
                continue  # its worker died while it wrote
            told[record.part] = record
    found: dict[int, Record] = {}
    for path in files_in(job.parts):
        if path.name not in told:
            raise DerainError(f"No journal tells of {path}; delete it, and run derain work again.")
        record = told[path.name]
        found.setdefault(record.segment, record)
    return found
