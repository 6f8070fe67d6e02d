"""The trunk of swift: sizes, its hidden state, and types of what is joined."""

from __future__ import annotations

import pytest
import torch

from derain.models.networks.swift_core import Trunk, concatenate


@pytest.mark.parametrize("size", [(16, 24), (64, 8)])
def test_features_have_half_the_size_and_the_state_an_eighth(size: tuple[int, int]) -> None:
    trunk = Trunk(5, (6, 7, 8), (1, 1), 3)
    height, width = size
    state = torch.zeros(2, 3, height // 8, width // 8)
    features, new = trunk(torch.rand(2, 5, height, width), state)
    assert features.shape == (2, 6, height // 2, width // 2)
    assert new.shape == state.shape and not torch.equal(new, state)


def test_what_is_remembered_is_heeded() -> None:
    torch.manual_seed(0)
    trunk, x = Trunk(5, (6, 7, 8), (1, 1), 3), torch.rand(1, 5, 16, 16)
    one, two = (trunk(x, torch.full((1, 3, 2, 2), value))[0] for value in (0.0, 1.0))
    assert not torch.allclose(one, two)


def test_without_a_hidden_state_none_is_made() -> None:
    trunk, state = Trunk(5, (6, 7, 8), (0, 0), 0), torch.zeros(1, 0, 2, 2)
    features, new = trunk(torch.rand(1, 5, 16, 16), state)
    assert new is state and features.shape == (1, 6, 8, 8)


def test_more_features_are_added_behind_the_head() -> None:
    trunk, x = Trunk(5, (6, 7, 8), (1, 1), 0), torch.rand(1, 5, 16, 16)
    state = torch.zeros(1, 0, 2, 2)
    plain, none = trunk(x, state)[0], trunk(x, state, torch.zeros(1, 6, 8, 8))[0]
    torch.testing.assert_close(plain, none)
    assert not torch.allclose(plain, trunk(x, state, torch.ones(1, 6, 8, 8))[0])


def test_inputs_are_joined_in_the_type_of_the_convolution() -> None:
    parts, like = [torch.rand(1, 2, 4, 4), torch.rand(1, 3, 4, 4)], torch.zeros(1)
    assert concatenate(parts, like).shape == (1, 5, 4, 4)
    assert concatenate(parts, like.half()).dtype == torch.float16
    with torch.autocast("cpu", torch.bfloat16):
        assert concatenate(parts, like).dtype == torch.bfloat16
