"""Validation pairs: the shipped file, calibration, and what is noticed when something differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from derain.configs.validation import ValidationSet, read_validation, write_validation
from derain.models.errors import DerainError
from derain.models.ops.image_arrays import quantised
from derain.stages.data.rain import RainSettings, StreakLayer
from derain.stages.data.validation_pairs import (
    CONDITIONS,
    DEFAULT_PAIRS,
    bisect,
    calibrate,
    darkened,
    digest,
    iterate_pairs,
    load_pairs,
    panned,
    rain_settings,
    under_condition,
)

LAYER = StreakLayer(0.05, 12, 1.0, 0.6, 0.0, 1.5, 0.0)

FRAMES = 4


def read_clip(path: Path) -> Tensor:
    """A stand-in for decoding: the file's text is a seed."""
    generator = torch.Generator().manual_seed(int(path.read_text()))
    coarse = torch.rand(FRAMES, 3, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (48, 64), mode="bilinear")
    return (smooth * 200).round().byte()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    (tmp_path / "a.mp4").write_text("1")
    (tmp_path / "b.mp4").write_text("2")
    return tmp_path


@pytest.fixture
def pairs() -> ValidationSet:
    rain = {
        "layers": [
            {"coverage": 0.2, "length": 8, "width": 1.0, "brightness": 0.4,
             "opaque": 0.2, "fall": 1.5, "blur": 0.0}
        ],
        "airlight": [0.9, 0.9, 0.9],
    }  # fmt: skip
    entry = {"rain": "test", "seed": 5}
    return ValidationSet.model_validate(
        {
            "levels": {
                "light": {"psnr": 28, "tolerance": 1},
                "heavy": {"psnr": 22, "tolerance": 1},
                "haze": {"psnr": 15, "tolerance": 2},
            },
            "rains": {"test": rain},
            "clips": [
                {"file": "a.mp4", "camera": "static", "pairs": {"light": entry}},
                {"file": "b.mp4", "camera": "moving", "pairs": {"heavy": entry, "haze": entry}},
            ],
        }
    )


def test_the_shipped_file_is_whole() -> None:
    shipped = load_pairs(DEFAULT_PAIRS)
    assert shipped.sha256 == shipped.digest()
    assert len(shipped.clips) == 7
    for clip in shipped.clips:
        assert set(clip.pairs) == {"light", "heavy", "haze"}
        assert clip.frames == 40
        assert len(clip.sha256) == 64
        for level, entry in clip.pairs.items():
            target = shipped.levels[level]
            assert abs(entry.psnr - target.psnr) <= target.tolerance
            assert (entry.haze > 0) == (level == "haze")
            assert rain_settings(shipped, entry).strength == entry.strength
        assert clip.pairs["haze"].strength == clip.pairs["heavy"].strength
    assert {c.camera for c in shipped.clips} == {"static", "moving"}


def test_calibration_reaches_every_level_and_repeats(pairs: ValidationSet, clips: Path) -> None:
    found = calibrate(pairs, clips, read_clip)
    assert found == calibrate(pairs, clips, read_clip)
    for clip in found.clips:
        assert clip.frames == FRAMES
        for level, entry in clip.pairs.items():
            target = found.levels[level]
            assert abs(entry.psnr - target.psnr) <= target.tolerance
    assert found.clips[1].pairs["haze"].haze > 0


