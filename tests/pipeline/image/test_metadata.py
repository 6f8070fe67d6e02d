"""What an image says of itself comes along, or is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from derain.pipeline.image.formats import FORMATS
from derain.pipeline.image.image_file import read_image
from derain.pipeline.image.metadata import png_chunks

Draw = Callable[..., NDArray[np.uint8]]
Rewrite = Callable[[Path, Path], list[str]]
Labelled = Callable[[Path, NDArray[np.uint8], bytes], Path]
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rating>5</rating></x:xmpmeta>"


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif"])
def test_what_an_image_says_comes_along(
    tmp_path: Path,
    draw: Draw,
    profile: bytes,
    source: str,
    target: str,
    labelled: Labelled,
    rewrite: Rewrite,
) -> None:
    path = labelled(tmp_path / f"in{source}", draw(), profile)
    said = rewrite(path, tmp_path / f"out{target}")
    with Image.open(tmp_path / f"out{target}") as found:
        exif = found.getexif()
        assert exif.get(0x112, 1) == 1
        assert exif[0x10F] == "abc"
        assert float(exif.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)
        assert exif.get_ifd(0x8825)[1] == "N"
        assert found.info["icc_profile"] == profile
        if source != ".png":
            xmp = found.info.get("xmp") or found.info["XML:com.adobe.xmp"]
            assert b"rating" in (xmp.encode() if isinstance(xmp, str) else xmp)
        held = source != ".webp" and "resolution" in FORMATS[target].keeps
        if held:
            assert found.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert found.size == (20, 32)
        shown = np.asarray(found.convert("RGB")).astype(int)
    assert np.abs(shown - np.rot90(draw(), -1)).mean() < 6
    assert [s for s in said if "resolution" not in s] == []
    assert len(said) == (source != ".webp" and not held)


def test_what_cannot_come_along_is_named(
    tmp_path: Path, draw: Draw, profile: bytes, labelled: Labelled, rewrite: Rewrite
) -> None:
    full = labelled(tmp_path / "in.jpg", draw(), profile)
    said = rewrite(full, tmp_path / "out.bmp")
    assert [line for line in said if "input's EXIF, .png or .jpg" in line]
    assert [line for line in said if "input's colour profile, .png" in line]
    assert len(said) == 3
    assert len(rewrite(full, tmp_path / "out.ppm")) == 4
    text = tmp_path / "comment.jpg"
    Image.fromarray(draw()).save(text, comment="said by hand")
    assert rewrite(text, tmp_path / "out.png") == []
    assert read_image(tmp_path / "out.png").metadata.text == {"Comment": "said by hand"}
    assert "input's text" in rewrite(text, tmp_path / "out.webp")[0]
    parts = tmp_path / "parts.jpg"
    Image.fromarray(draw()).save(parts, xmp=XMP.replace(b"rating", b"hdrgm"))
    assert "input's XMP, which cannot" in rewrite(parts, tmp_path / "out.jpg")[0]


def test_colour_tags_stay_in_png(tmp_path: Path, draw: Draw, rewrite: Rewrite) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add(b"cICP", bytes([9, 16, 0, 1]))
    Image.fromarray(draw()).save(tmp_path / "in.png", pnginfo=info)
    assert rewrite(tmp_path / "in.png", tmp_path / "out.png") == []
    assert (b"cICP", bytes([9, 16, 0, 1])) in png_chunks((tmp_path / "out.png").read_bytes())
    assert "CICP" in rewrite(tmp_path / "in.png", tmp_path / "out.webp")[0]


def test_a_profile_of_other_colours_is_left_out(
    tmp_path: Path, draw: Draw, profile: bytes, rewrite: Rewrite
) -> None:
    cmyk = Image.fromarray(draw()).convert("CMYK")
    cmyk.save(tmp_path / "in.jpg", icc_profile=profile.replace(b"RGB ", b"CMYK", 1))
    said = rewrite(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert "without the input's colour profile, which would not fit" in said[0]
    with Image.open(tmp_path / "out.jpg") as found:
        assert found.mode == "RGB"
        assert "icc_profile" not in found.info
