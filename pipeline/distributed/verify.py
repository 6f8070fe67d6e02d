"""Whether a joined film holds what its parts hold: counts, order, and frames at the seams."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import av

from derain.models.errors import DerainError, VideoError
from derain.pipeline.distributed.journal import Record, open_part
from derain.pipeline.distributed.plan import Job, Plan
from derain.pipeline.storage.stores import SharedPath
from derain.pipeline.video.frames import plane
from derain.pipeline.video.opening import is_cover
from derain.pipeline.video.paths import local


def verify_film(job: Job, plan: Plan, records: list[Record], film: Path) -> None:
    """Compare a film with its parts; one that differs is deleted, the parts are kept.

    Args:
        job: in whose folder the parts lie.
        plan: times and number of the film's frames.
        records: of all parts, in order.
        film: the file that was joined.

    Raises:
        DerainError: what differs.
    """
    try:
        wrong = _order_of(plan, film) or _seams(job, plan, records, film)
    except (av.FFmpegError, OSError, VideoError) as error:
        wrong = f"it cannot be read ({error})"
    if wrong:
        film.unlink(missing_ok=True)
        raise DerainError(
            f"{film} did not hold what its parts hold: {wrong}. It was deleted and the parts are "
            f"still in {job.folder}; join them into .mkv, or plan again."
        )


def _order_of(plan: Plan, film: Path) -> str:
    """What is wrong with counts and times; empty where nothing is."""
    count, before = 0, None
    with av.open(local(film), metadata_errors="replace") as file:
        stream = next(s for s in file.streams.video if not is_cover(s))
        for packet in file.demux(stream):
            if not packet.size:
                continue
            count += 1
            if packet.dts is not None and before is not None and packet.dts <= before:
                return f"the decode time of packet {count} does not rise"
            before = packet.dts if packet.dts is not None else before
    return "" if count == plan.frames else f"it has {count} frames instead of {plan.frames}"


def _seams(job: Job, plan: Plan, records: list[Record], film: Path) -> str:
    """What is wrong with the first and the last frame of each part; empty where nothing is."""
    wanted: dict[int, str] = {}
    for record, segment in zip(records, plan.segments, strict=True):
        first, last = _ends(job.parts / record.part)
        wanted[segment.first - plan.first] = first
        wanted[segment.end - 1 - plan.first] = last
    for index, found in _frames(film, set(wanted)):
        if wanted.pop(index) != found:
            return f"frame {index} is another"
    return f"frame {min(wanted)} cannot be decoded" if wanted else ""


def _ends(part: SharedPath) -> tuple[str, str]:
    """Hashes of the first and the last frame."""
    first = last = None
    with open_part(part) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_type = "AUTO"
        for frame in file.decode(stream):
            first, last = first or frame, frame
    if first is None or last is None:
        raise VideoError(f"{part} holds no frame")
    return _hash(first), _hash(last)


def _frames(film: Path, wanted: set[int]) -> Iterator[tuple[int, str]]:
    """The numbers and hashes of those frames that are wanted."""
    with av.open(local(film), metadata_errors="replace") as file:
        stream = next(s for s in file.streams.video if not is_cover(s))
        stream.codec_context.thread_type = "AUTO"
        for index, frame in enumerate(file.decode(stream)):
            if index in wanted:
                yield index, _hash(frame)


def _hash(frame: av.VideoFrame) -> str:
    """Of all that is seen."""
    digest = sha256(frame.format.name.encode())
    for index in range(len(frame.planes)):
        digest.update(plane(frame, index).tobytes())
    return digest.hexdigest()
