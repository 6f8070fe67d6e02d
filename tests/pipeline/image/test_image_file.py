"""Reading stills: every kind of pixels, upright, and sentences for what is none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from derain.models.errors import DerainError
from derain.pipeline.image.image_file import count_images, read_image, turn

Draw = Callable[..., NDArray[np.uint8]]


def eight_bits(path: Path) -> NDArray[np.uint8]:
    return np.rint(read_image(path).rgb * 255).astype(np.uint8)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def add_chunk(path: Path, name: bytes, body: bytes) -> None:
    """Put one more chunk behind a PNG's head."""
    data = path.read_bytes()
    chunk = struct.pack(">I", len(body)) + name + body
    path.write_bytes(data[:33] + chunk + struct.pack(">I", zlib.crc32(name + body)) + data[33:])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_images_come_upright(tmp_path: Path, draw: Draw, suffix: str, orientation: int) -> None:
    path = tmp_path / f"in{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    if suffix == ".tif":
        Image.fromarray(draw()).save(path, tiffinfo={274: orientation})
    else:
        Image.fromarray(draw()).save(path, exif=turned(orientation), **options)
    image = read_image(path)
    np.testing.assert_array_equal(eight_bits(path), turn(draw(), orientation))
    assert image.metadata.exif is None or 0x112 not in image.metadata.exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bits_come_upright(tmp_path: Path, draw: Draw, orientation: int) -> None:
    deep = draw(channels=4).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "in.png"), deep[..., [2, 1, 0, 3]])
    add_chunk(tmp_path / "in.png", b"eXIf", turned(orientation).tobytes().removeprefix(b"Exif\0\0"))
    image = read_image(tmp_path / "in.png")
    assert image.peak == 65535
    np.testing.assert_array_equal(
        np.rint(image.rgb * 65535).astype(np.uint16), turn(deep[..., :3], orientation)
    )
    np.testing.assert_array_equal(image.alpha, turn(deep[..., 3], orientation))


@pytest.mark.parametrize("height", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp", ".ppm"])
def test_sides_of_a_few_pixels(tmp_path: Path, draw: Draw, suffix: str, height: int) -> None:
    path = tmp_path / f"in{suffix}"
    Image.fromarray(draw(height, 50)).save(path)
    assert read_image(path).rgb.shape == (height, 50, 3)


def test_grey_with_a_transparent_level_has_alpha(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "in.png", transparency=7)
    image = read_image(tmp_path / "in.png")
    assert image.grey
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha == 0, grey == 7)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    add_chunk(tmp_path / "deep.png", b"tRNS", struct.pack(">H", 7 * 257))
    image = read_image(tmp_path / "deep.png")
    assert image.peak == 65535
    assert image.alpha is not None
    np.testing.assert_array_equal(image.alpha == 0, grey == 7)


def test_a_transparent_colour_of_sixteen_bits(tmp_path: Path, draw: Draw) -> None:
    deep = draw().astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "in.png"), deep[..., ::-1])
    add_chunk(tmp_path / "in.png", b"tRNS", struct.pack(">3H", *deep[3, 4]))
    alpha = read_image(tmp_path / "in.png").alpha
    np.testing.assert_array_equal(alpha == 0, (deep == deep[3, 4]).all(-1))


def test_palettes_and_bilevel(tmp_path: Path, draw: Draw) -> None:
    palette = Image.fromarray(draw()).quantize(16)
    palette.save(tmp_path / "in.png", transparency=3)
    image = read_image(tmp_path / "in.png")
    np.testing.assert_array_equal(image.alpha == 0, np.asarray(palette) == 3)
    Image.fromarray(draw()).convert("1").save(tmp_path / "two.png")
    assert read_image(tmp_path / "two.png").grey


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_is_named(tmp_path: Path, draw: Draw, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    Image.fromarray(draw()).convert("CMYK").save(path)
    image = read_image(path)
    assert "is CMYK; what is written is RGB" in image.notices[0]
    assert np.abs(eight_bits(path).astype(int) - draw()).mean() < 6


def test_avif_tells_its_bits(tmp_path: Path, draw: Draw) -> None:
    path = tmp_path / "in.avif"
    Image.fromarray(draw()).save(path, quality=95)
    assert read_image(path).notices == ()
    data = bytearray(path.read_bytes())
    data[data.index(b"av1C") + 6] |= 0x40
    from derain.pipeline.image.image_file import _bits

    with Image.open(path) as image:
        assert _bits(image, bytes(data)) == 10
        assert _bits(image, path.read_bytes()) == 8


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_what_is_no_whole_image_is_told_in_a_sentence(
    tmp_path: Path, draw: Draw, capfd: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO()
    Image.fromarray(draw(200, 300)).save(file, "JPEG")
    deep = cv2.imencode(".png", draw(90, 90).astype(np.uint16) * 257)[1].tobytes()
    cases = {
        "cut.jpg": (file.getvalue()[: len(file.getvalue()) // 2], "ends early"),
        "cut.png": (deep[: len(deep) // 2], "ends early"),
        "huge.png": (claimed(65535, 65535), "65535x65535 pixels.*make it smaller"),
        "claims.png": (claimed(300, 300), "ends early"),
        "none.png": (b"nothing", "not an image"),
        "empty.jpg": (b"", "not an image"),
        "photo.heic": (bytes(4) + b"ftypheic" + bytes(20), "heic"),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DerainError, match=words):
            read_image(tmp_path / name)
    for name in ("missing.png", "."):
        with pytest.raises(DerainError, match="no image"):
            read_image(tmp_path / name)
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DerainError, match="floating-point"):
        read_image(tmp_path / "float.tif")
    assert capfd.readouterr() == ("", "")


def test_mutated_files_end_in_a_sentence_or_an_image(
    tmp_path: Path, draw: Draw, profile: bytes
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x"
    exif = turned(6)
    exif[0x10F] = "Camera"
    for form in ("PNG", "JPEG", "TIFF", "WEBP"):
        file = io.BytesIO()
        Image.fromarray(draw()).save(file, form, exif=exif, icc_profile=profile)
        for _ in range(60):
            data = bytearray(file.getvalue())
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(min(len(data), 4000))] = rng.integers(256)
            path.write_bytes(data[: rng.integers(8, len(data) + 1)] if rng.random() < 0.3 else data)
            with suppress(DerainError):  # anything else fails the test
                assert read_image(path).rgb.ndim == 3


def test_several_images_are_counted_and_read_one_by_one(tmp_path: Path, draw: Draw) -> None:
    pages = [Image.fromarray(np.roll(draw(), k, 1)) for k in range(3)]
    for suffix, form in ((".tif", "TIFF"), (".gif", "GIF"), (".webp", "WEBP"), (".png", "PNG")):
        path = tmp_path / f"in{suffix}"
        pages[0].save(path, save_all=True, append_images=pages[1:])
        assert count_images(path) == (3, form)
    np.testing.assert_array_equal(
        np.rint(read_image(tmp_path / "in.tif", 2).rgb * 255), np.asarray(pages[2])
    )
    deep = [np.asarray(page).astype(np.uint16) * 257 for page in pages]
    cv2.imwritemulti(str(tmp_path / "deep.tif"), deep)
    second = read_image(tmp_path / "deep.tif", 1)
    np.testing.assert_array_equal(np.rint(second.rgb[..., ::-1] * 65535), deep[1])


def test_heic_opens_where_its_package_is(tmp_path: Path, draw: Draw) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(draw(64, 80))).save(tmp_path / "in.heic", quality=95)
    found = eight_bits(tmp_path / "in.heic").astype(int)
    assert np.abs(found - draw(64, 80)).mean() < 10
