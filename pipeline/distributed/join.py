"""All parts of a job to one film: packets copied, times from the plan, sound and the rest once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
from av.format import Flags

from derain.models.errors import DerainError, VideoError
from derain.pipeline.distributed.claiming import failed
from derain.pipeline.distributed.journal import Record, digest, open_part, read_records
from derain.pipeline.distributed.plan import Job, Plan, read_plan
from derain.pipeline.distributed.verify import verify_film
from derain.pipeline.storage.shared import publish
from derain.pipeline.storage.stores import SharedPath, StorePath, shared_path
from derain.pipeline.streaming.derain_video import open_video
from derain.pipeline.streaming.runner import output_video
from derain.pipeline.video import VideoReader, VideoWriter
from derain.pipeline.video.copying.streams import as_encoded, bitstream_filter
from derain.pipeline.video.output_files import check_target, output_files, written_files
from derain.pipeline.video.paths import require_other_file
from derain.pipeline.video.timestamps import stamp


@dataclass(slots=True)
class JoinReport:
    """What was joined."""

    target: str
    frames: int
    parts: int
    damaged: int
    missing: str  # what the source lacks, as a sentence; empty where nothing is
    notices: list[str] = field(default_factory=list)

    def notice(self, text: str) -> None:
        """Note a sentence, once."""
        if text not in self.notices:
            self.notices.append(text)


def join(
    job: Job,
    target: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> JoinReport:
    """Join the parts of a job, which must be complete.

    Args:
        job: the folder.
        target: the file to make; it appears when all is done.
        overwrite: replace a file that is there.
        progress: told frames written and frames in all.

    Raises:
        DerainError: parts are missing or broken, the source changed, or the film does not hold
            what the parts hold.
    """
    plan = read_plan(job)
    plan.check_source()
    records = _complete(job, plan)
    report = JoinReport(str(target), plan.frames, len(records), plan.damaged, plan.missing)
    place = shared_path(target)
    if isinstance(place, StorePath):
        check_shared_target(place, overwrite)
        job.work.mkdir(parents=True, exist_ok=True)
        film = job.work / place.name
        _join(job, plan, records, film, report, progress, overwrite=True)
        publish(film, place)
    else:
        _join(job, plan, records, place, report, progress, overwrite=overwrite)
    return report


def check_shared_target(target: SharedPath, overwrite: bool) -> None:
    """Refuse an output that could not be made or would replace another one.

    Raises:
        DerainError: so it is.
    """
    if not isinstance(target, StorePath):
        check_target(str(target), overwrite)
    elif not overwrite and target.exists():
        raise DerainError(f"{target} is there already; add -y to replace it.")


def _join(
    job: Job,
    plan: Plan,
    records: list[Record],
    target: Path,
    report: JoinReport,
    progress: Callable[[int, int], None],
    *,
    overwrite: bool,
) -> None:
    """Join the parts to a local file."""
    if plan.missing:
        report.notice(plan.missing)
    for record in records:
        for notice in record.notices:
            report.notice(notice)
    require_other_file(plan.source, written_files(target))
    files = output_files(target)
    with open_video(plan.source, plan.options, report.notice) as source:
        try:
            writer = VideoWriter(
                target,
                output_video(source.video, plan.options),
                plan.options.encoding,
                source=source,
                overwrite=overwrite,
                format=plan.options.format,
                files=files,
                notice=report.notice,
            )
            try:
                _copy(job, plan, records, source, writer, progress)
                writer.muxer.close()
                writer.muxer.publish()
            except BaseException:
                writer.abandon()
                raise
        finally:
            if files is not None:
                files.release()
    if files is not None:
        verify_film(job, plan, records, target)


def _complete(job: Job, plan: Plan) -> list[Record]:
    """The records of all segments, in order."""
    found = read_records(job)
    missing = [each.number for each in plan.segments if each.number not in found]
    if missing:
        reasons = failed(job)
        why = next((f": {reasons[n]}" for n in missing if n in reasons), "")
        again = " --retry" if reasons else ""
        raise DerainError(
            f"{len(missing)} of {len(plan.segments)} segments are missing, such as number "
            f"{missing[0]}{why or '; '}{' Then ' if why else ''}derain work {job.folder}{again} "
            "makes them."
        )
    records = [found[each.number] for each in plan.segments]
    for name in ("headers", "codec"):
        odd = next((r for r in records if getattr(r, name) != getattr(records[0], name)), None)
        if odd is not None:
            raise DerainError(
                f"{odd.part} and {records[0].part} were made by encoders that differ; delete "
                f"{job.parts / odd.part} and make it again with the same version of FFmpeg."
            )
    return records


def _copy(
    job: Job,
    plan: Plan,
    records: list[Record],
    source: VideoReader,
    writer: VideoWriter,
    progress: Callable[[int, int], None],
) -> None:
    """Packets of the video and of all other streams, by their times."""
    others = source.copied_packets() if source.others else iter(())
    waiting = next(others, None)
    for done, packet in enumerate(_frames(job, plan, records, source, writer), 1):
        due = stamp(packet)
        while waiting is not None and stamp(waiting) <= due:
            writer.copy(waiting)
            waiting = next(others, None)
        writer.muxer.write_video(packet)
        progress(done, plan.frames)
    while waiting is not None:
        writer.copy(waiting)
        waiting = next(others, None)


def _frames(
    job: Job, plan: Plan, records: list[Record], source: VideoReader, writer: VideoWriter
) -> Iterator[av.Packet]:
    """The packets of all parts, with the times that the plan has for their frames."""
    # A clock that ran before the film is set to 0 for all streams alike.
    moved = round(source.origin / plan.time_base) if plan.options.start is None else 0
    pts = [ticks - moved for ticks in plan.pts[plan.first :]]
    ends = [*pts[1:], pts[-1] + plan.last_duration]
    reordering = max(_delay(plan, record) for record in records)
    # Where the file has no place for the encoder's headers, key frames carry them.
    headers = Flags.global_header not in Flags(writer.muxer.container.format.flags)
    position = 0
    for record, segment in zip(records, plan.segments, strict=True):
        base = segment.first - plan.first
        order = record.order or range(record.frames)
        for rank, packet in zip(order, part_packets(job, record, headers), strict=True):
            packet.stream, packet.time_base = writer.stream, plan.time_base
            packet.pts = pts[base + rank]
            packet.dts = pts[position] - reordering
            packet.duration = ends[base + rank] - packet.pts
            position += 1
            yield packet


def _delay(plan: Plan, record: Record) -> int:
    """By how many ticks the stored order of a part runs ahead of the shown one."""
    first = plan.segments[record.segment].first
    return max(
        (plan.pts[first + i] - plan.pts[first + rank] for i, rank in enumerate(record.order)),
        default=0,
    )


def part_packets(job: Job, record: Record, headers: bool) -> Iterator[av.Packet]:
    """The packets of one part, in the form that muxers expect.

    Args:
        job: in whose folder the part lies.
        record: of the part.
        headers: whether key frames carry the encoder's headers.

    Raises:
        VideoError: it is not the part that its journal tells of.
    """
    path = job.parts / record.part
    broken = VideoError(
        f"{path} is broken; delete it and run derain work {job.folder}, which makes it again."
    )
    seen, first, last = 0, b"", b""
    try:
        with open_part(path) as file:
            stream = file.streams.video[0]
            convert = bitstream_filter("dump_extra", stream) if headers else as_encoded(stream)
            for packet in file.demux(stream):
                if not packet.size:
                    continue
                last = bytes(packet)
                first = first or last
                seen += 1
                if seen > record.frames:
                    raise broken
                yield from convert(packet)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise broken from error
    if (seen, digest(first), digest(last)) != (record.frames, record.first, record.last):
        raise broken
