"""`derain image`: which file becomes which, and what comes along besides colours."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from derain.models.errors import UsageError
from derain.pipeline.image.derain_images import (
    CICP,
    EXIF,
    ICC,
    _orientation,
    _read_metadata,
    _tiff_metadata,
    _upright_exif,
    derain_images,
    plan_pictures,
    read_picture,
    write_picture,
)
from derain.pipeline.streaming.options import VideoOptions

NOTHING = VideoOptions(model="median", device="cpu", streaks=0, haze=0)
LIGHT = (0xF6D6, 0x10000, 0xD32D)  # D50

# The smallest profile that libpng takes: a head, one tag, and text that does not shrink to nothing.
PROFILE = (
    struct.pack(">I8x4s4s4s12s4s28xIII48x", 400, b"mntr", b"RGB ", b"XYZ ", b"", b"acsp", *LIGHT)
    + struct.pack(">I4sII", 1, b"desc", 144, 256)
    + bytes(range(256))
)

needs_metadata = pytest.mark.skipif(
    not hasattr(cv2, "imwriteWithMetadata"), reason="this OpenCV writes no metadata"
)


def exif(orientation: int) -> bytes:
    """Maker and orientation in the first directory, a thumbnail's directory behind."""
    maker = struct.pack(">HHI4s", 0x10F, 2, 4, b"abc\0")
    turned = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    thumbnail = struct.pack(">HHHIHHI", 1, 0x103, 3, 1, 6, 0, 0)
    return b"MM\0*" + struct.pack(">IH", 8, 2) + maker + turned + struct.pack(">I", 38) + thumbnail


