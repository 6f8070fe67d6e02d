"""Images from NumPy to torch and back: shapes, ranges, rounding, copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from derain.models.ops.image_arrays import (
    as_float,
    as_kind,
    as_levels,
    quantised,
    single,
    to_tensor,
    to_uint8,
)


@pytest.mark.parametrize("shape", [(4, 6, 3), (2, 4, 6, 3), (1, 2, 4, 6, 1)])
def test_bytes_come_back_whatever_is_before_the_rows(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    tensor = to_tensor(images)
    assert tensor.shape == (*shape[:-3], shape[-1], *shape[-3:-1])
    assert tensor.dtype == torch.float32
    assert float(tensor.min()) >= 0 and float(tensor.max()) <= 1
    back = to_uint8(tensor)
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, images)


def test_each_level_is_its_share_of_255() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    torch.testing.assert_close(
        to_tensor(levels).flatten(), torch.arange(256.0) / 255, rtol=0, atol=0
    )


def test_floats_are_taken_as_they_are_and_shared() -> None:
    image = np.random.default_rng(0).random((4, 6, 3), np.float32)
    tensor = to_tensor(image)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), image)
    image[0, 0, 0] = 0.5
    assert float(tensor[0, 0, 0]) == 0.5


def test_views_and_what_must_not_be_written_to_are_copied() -> None:
    image = np.random.default_rng(0).random((4, 6, 3), np.float32)
    image.flags.writeable = False
    for given in (image, image[:, ::-1], image[::2, 1:]):
        np.testing.assert_array_equal(to_tensor(given).permute(1, 2, 0).numpy(), given)


def test_what_lies_beyond_is_clipped_and_halves_are_rounded() -> None:
    values = torch.tensor([-1.0, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 7.0]).view(1, 1, 6)
    assert to_uint8(values).ravel().tolist() == [0, 0, 0, 1, 255, 255]
    assert (255 * quantised(values[..., 1:5])).round().flatten().tolist() == [0, 0, 1, 255]


def test_levels_and_floats_stand_for_each_other_in_every_layout() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    floats = as_float(levels)
    assert as_float(floats) is floats and as_levels(levels) is levels
    assert torch.equal(as_kind(floats, torch.uint8), levels)
    assert torch.equal(as_kind(levels, torch.float32), floats)
    assert single(levels) is levels and single(floats.half()).dtype == torch.float32
    for layout in (torch.contiguous_format, torch.channels_last):
        beyond = (floats * 1.2 - 0.1).contiguous(memory_format=layout)
        assert torch.equal(as_levels(floats.contiguous(memory_format=layout)), levels)
        assert torch.equal(as_levels(beyond), (255 * beyond.clamp(0, 1)).round().byte())
    assert torch.equal(as_levels(floats.repeat(2, 1, 1, 1)), levels.repeat(2, 1, 1, 1))
