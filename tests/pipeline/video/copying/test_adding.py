"""Which streams go along, in which form, and what is said of those that do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import pytest

from derain.pipeline.video import VideoReader
from derain.pipeline.video.containers import container_of
from derain.pipeline.video.copying.adding import Output, add_streams
from derain.pipeline.video.copying.mp4_finalize import Extras, add_like
from derain.pipeline.video.copying.streams import CopiedStream


def added(
    source: Path, name: str, fragmented: bool = False
) -> tuple[dict[int, CopiedStream], Extras, list[str]]:
    """What becomes of a film's streams in a file of this name."""
    said: list[str] = []
    kind, extras = container_of(name), Extras()
    target = source.with_name(name)
    options = dict(kind.part_options) if fragmented else {}
    with VideoReader(source) as reader, av.open(str(target), "w", container_options=options) as out:
        new_video = partial(add_like, stream=reader.stream)
        new_video(out)
        output = Output(
            out, kind, set(out.supported_codecs), fragmented, extras, new_video, said.append
        )
        copied = add_streams(output, reader)
        return copied, extras, said


@pytest.fixture
def source(make_clip: Callable[..., Path]) -> Path:
    captions = [(0.1, 0.5, "one"), (0.6, 0.9, "two")]
    return make_clip("in.mkv", frames=25, audio="aac", captions=captions)


def test_all_goes_into_matroska_as_it_is(source: Path) -> None:
    copied, extras, said = added(source, "out.mkv")
    assert [made.output is not None and made.text is None for made in copied.values()] == [True] * 2
    assert said == [] and extras.captions == []


def test_captions_change_their_form_and_wait_where_fragments_hold_none(source: Path) -> None:
    copied, extras, said = added(source, "out.mp4", fragmented=True)
    _, words = copied.values()
    assert words.text == ("srt", "mov_text") and words.output is None
    assert extras.captions == [words.late]
    assert said == ["Subtitles 2 change from srt to mov_text."]


def test_what_a_container_does_not_hold_is_named_with_one_that_does(source: Path) -> None:
    copied, _, said = added(source, "out.mpg")
    assert any("left out" in text and ".mkv output may keep it" in text for text in said)
    assert all(made.output is not None for made in copied.values())


def test_attachments_go_into_matroska_alone(source: Path) -> None:
    def attach(name: str) -> Path:
        with av.open(str(source)) as given, av.open(str(source.with_name(name)), "w") as out:
            video = add_like(out, given.streams.video[0])
            out.add_attachment("a.txt", "text/plain", b"words")
            for packet in given.demux(given.streams.video[0]):
                if packet.size:
                    packet.stream = video
                    out.mux(packet)
        return source.with_name(name)

    attached = attach("attached.mkv")
    _, _, said = added(attached, "out.mp4")
    assert said == ["The attachment a.txt is left out: only .mkv holds attachments."]
    _, _, said = added(attached, "out.mkv")
    assert said == []


def test_another_film_is_copied_and_said_to_keep_its_rain(make_clip: Callable[..., Path]) -> None:
    one, two = make_clip("one.mp4", frames=10), make_clip("two.mp4", frames=10)
    both = one.with_name("both.mkv")
    with av.open(str(one)) as a, av.open(str(two)) as b, av.open(str(both), "w") as out:
        pairs = [(each, add_like(out, each.streams.video[0])) for each in (a, b)]
        packets = [
            (packet, stream) for each, stream in pairs for packet in each.demux() if packet.size
        ]
        for packet, stream in packets:
            packet.stream = stream
            out.mux(packet)
    copied, _, said = added(both, "out.mkv")
    assert len(copied) == 1
    assert any("is copied as it is; it keeps its rain" in text for text in said)
