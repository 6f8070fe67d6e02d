"""What a container keeps of the words and marks of a source, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from av.stream import Disposition, Stream

from derain.pipeline.video.containers import Container

# What a file says of itself and not of the film; statistics are mkvmerge's, of the old stream.
OWN_TAGS = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "vendor_id"}
STATISTICS = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "SOURCE_ID", "_STATISTICS_")
# Those that Matroska's attachments and MP4's tracks have for their own ends.
TECHNICAL = {"language", "handler_name", "timecode", "filename", "mimetype", "creation_time"}
# MP4 has a place of its own for these; for others the whole list changes its form.
COMMON = {"title", "artist", "album_artist", "composer", "album", "date", "comment", "genre"}
COMMON |= {"copyright", "grouping", "lyrics", "description", "synopsis", "show", "episode_id"}
COMMON |= {"network", "keywords", "compilation", "track", "disc", "location", "creation_time"}
COMMON |= {"timecode", "media_type", "hd_video", "gapless_playback", "rating", "sort_name"}
MARKS = {
    Disposition.forced: "forced",
    Disposition.hearing_impaired: "hearing impaired",
    Disposition.visual_impaired: "visual impaired",
    Disposition.comment: "comment",
}
NAMED = 6  # tags in a sentence


def lasting(words: Mapping[str, str]) -> dict[str, str]:
    """The tags that are true of the new file, too."""
    return {
        key: value
        for key, value in words.items()
        if key.lower() not in OWN_TAGS and not key.upper().startswith(STATISTICS)
    }


def has_free_tags(words: Iterable[str]) -> bool:
    """Whether MP4 must list its tags by their names to keep them all."""
    return any(key.lower().split("-")[0] not in COMMON for key in words)


def losses(
    kind: Container,
    words: Mapping[str, str],
    chapters: int,
    film: Stream,
    others: Iterable[Stream],
) -> list[str]:
    """What a container has no place for, a sentence each.

    Args:
        kind: the record of the container.
        words: the source's tags.
        chapters: how many it has.
        film: the stream of the film.
        others: the streams that may go along.
    """
    told = []
    coded = any(key.lower() == "timecode" for key in [*film.metadata, *words])
    if coded and not (kind.timecode and kind.words is None):
        told.append("its time code")
    if kind.words is not None:
        lost = [key for key in words if key.lower() not in kind.words]
        if lost:
            more = f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
            told.append(f"its tags {', '.join(lost[:NAMED])}{more}")
    if chapters and not kind.chapters:
        told.append(f"its {chapters} chapters")
    kept = [s for s in others if s.type in ("video", "audio", "subtitle")]
    named = {s.metadata.get("language", "und") for s in [film, *kept]} - {"und"}
    if named and not kind.names_languages:
        told.append(f"the language of streams ({', '.join(sorted(named))})")
    marks = {name for s in kept for mark, name in MARKS.items() if s.disposition & mark}
    if marks and not kind.marks:
        told.append(f"what streams are for ({', '.join(sorted(marks))})")
    return [f"{kind.suffix} has no place for {each}; .mkv has." for each in told]
