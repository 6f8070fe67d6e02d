"""Streams are tried in memory before work: all together, then one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import pytest
from av.container import InputContainer

from derain.pipeline.video.copying.mp4_finalize import add_like
from derain.pipeline.video.copying.streams import as_it_is
from derain.pipeline.video.copying.trial import Candidate, Mode, refusals
from derain.pipeline.video.demuxing import PacketReader


@pytest.fixture
def film(make_clip: Callable[..., Path]) -> Iterator[InputContainer]:
    """Film, sound and captions."""
    path = make_clip("in.mkv", frames=25, audio="aac", captions=[(0.1, 0.5, "hello")])
    with av.open(str(path)) as container:
        yield container


def candidates(container: InputContainer) -> list[Candidate]:
    first = PacketReader(container, "", print)
    list(first)
    return [
        Candidate(
            stream.codec_context.name,
            partial(add_like, stream=stream),
            lambda: as_it_is,
            first.first[stream.index],
        )
        for stream in container.streams
        if stream.type != "video"
    ]


def tried(container: InputContainer, muxer: str, **mode: object) -> dict[int, str]:
    film = partial(add_like, stream=container.streams.video[0])
    modes = [Mode(muxer, {}, True, **mode)]  # type: ignore[arg-type]
    return refusals(candidates(container), modes, film)


def test_what_a_container_takes_is_not_refused(film: InputContainer) -> None:
    assert tried(film, "matroska") == {}
    assert refusals([], [Mode("matroska", {}, True)], lambda _: None) == {}  # type: ignore[arg-type, return-value]


def test_the_one_that_does_not_fit_is_refused_and_the_other_stays(film: InputContainer) -> None:
    refused = tried(film, "mp4")  # SubRip is no form of captions there
    assert refused == {1: "does not hold srt"}


def test_a_container_of_frames_alone_takes_none(film: InputContainer) -> None:
    assert set(tried(film, "gif")) == {0, 1}


def test_what_waits_for_the_final_file_is_not_tried_in_the_part(film: InputContainer) -> None:
    sound, words = candidates(film)
    late = Candidate(words.name, words.add, words.new_filter, words.packets, late=True)
    video = partial(add_like, stream=film.streams.video[0])
    part, final = Mode("mp4", {}, False), Mode("matroska", {}, True)
    assert refusals([sound, late], [part, final], video) == {}
    assert list(refusals([sound, words], [part, final], video)) == [1]
