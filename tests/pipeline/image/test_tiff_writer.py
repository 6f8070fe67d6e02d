"""TIFF as Pillow and OpenCV read it: depths, channels, pages, words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from derain.pipeline.image.metadata import Metadata
from derain.pipeline.image.tiff_writer import write_tiff


def written(path: Path, *pages: np.ndarray, metadata: Metadata | None = None) -> Path:
    with path.open("w+b") as file:
        write_tiff(file, pages, metadata or Metadata())
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_samples_come_back(tmp_path: Path, kind: type[np.generic], channels: int) -> None:
    shape = (5, 7) if channels == 1 else (5, 7, channels)
    samples = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    path = written(tmp_path / "a.tif", samples)
    if kind is np.uint8:
        with Image.open(path) as image:
            back = np.asarray(image)
    else:  # of which Pillow reads no colours
        back = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        back = back if channels == 1 else back[..., [2, 1, 0, 3][:channels]]
    assert back.dtype == kind
    np.testing.assert_array_equal(back, samples)


def test_grey_with_alpha_has_two_channels(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (4, 6, 2), np.uint8)
    with Image.open(written(tmp_path / "a.tif", samples)) as back:
        assert back.mode == "LA"
        np.testing.assert_array_equal(np.asarray(back), samples)


def test_pages_follow_one_another(tmp_path: Path) -> None:
    pages = [np.full((3 + n, 5, 3), 40 * n, np.uint8) for n in range(3)]
    with Image.open(written(tmp_path / "a.tif", *pages)) as back:
        assert getattr(back, "n_frames", 1) == 3
        for number, page in enumerate(pages):
            back.seek(number)
            np.testing.assert_array_equal(np.asarray(back), page)


def test_what_the_image_said_is_said_again(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    exif.load(exif.tobytes())  # as it is read from a file
    metadata = Metadata(exif=exif, dpi=(72, 96), icc=b"profile", xmp=b"<x/>")
    path = written(tmp_path / "a.tif", np.zeros((4, 4, 3), np.uint8), metadata=metadata)
    with Image.open(path) as back:
        assert back.getexif()[ExifTags.Base.Artist] == "somebody"
        assert back.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400
        assert back.info["dpi"] == (72, 96)
        assert back.info["icc_profile"] == b"profile"
        assert bytes(back.tag_v2[700]) == b"<x/>"
