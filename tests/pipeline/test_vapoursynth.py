"""The VapourSynth filter: formats, order, cuts, seeking."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from torch import nn

pytest.importorskip("vapoursynth", reason="needs vapoursynth, for Python 3.12 and newer")

import vapoursynth as vs

from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
from derain.pipeline.vapoursynth import Derain

core = vs.core


class Halve(nn.Module):
    """Half as bright."""

    def forward(self, rainy: Any) -> Any:
        return rainy / 2


def numbered(count: int = 12, format: int = vs.RGBS, scene: float = 0.0) -> Any:
    """Frames that tell their number: 4 levels of 255 brighter from one to the next."""
    blank = core.std.BlankClip(width=64, height=48, length=count, format=vs.RGBS, fpsnum=25)

    def draw(n: int, f: Any) -> Any:
        frame = f.copy()
        y, x = np.mgrid[:48, :64]
        for plane in range(3):
            wave = 0.2 * np.sin(x / (3 + plane) + scene * y) * np.cos(y / 4)
            np.asarray(frame[plane])[:] = 0.4 + wave + n * 4 / 255
        frame.props["number"] = n
        return frame

    clip = core.std.ModifyFrame(blank, blank, draw)
    matrix = {} if core.get_video_format(format).color_family == vs.RGB else {"matrix": 6}
    return clip if format == vs.RGBS else core.resize.Bicubic(clip, format=format, **matrix)


def planes(clip: Any, n: int) -> list[np.ndarray]:
    with clip.get_frame(n) as frame:
        return [np.asarray(frame[i]).copy() for i in range(frame.format.num_planes)]


@pytest.mark.parametrize(
    "format", [vs.YUV420P8, vs.YUV422P10, vs.YUV444P16, vs.GRAY8, vs.RGB24, vs.RGBS, vs.YUV444PS]
)
def test_what_is_not_changed_stays_to_the_last_bit(format: int, identity: nn.Module) -> None:
    clip = numbered(4, format)
    clean = Derain(clip, network=identity)
    assert (clean.format.id, clean.num_frames, clean.fps) == (format, 4, clip.fps)
    for n in range(4):
        with clean.get_frame(n) as frame:
            assert frame.props["number"] == n
        exact = core.get_video_format(format).sample_type == vs.INTEGER
        for one, two in zip(planes(clip, n), planes(clean, n), strict=True):
            np.testing.assert_allclose(one, two, rtol=0, atol=0 if exact else 1e-6)


def test_frames_are_those_of_the_network_in_any_order(recurrent: nn.Module) -> None:
    clip = numbered(30)
    clean = Derain(clip, network=recurrent, cuts=False)
    inorder = [planes(clean, n)[0] for n in range(30)]
    means = [float(image.mean()) for image in inorder]
    assert all(a < b for a, b in pairwise(means))
    assert (planes(clean, 29)[0] == inorder[29]).all()  # kept
    # Elsewhere: begun anew with frames before it, after which nothing is left of the difference.
    again = Derain(clip, network=recurrent, cuts=False)
    for n in (29, 3, 28):
        np.testing.assert_allclose(planes(again, n)[0], inorder[n], atol=2e-3)
    asked = [again.get_frame_async(n) for n in (7, 5, 6, 8, 4)]
    for n, future in zip((7, 5, 6, 8, 4), asked, strict=True):
        with future.result(60) as frame:
            np.testing.assert_allclose(np.asarray(frame[0]), inorder[n], atol=2e-3)


def test_a_cut_ends_the_memory(recurrent: nn.Module) -> None:
    first, second = numbered(8), numbered(8, scene=1.7)
    joined = Derain(first + second, network=recurrent)
    alone = Derain(second, network=recurrent)
    np.testing.assert_allclose(planes(joined, 8)[0], planes(alone, 0)[0], atol=1e-6)


def test_two_filters_in_a_chain_do_not_wait_for_each_other() -> None:
    clean = Derain(Derain(numbered(6), network=PerFrame(Halve())), network=PerFrame(Halve()))
    rainy, image = planes(numbered(6), 5)[1], planes(clean, 5)[1]
    np.testing.assert_allclose(image, rainy / 4, atol=1e-5)


def test_what_goes_wrong_is_told(identity: nn.Module) -> None:
    class Broken(nn.Module):
        def forward(self, rainy: Any) -> Any:
            return rainy * float("nan")

    with pytest.raises(vs.Error, match="not finite"):
        Derain(numbered(3), network=PerFrame(Broken()), precision="fp32").get_frame(0)
    mixed = core.std.Splice([numbered(2), numbered(2, vs.GRAY8)], mismatch=True)
    with pytest.raises(DerainError, match="one format"):
        Derain(mixed, network=identity)
