"""Codecs and cameras in the loop."""

import numpy as np
import pytest

from derain.stages.data.codec import (
    DECODERS,
    CameraSettings,
    CodecSettings,
    sample_camera,
    sample_codec,
    transcode,
)


def _clip(frames: int = 7) -> np.ndarray:
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    return np.stack([np.roll(scene, 3 * k, 1) for k in range(frames)])


@pytest.mark.parametrize("seed", range(12))
def test_every_drawn_codec_gives_as_many_frames_in_order(seed: int) -> None:
    clip = _clip()
    settings = sample_codec(np.random.default_rng(seed), clip[0, ..., 0].size)
    assert settings.encoder in DECODERS
    found = transcode(clip, settings)
    assert found.shape == clip.shape
    gaps = [[np.abs(a.astype(int) - b).mean() for b in clip] for a in found]
    assert [int(np.argmin(row)) for row in gaps] == list(range(len(clip)))


def test_a_higher_crf_is_further_from_the_clip() -> None:
    clip = _clip()
    near, far = (
        np.abs(transcode(clip, CodecSettings(options={"crf": crf})).astype(int) - clip).mean()
        for crf in ("12", "40")
    )
    assert 0 < near < far


def test_cameras_blur_sharpen_and_shrink() -> None:
    clip = _clip(2)
    assert CameraSettings().apply(clip).tolist() == clip.tolist()
    assert CameraSettings(blur=1.0).apply(clip).std() < clip.std()
    assert CameraSettings(sharpen=1.0).apply(clip).std() > clip.std()
    assert CameraSettings(shrink=0.5).apply(clip).shape == clip.shape
    drawn = {sample_camera(np.random.default_rng(seed)) for seed in range(40)}
    assert CameraSettings() in drawn
    assert len(drawn) > 10
