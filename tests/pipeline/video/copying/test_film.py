"""What a new film says of itself, and what is told of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from derain.pipeline.video.color import Color
from derain.pipeline.video.containers import CONTAINERS
from derain.pipeline.video.copying.film import carried, losses, marks_for, says_full_range
from derain.pipeline.video.frames import Video

FILM = Video(1920, 1080, color=Color(1, 1, 1, 1))
NOTHING: frozenset[str] = frozenset()


def told(video: Video, codec: str, suffix: str) -> list[str]:
    kind = CONTAINERS[suffix]
    return losses(video, codec, kind, marks_for(video, kind), NOTHING)


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("ffv1", ".mkv")])
def test_a_plain_film_loses_nothing(codec: str, suffix: str) -> None:
    assert told(FILM, codec, suffix) == []


def test_colours_that_readers_do_not_expect_are_told_where_nothing_says_them() -> None:
    hdr = replace(FILM, color=Color(9, 9, 16, 1))
    assert told(hdr, "libx265", ".avi") == []  # the codec says it
    (sentence,) = told(hdr, "ffv1", ".avi")
    assert sentence.startswith("The new film does not keep what its colours mean, which ffv1 into ")
    assert told(FILM, "ffv1", ".avi") == []  # what readers take them for


def test_light_and_more_are_told_in_one_sentence() -> None:
    light = replace(FILM, light={"max-cll": "1000,400"}, unkept=("film grain",))
    assert told(light, "libx265", ".avi") == [
        "The new film does not keep film grain, which libx265 into .avi cannot say."
    ]
    (sentence,) = told(light, "ffv1", ".avi")
    assert "film grain and the mastering display and light level" in sentence
    marks = marks_for(light, CONTAINERS[".mkv"])
    assert marks.light == light.light and not marks_for(light, CONTAINERS[".avi"]).light


def test_units_go_along_with_h265_alone() -> None:
    film = replace(FILM, carried=frozenset({"HDR10+"}))
    marks = marks_for(film, CONTAINERS[".mkv"])
    assert carried(film, "libx264", marks) == NOTHING
    assert carried(film, "libx265", marks) <= {"HDR10+"}


@pytest.mark.parametrize(
    ("codec", "suffix", "says"),
    [("libx264", ".avi", True), ("mpeg2video", ".mkv", False), ("ffv1", ".avi", False)],
)
def test_who_says_that_luma_has_all_values(codec: str, suffix: str, says: bool) -> None:
    assert says_full_range(codec, CONTAINERS[suffix]) == says