def test_calibrated_pairs_render_as_recorded(
    pairs: ValidationSet, clips: Path, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.yaml"
    write_validation(calibrate(pairs, clips, read_clip), file)
    notices: list[str] = []
    rendered = list(iterate_pairs(read_validation(file), clips, read_clip, notice=notices.append))
    assert not notices
    assert [(p.clip, p.level, p.camera) for p in rendered] == [
        ("a", "light", "static"), ("b", "heavy", "moving"), ("b", "haze", "moving"),
    ]  # fmt: skip
    for pair in rendered:
        assert pair.rainy.shape == pair.clean.shape == (FRAMES, 3, 48, 64)
        torch.testing.assert_close(quantised(pair.rainy), pair.rainy)
    chosen = list(
        iterate_pairs(read_validation(file), clips, read_clip, levels=("haze",), frames=2)
    )
    torch.testing.assert_close(chosen[0].rainy, rendered[2].rainy[:2])


def test_differences_are_noticed(pairs: ValidationSet, clips: Path) -> None:
    found = calibrate(pairs, clips, read_clip)
    found = found.model_copy(update={"sha256": found.digest()})
    (clips / "a.mp4").write_text("3")
    notices: list[str] = []
    list(iterate_pairs(found, clips, read_clip, notice=notices.append))
    assert any("a.mp4 decodes to other bytes" in text for text in notices)
    assert not any("b.mp4" in text for text in notices)
    changed = found.model_copy(deep=True)
    changed.clips[1].pairs["heavy"].strength *= 1.5
    notices.clear()
    list(iterate_pairs(changed, clips, read_clip, notice=notices.append))
    assert any("edited" in text for text in notices)
    assert any("b.mp4, heavy: the rainy input has" in text for text in notices)


def test_errors_say_what_to_do(pairs: ValidationSet, clips: Path, tmp_path: Path) -> None:
    with pytest.raises(DerainError, match="--clips"):
        list(iterate_pairs(pairs, tmp_path / "nowhere", read_clip))
    with pytest.raises(DerainError, match="cannot be read"):
        load_pairs(tmp_path / "none.yaml")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("levels: {mist: 3}")
    with pytest.raises(DerainError, match="levels"):
        load_pairs(wrong)
    pairs.rains["test"]["layers"][0]["coverage"] = 1e-6
    pairs.levels["light"].psnr = 5
    with pytest.raises(DerainError, match="change the rain 'test'"):
        calibrate(pairs, clips, read_clip)
    pairs.rains["test"]["colour"] = "red"
    with pytest.raises(DerainError, match="does not fit RainSettings"):
        calibrate(pairs, clips, read_clip)


def test_unknown_rain_is_refused(pairs: ValidationSet) -> None:
    content = pairs.model_dump()
    content["clips"][0]["pairs"]["light"]["rain"] = "monsoon"
    with pytest.raises(ValueError, match="monsoon"):
        ValidationSet.model_validate(content)


def test_bisection_finds_the_crossing() -> None:
    assert bisect(lambda x: 40 - 10 * x, 25, 4.0) == pytest.approx(1.5, abs=0.02)


def test_digest_sees_one_level_in_one_pixel() -> None:
    frames = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    other = frames.clone()
    other[1, 2, 3, 0] = 1
    assert digest(frames) != digest(other)


def _clip(frames: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    scene = torch.rand((3, 8, 16), generator=generator)
    return scene.repeat_interleave(8, 1).repeat_interleave(8, 2)[None].repeat(frames, 1, 1, 1)


def test_a_pan_moves_the_whole_frame() -> None:
    clip = panned(_clip())
    assert clip.shape == (6, 3, 64, 64)
    assert torch.equal(clip[1, :, :, :32], clip[0, :, :, 16:48]) or torch.equal(
        clip[0, :, :, :32], clip[1, :, :, 16:48]
    )


def test_night_is_dark_but_for_lamps() -> None:
    assert darkened(torch.tensor(0.5)) < 0.15
    assert darkened(torch.tensor(1.0)) > 0.6


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_rain_falls_and_the_truth_has_none(name: str) -> None:
    clip = _clip()
    rainy, clean = under_condition(clip, RainSettings(layers=(LAYER,)), 3, name)
    assert rainy.shape == clean.shape
    assert (rainy - clean).amax() > 0.1
    assert torch.equal(rainy, under_condition(clip, RainSettings(layers=(LAYER,)), 3, name)[0])
    if CONDITIONS[name].codec is not None:
        assert not torch.equal(clean, clip)
        assert (clean - clip).abs().mean() < 0.05
