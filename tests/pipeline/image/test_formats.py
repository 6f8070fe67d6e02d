"""Records of still images' formats hold for what Pillow writes."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, features

from derain.pipeline.image.formats import FORMATS, READABLE, best_formats


@pytest.mark.parametrize("suffix", FORMATS)
def test_pillow_writes_every_format_with_the_options_of_its_record(suffix: str) -> None:
    record = FORMATS[suffix]
    if record.name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    pixels = np.full((16, 16, 4 if record.alpha else 3), 90, np.uint8)
    if record.alpha:
        pixels[..., 3] = 40
    file = BytesIO()
    Image.fromarray(pixels).save(file, record.name, **record.options)
    file.seek(0)
    with Image.open(file) as back:
        assert back.format in (record.name, "MPO")
        assert ("A" in back.getbands()) == record.alpha


def test_what_is_written_is_read() -> None:
    assert set(FORMATS) < READABLE


def test_formats_that_hold_a_kind_are_named() -> None:
    assert best_formats("resolution") == ".png or .jpg or .tif"
    assert best_formats("colour tags (CICP)") == ".png"