def colours(height: int = 20, width: int = 32, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth, and no turn of it looks like another."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 6, y * 9, x * 2 + y * 5, x * 4 + y * 6]
    return np.dstack([plane.astype(np.uint8) for plane in planes[:channels]])


def save(path: Path, picture: NDArray[np.generic], **metadata: bytes) -> Path:
    kinds = {"exif": EXIF, "icc": ICC, "xmp": 1, "cicp": CICP}
    path.parent.mkdir(parents=True, exist_ok=True)
    if metadata:
        chunks = [np.frombuffer(chunk, np.uint8) for chunk in metadata.values()]
        cv2.imwriteWithMetadata(str(path), picture, [kinds[name] for name in metadata], chunks)
    else:
        cv2.imwrite(str(path), picture)
    return path


# Which file becomes which


def test_two_inputs_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = (save(tmp_path / name / "x.png", colours()) for name in "ab")
    with pytest.raises(UsageError, match="Two inputs would become"):
        plan_pictures([str(first), str(second)], str(tmp_path / "out"), False)


def test_a_pattern_may_be_absolute_and_means_files(tmp_path: Path) -> None:
    picture = save(tmp_path / "a.png", colours())
    (tmp_path / "folder.png").mkdir()
    tasks = plan_pictures([str(tmp_path / "*.png")], str(tmp_path / "out"), False)
    assert tasks == [(picture, tmp_path / "out" / "a.png")]


@pytest.mark.parametrize(("source", "target"), [("", "new"), ("*.png", "new"), ("a.png", "new/")])
def test_one_picture_makes_the_folder_it_goes_into(
    tmp_path: Path, source: str, target: str
) -> None:
    save(tmp_path / "in" / "a.png", colours())
    inputs = [f"{tmp_path}/in/{source}"]
    assert derain_images(inputs, f"{tmp_path}/{target}", NOTHING) == 0
    assert (tmp_path / "new" / "a.png").is_file()
    # What is there is skipped, as for several.
    assert derain_images(inputs, f"{tmp_path}/{target}", NOTHING) == 0


def test_a_folder_does_not_become_a_picture(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", colours())
    with pytest.raises(UsageError, match="need a folder"):
        plan_pictures([str(tmp_path / "in")], str(tmp_path / "out.png"), False)


# Metadata


@needs_metadata
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_profile_and_exif_come_along_upright(
    tmp_path: Path, suffix: str, orientation: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(tmp_path / f"in{suffix}", colours(), exif=exif(orientation), icc=PROFILE)
    target = tmp_path / f"out{suffix}"
    assert derain_images([str(source)], str(target), NOTHING) == 0
    metadata = _read_metadata(target)
    assert metadata[ICC] == PROFILE
    assert _orientation(metadata[EXIF]) == 1
    assert b"abc\0" in metadata[EXIF]
    assert metadata[EXIF][34:38] == bytes(4)  # the thumbnail's directory is reached no more
    shown = cv2.imread(str(source)).astype(int)
    assert np.abs(cv2.imread(str(target)).astype(int) - shown).max() < 12
    assert "without" not in capsys.readouterr().err


@needs_metadata
def test_metadata_that_cannot_come_along_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def notice(suffix: str, **metadata: bytes) -> str:
        picture = read_picture(save(tmp_path / "in.png", colours(), **metadata))
        target = tmp_path / f"out{suffix}"
        write_picture(target, picture.rgb, picture)
        assert cv2.imread(str(target)) is not None
        return capsys.readouterr().err

    assert "EXIF and colour profile; write .png" in notice(".tif", exif=exif(6), icc=PROFILE)
    assert "input's XMP, which" in notice(".png", xmp=b"<x:xmpmeta/>", icc=PROFILE)
    assert "input's EXIF, which" in notice(".jpg", exif=exif(1) + bytes(70_000))
    assert "input's EXIF, which" in notice(".png", exif=b"MM\0*\0\0\1\0")
    assert "CICP" in notice(".webp", cicp=bytes([9, 16, 0, 1]))
    assert notice(".png", cicp=bytes([9, 16, 0, 1])) == ""
    assert notice(".webp") == ""


@needs_metadata
def test_a_profile_of_other_colours_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cmyk = PROFILE.replace(b"RGB ", b"CMYK")
    picture = read_picture(save(tmp_path / "in.jpg", colours(), icc=cmyk))
    write_picture(tmp_path / "out.jpg", picture.rgb, picture)
    assert ICC not in _read_metadata(tmp_path / "out.jpg")
    assert "without the input's colour profile" in capsys.readouterr().err


@needs_metadata
def test_the_profile_of_a_tiff_comes_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = save(tmp_path / "plain.tif", colours()).read_bytes()
    order = "<" if plain[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", plain, 4)
    (count,) = struct.unpack_from(f"{order}H", plain, start)
    entries = plain[start + 2 : start + 2 + 12 * count]
    entries += struct.pack(f"{order}HHII", 34675, 7, len(PROFILE), len(plain))
    directory = struct.pack(f"{order}H", count + 1) + entries + bytes(4)
    head = plain[:4] + struct.pack(f"{order}I", len(plain) + len(PROFILE)) + plain[8:]
    (tmp_path / "in.tif").write_bytes(head + PROFILE + directory)
    picture = read_picture(tmp_path / "in.tif")
    write_picture(tmp_path / "out.png", picture.rgb, picture)
    assert _read_metadata(tmp_path / "out.png") == {ICC: PROFILE}
    write_picture(tmp_path / "out.tif", picture.rgb, picture)
    assert "without the input's colour profile; write .png" in capsys.readouterr().err


@needs_metadata
def test_an_opencv_without_metadata_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = save(tmp_path / "labelled.png", colours(), exif=exif(6), icc=PROFILE)
    plain = save(tmp_path / "plain.png", colours())
    monkeypatch.delattr(cv2, "imreadWithMetadata")
    monkeypatch.delattr(cv2, "imwriteWithMetadata")
    for source in (labelled, plain):
        picture = read_picture(source)
        write_picture(tmp_path / f"out_{source.name}", picture.rgb, picture)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "EXIF and colour profile, which this OpenCV cannot write" in said[0]


# Transparency


@needs_metadata
@pytest.mark.parametrize("orientation", range(1, 9))
def test_alpha_turns_with_the_colours(tmp_path: Path, orientation: int) -> None:
    # The alpha is one of the colours once more, so that OpenCV's turn of colours is the truth.
    bgr = colours()
    bgra = np.dstack([bgr, bgr[..., 0]])
    source = save(tmp_path / "in.png", bgra, exif=exif(orientation))
    assert derain_images([str(source)], str(tmp_path / "out.png"), NOTHING) == 0
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    truth = cv2.imread(str(save(tmp_path / "truth.png", bgr, exif=exif(orientation))))
    np.testing.assert_array_equal(found, np.dstack([truth, truth[..., 0]]))


@pytest.mark.parametrize("peak", [255, 65535])
def test_grey_with_alpha_stays_both(tmp_path: Path, peak: int) -> None:
    depth = np.uint8 if peak == 255 else np.uint16
    planes = colours().astype(depth) * (peak // 255)
    source = save(tmp_path / "in.png", planes[..., [0, 0, 0, 1]])
    picture = read_picture(source)
    assert picture.grey
    tinted = picture.rgb * np.array([0.9, 1, 1.1], np.float32)
    write_picture(tmp_path / "out.png", tinted, picture)
    found = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, planes[..., [0, 0, 0, 1]])
    # WebP has eight bits: a half transparent place stays so.
    write_picture(tmp_path / "out.webp", picture.rgb, picture)
    found = cv2.imread(str(tmp_path / "out.webp"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found[..., 3], colours()[..., 1])


@needs_metadata
def test_colours_that_are_grey_keep_their_profile(tmp_path: Path) -> None:
    source = save(tmp_path / "in.png", colours()[..., [0, 0, 0, 1]], icc=PROFILE)
    picture = read_picture(source)
    write_picture(tmp_path / "out.jpg", picture.rgb, picture)
    assert _read_metadata(tmp_path / "out.jpg") == {ICC: PROFILE}


def test_lost_transparency_and_depth_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = read_picture(save(tmp_path / "in.png", colours(channels=4)))
    write_picture(tmp_path / "out.jpg", picture.rgb, picture)
    assert "without the input's transparency; write .png" in capsys.readouterr().err
    opaque = np.dstack([colours(), np.full((20, 32), 255, np.uint8)])
    picture = read_picture(save(tmp_path / "opaque.png", opaque))
    write_picture(tmp_path / "out.jpg", picture.rgb, picture)
    assert capsys.readouterr().err == ""
    picture = read_picture(save(tmp_path / "deep.png", colours().astype(np.uint16) * 257))
    write_picture(tmp_path / "out.jpg", picture.rgb, picture)
    assert "8 of the input's 16 bits" in capsys.readouterr().err


def test_damaged_exif_is_no_fault() -> None:
    whole = exif(6)
    rng = np.random.default_rng(0)
    for k in range(500):
        damaged = bytearray(whole[: rng.integers(len(whole) + 1)] if k % 2 else whole)
        for _ in range(3 if damaged else 0):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        upright = _upright_exif(bytes(damaged))
        assert upright == b"" or len(upright) == len(damaged)
        assert _orientation(upright) == 1 or b"\x01\x12" not in upright
        _tiff_metadata(bytes(damaged))
