"""Comments of GIFs stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.copying.gif_comment import add_comment


@pytest.mark.parametrize("text", ["Rain in May", "wörter " * 60])
def test_a_gif_keeps_its_comment(
    make_clip: Callable[..., Path], identity: nn.Module, text: str
) -> None:
    source = make_clip("in.gif", codec="gif", pixel_format="rgb8", color=None, options={})
    add_comment(source, text)
    target = source.with_name("out.gif")
    report = derain_video(source, target, VideoOptions(precision="fp32"), model=identity)
    assert not any("comment" in notice for notice in report.notices)
    with av.open(str(target)) as file:
        assert file.metadata["comment"] == text
        frames = sum(1 for _ in file.decode(video=0))
    with Image.open(target) as image:  # another reader finds nothing amiss
        assert image.n_frames == frames == report.frames_out
        image.seek(frames - 1)
        image.load()


def test_half_a_gif_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "half.gif"
    path.write_bytes(b"GIF89a half of it")
    with pytest.raises(ValueError, match="no complete GIF"):
        add_comment(path, "text")
    assert path.read_bytes() == b"GIF89a half of it"
