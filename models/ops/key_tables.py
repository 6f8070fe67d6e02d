"""Joining tensors of other authors to ours by tables of names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from derain.models.errors import DerainError


def collect(
    title: str,
    state_dict: Mapping[str, Tensor],
    table: Mapping[str, list[str]],
    unused: Collection[str] = (),
) -> dict[str, Tensor]:
    """Join the original's tensors to ours along the first axis, by a table of ours -> theirs.

    Args:
        title: the network's name, for the error.
        state_dict: the original's tensors by their names.
        table: our names to the original's, in the order in which they are joined.
        unused: keys that the original has but never computes with; they may be there or not.

    Raises:
        DerainError: tensors are missing or unexpected, or their shapes cannot be joined.
    """
    used = {key: None for theirs in table.values() for key in theirs}
    check_keys(title, used, {key: None for key in state_dict if key in used or key not in unused})
    state = {}
    for ours, theirs in table.items():
        try:
            state[ours] = torch.cat([state_dict[key] for key in theirs])
        except RuntimeError as error:
            raise DerainError(
                f"These are not the weights of {title}: the shapes of {theirs} do not agree."
            ) from error
    return state


def check_keys(title: str, wanted: Collection[str], given: Collection[str]) -> None:
    """Raise a DerainError that names missing and unexpected keys, if there are any.

    Args:
        title: the network's name, for the error.
        wanted: names that must be there.
        given: names that are there.
    """
    missing = [key for key in wanted if key not in given]
    unexpected = [key for key in given if key not in wanted]
    if missing or unexpected:
        raise DerainError(
            f"These are not the weights of {title}: "
            f"missing {some(missing)}, unexpected {some(unexpected)}."
        )


def some(keys: Collection[str], most: int = 4) -> str:
    """The first few of many keys, for a message."""
    first = ", ".join(list(keys)[:most]) or "none"
    return first if len(keys) <= most else f"{first} and {len(keys) - most} more"
