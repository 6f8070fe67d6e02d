"""Writing stills: what comes along, and what is named where a format does not hold it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from derain.models.errors import DerainError
from derain.pipeline.image.image_file import read_image
from derain.pipeline.image.image_writer import write_image

Draw = Callable[..., NDArray[np.uint8]]
Rewrite = Callable[[Path, Path], list[str]]
Labelled = Callable[[Path, NDArray[np.uint8], bytes], Path]
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rating>5</rating></x:xmpmeta>"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_keep_all_they_had(
    tmp_path: Path, draw: Draw, profile: bytes, suffix: str, channels: int, labelled: Labelled
) -> None:
    deep = draw(channels=channels).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., [2, 1, 0, 3][:channels]])
    plain = read_image(tmp_path / "deep.png")
    told = read_image(labelled(tmp_path / "told.jpg", draw(), profile)).metadata
    said: list[str] = []
    from dataclasses import replace

    write_image(tmp_path / f"o{suffix}", plain.rgb, replace(plain, metadata=told), said.append)
    assert said == []
    found = cv2.imread(str(tmp_path / f"o{suffix}"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found[..., [2, 1, 0, 3][:channels]], deep)
    again = read_image(tmp_path / f"o{suffix}").metadata
    assert again.icc == profile
    assert again.xmp == XMP
    assert again.dpi == pytest.approx((300, 300), abs=0.1)
    assert again.exif is not None
    assert again.exif[0x10F] == "abc"
    assert float(again.exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)


def test_colours_of_another_profile_are_not_changed(
    tmp_path: Path, draw: Draw, rewrite: Rewrite
) -> None:
    """A profile is a label: the numbers under it go through as they are."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(draw()).save(tmp_path / "in.png", icc_profile=lab)
    rewrite(tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as found:
        np.testing.assert_array_equal(np.asarray(found), draw())


@pytest.mark.parametrize("peak", [255, 65535])
def test_grey_with_alpha_stays_both(tmp_path: Path, draw: Draw, peak: int) -> None:
    if peak == 255:
        Image.fromarray(draw(channels=2), "LA").save(tmp_path / "in.png")
    else:
        deep = draw(channels=2).astype(np.uint16) * 257
        cv2.imwrite(str(tmp_path / "in.png"), deep[..., [0, 0, 0, 1]])
    image = read_image(tmp_path / "in.png")
    assert image.grey
    tinted = image.rgb * np.array([0.9, 1, 1.1], np.float32)
    write_image(tmp_path / "out.png", tinted, image, print)
    again = read_image(tmp_path / "out.png")
    assert again.grey
    np.testing.assert_array_equal(again.alpha, image.alpha)
    np.testing.assert_array_equal(again.rgb[..., 0], image.rgb[..., 1])
    # WebP has eight bits: a half transparent place stays so.
    write_image(tmp_path / "out.webp", image.rgb, image, lambda text: None)
    np.testing.assert_array_equal(read_image(tmp_path / "out.webp").alpha, draw()[..., 1])


def test_lost_transparency_and_depth_are_named(
    tmp_path: Path, draw: Draw, rewrite: Rewrite
) -> None:
    Image.fromarray(draw(channels=4), "RGBA").save(tmp_path / "in.png")
    said = rewrite(tmp_path / "in.png", tmp_path / "out.jpg")
    assert "without the input's transparency; write .png" in said[0]
    opaque = np.dstack([draw(), np.full((20, 32), 255, np.uint8)])
    Image.fromarray(opaque, "RGBA").save(tmp_path / "opaque.png")
    assert rewrite(tmp_path / "opaque.png", tmp_path / "out.jpg") == []
    cv2.imwrite(str(tmp_path / "deep.png"), draw().astype(np.uint16) * 257)
    assert "8 of the input's 16 bits" in rewrite(tmp_path / "deep.png", tmp_path / "out.jpg")[0]


def test_an_unknown_ending_names_those_that_are_known(
    tmp_path: Path, draw: Draw, rewrite: Rewrite
) -> None:
    Image.fromarray(draw()).save(tmp_path / "in.png")
    with pytest.raises(DerainError, match=r"'.gif' is no format to write; use .*\.png"):
        rewrite(tmp_path / "in.png", tmp_path / "out.gif")


def test_a_link_is_written_through_and_a_long_name_is_taken(
    tmp_path: Path, draw: Draw, rewrite: Rewrite
) -> None:
    Image.fromarray(draw()).save(tmp_path / "in.png")
    (tmp_path / "there").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "there" / "real.png")
    rewrite(tmp_path / "in.png", tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "there" / "real.png").is_file()
    long = tmp_path / f"{'雨' * 83}.png"
    rewrite(tmp_path / "in.png", long)
    assert sorted(p.name for p in tmp_path.iterdir() if "part" in p.name) == []
    assert read_image(long).rgb.shape == (20, 32, 3)
