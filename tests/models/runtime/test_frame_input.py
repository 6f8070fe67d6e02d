"""Frames as users have them all become the same, and what is none is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from derain.models import Derainer, DerainError
from derain.models.ops.image_arrays import as_float
from derain.models.runtime.frame_input import as_frame


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (10, 14, 3), np.uint8)


def test_all_forms_of_one_frame_are_the_same(image: NDArray[np.uint8]) -> None:
    wanted = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    tensor = torch.from_numpy(image)
    forms = [
        image,
        image.transpose(2, 0, 1),
        image[None],
        image / 255,
        (image / 255).astype(np.float32),
        image[..., ::-1][..., ::-1],
        tensor,
        tensor.permute(2, 0, 1),
        tensor.permute(2, 0, 1)[None],
        tensor / 255,
        (tensor / 255).double().permute(2, 0, 1),
    ]
    for form in forms:
        found = as_frame(form, check_range=True)
        assert found.dtype == (torch.uint8 if "uint8" in str(form.dtype) else torch.float32)
        torch.testing.assert_close(as_float(found), wanted, rtol=0, atol=1e-6)
    half = as_frame((tensor / 255).half())
    torch.testing.assert_close(half, wanted, rtol=0, atol=1e-3)


def test_what_networks_take_is_not_copied() -> None:
    frame = torch.rand(1, 3, 8, 8)
    assert as_frame(frame, check_range=True).data_ptr() == frame.data_ptr()


def test_three_pixels_across_are_no_channels() -> None:
    narrow = np.arange(3 * 8 * 3, dtype=np.uint8).reshape(3, 8, 3)
    assert as_frame(narrow)[0, :, 2, 5].tolist() == [63, 64, 65]
    assert as_frame(torch.rand(3, 8, 3)).shape == (1, 3, 8, 3)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ([[1, 2, 3]], "not list"),
        (np.zeros((8, 8)), r"not \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), "without alpha"),
        (np.zeros((8, 8, 3), np.uint16), "not uint16"),
        (np.zeros((8, 8, 3), np.int64), "not int64"),
        (np.zeros((8, 8, 3), bool), "not bool"),
        (torch.zeros(3, 8, 8, dtype=torch.int32), "not int32"),
        (torch.zeros(2, 1, 3, 8, 8), "A frame is RGB"),
        (np.full((8, 8, 3), 200.0), r"goes up to 200; divide it by 255"),
    ],
)
def test_what_is_no_frame_is_refused_in_a_sentence(frame: object, words: str) -> None:
    with pytest.raises(DerainError, match=words):
        as_frame(frame, check_range=True)  # type: ignore[arg-type]


def test_a_derainer_takes_them_and_streams_a_shot(
    recurrent: nn.Module, image: NDArray[np.uint8]
) -> None:
    frames = [np.roll(image, k, 1) for k in range(5)]
    derainer = Derainer(recurrent, device="cpu", precision="fp32")
    found = [output.image for output in derainer.stream(frames)]
    pushed = [derainer.push(torch.from_numpy(x).permute(2, 0, 1) / 255) for x in frames]
    wanted = [*pushed[derainer.latency :], *derainer.flush()]
    assert len(found) == len(frames) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert b is not None
        torch.testing.assert_close(a, b.image)
    with pytest.raises(DerainError, match="divide it by 255"):
        derainer.push(image.astype(np.float32))


def test_a_stream_that_is_left_begins_anew(recurrent: nn.Module, image: NDArray[np.uint8]) -> None:
    derainer = Derainer(recurrent, device="cpu", precision="fp32")
    stream = derainer.stream([image] * 5)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert derainer.state is None
    assert list(derainer.stream([])) == []
    other = np.zeros((6, 6, 3), np.uint8)
    assert len(list(derainer.stream([other]))) == 1
