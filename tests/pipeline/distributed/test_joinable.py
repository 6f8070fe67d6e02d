"""Settings by which parts of an encoder fit together."""

from __future__ import annotations

from fractions import Fraction

import pytest

from derain.models.errors import DerainError
from derain.pipeline.distributed.joinable import SETTINGS, joinable
from derain.pipeline.video import Encoding, Video
from derain.pipeline.video.color import Color
from derain.pipeline.video.containers import container_of
from derain.pipeline.video.encoders import Choice, choose


def chosen(codec: str, name: str = "a.mkv", **options: str) -> Choice:
    video = Video(64, 64, Fraction(25), color=Color(1, 1, 1))
    return choose(Encoding(codec, options=options), video, container_of(name), set(), print)


def test_groups_are_closed_and_a_users_own_settings_stay() -> None:
    found = joinable(chosen("libx264", **{"x264-params": "me=dia"}))
    params = (found.options or {})["x264-params"].split(":")
    assert {"me=dia", "stitchable=1", "open-gop=0"} <= set(params)
    assert found.codec == "libx264"


def test_encoders_without_settings_of_their_own_are_taken_as_they_are() -> None:
    assert joinable(chosen("ffv1")).codec == "ffv1"
    assert SETTINGS["ffv1"] == {}


def test_others_are_refused_with_those_that_do() -> None:
    with pytest.raises(DerainError, match=r"Parts of huffyuv cannot be joined.*libx264"):
        joinable(chosen("huffyuv"))
