"""One input on its way: what is written of it, whose marks count, what goes out and what came."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.streaming.model_loading import open_derainer
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.streaming.runner import Run, output_video
from derain.pipeline.streaming.shot_runner import Shots
from derain.pipeline.video import Encoding, Frame, Video, VideoReader
from derain.pipeline.video.output_files import output_files

OPTIONS = VideoOptions(precision="fp32", encoding=Encoding("ffv1"), device="cpu")
UNIT = 1 << 16
TURNED = (0, UNIT, 0, -UNIT, 0, 0, 0, 0, 1 << 30)
Work = Callable[..., Report]


@pytest.fixture
def work(identity: nn.Module) -> Work:
    """`work(source, target, **more)`: all of a run, with more of its arguments."""

    def run(source: Path, target: Path, **more: Any) -> Report:
        report = Report(str(source), str(target))
        derainer = open_derainer(OPTIONS, identity, report.notice, False)
        with VideoReader(source) as reader:
            arguments = {"asked": None, "checkpoint": None, "files": output_files(target)} | more
            Run(
                reader,
                Shots(derainer, reader.video.display_matrix),
                OPTIONS,
                report,
                lambda report: None,
                **arguments,
            ).all()
        return report

    return run


def test_what_is_written_is_as_large_as_what_is_shown() -> None:
    video = Video(64, 48, interlaced=True, aspect=Fraction(4, 3), display_matrix=TURNED)
    plain = output_video(video, VideoOptions())
    assert (plain.width, plain.height, plain.interlaced) == (64, 48, False)
    assert plain.display_matrix == TURNED
    assert output_video(video, VideoOptions(interlaced="keep")).interlaced
    wipe = output_video(video, VideoOptions(compare="wipe"))  # turned here, for its captions
    assert (wipe.width, wipe.height, wipe.aspect) == (48, 64, Fraction(3, 4))
    assert wipe.display_matrix is None
    side = output_video(video, VideoOptions(compare="side"))
    assert (side.width, side.height) == (96, 64)


def test_marks_are_those_of_whoever_is_given(work: Work, make_clip: Callable[..., Path]) -> None:
    class Planned:
        """Cuts at the fourth frame, and says that each odd one repeats the one before it."""

        def mark(self, frame: Frame) -> None:
            frame.cut, frame.repeat = frame.index == 4, frame.index % 2 == 1

    source = make_clip("in.mkv", frames=8)
    report = work(source, source.with_name("out.mkv"), detector=Planned())
    assert (report.frames_in, report.frames_out) == (8, 8)
    assert (report.shots, report.repeats) == (2, 4)


def test_a_segment_is_the_film_alone(
    work: Work, make_clip: Callable[..., Path], contents: Callable[[Path], Any]
) -> None:
    source = make_clip("in.mkv", frames=8, audio="aac")
    whole, alone = source.with_name("whole.mkv"), source.with_name("alone.mkv")
    work(source, whole)
    work(source, alone, video_only=True)
    assert contents(whole).packets == contents(source).packets != {}
    assert contents(alone).packets == {} and len(contents(alone).times) == 8


def test_a_film_with_fewer_frames_than_came_is_not_made(
    work: Work, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Run._hand_over

    def lose(self: Run, done: list[Any]) -> None:
        right(self, [item for item in done if item.frame.index != 3])

    monkeypatch.setattr(Run, "_hand_over", lose)
    source = make_clip("in.mkv", frames=8)
    target = source.with_name("out.mkv")
    with pytest.raises(DerainError, match=r"8 frames came and 7 went out, so .* was not made"):
        work(source, target)
    assert not target.exists()
