"""Tables of names: tensors joined in order, and errors that name what is wrong."""

from __future__ import annotations

import pytest
import torch

from derain.models.errors import DerainError
from derain.models.ops.key_tables import check_keys, collect, some

TABLE = {"gates.weight": ["z", "r"], "bias": ["b"]}


def test_tensors_are_joined_in_the_order_of_the_table() -> None:
    theirs = {"b": torch.ones(1), "r": torch.full((2, 3), 2.0), "z": torch.full((1, 3), 1.0)}
    ours = collect("X", theirs, TABLE)
    assert list(ours) == ["gates.weight", "bias"]
    assert ours["gates.weight"][:, 0].tolist() == [1, 2, 2]


def test_what_is_never_used_may_be_there_or_not() -> None:
    theirs = {"b": torch.ones(1), "r": torch.ones(1), "z": torch.ones(1)}
    for more in ({}, {"steps": torch.ones(())}):
        assert set(collect("X", theirs | more, TABLE, unused={"steps"})) == set(TABLE)


def test_missing_and_unexpected_names_are_told() -> None:
    theirs = {"b": torch.ones(1), "z": torch.ones(1), "q": torch.ones(1)}
    with pytest.raises(DerainError, match=r"weights of X: missing r, unexpected q\."):
        collect("X", theirs, TABLE)
    check_keys("X", ["a"], ["a"])


def test_shapes_that_do_not_agree_are_told() -> None:
    theirs = {"b": torch.ones(1), "z": torch.ones(1, 3), "r": torch.ones(1, 4)}
    with pytest.raises(DerainError, match=r"shapes of \['z', 'r'\] do not agree"):
        collect("X", theirs, TABLE)


def test_long_lists_are_cut() -> None:
    assert some([]) == "none"
    assert some(list("abcd")) == "a, b, c, d"
    assert some(list("abcdefg")) == "a, b, c, d and 3 more"
