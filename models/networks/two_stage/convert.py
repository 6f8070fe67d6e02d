"""Weights of the two-stage network in the layout of the authors' code, read into ours.

Their three generators ("res", "haze", "s2") have the same names inside. Where theirs have
three-dimensional convolutions, ours have ordinary ones over two joined slices. The network itself
is in network.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.networks.two_stage.blocks import SLOTS

ROLES = {"res": 1, "haze": 2, "s2": 1}  # heads that are used
_TYPICAL = {"conv1.conv2d.weight", "du_conv1.conv2d.weight", "alpha_convlstm.Gates.weight"}


def recognises(keys: Collection[str]) -> bool:
    """Whether these are one generator's keys, or all three's with "res.", "haze.", "s2." before."""
    names = set(keys)
    return names >= _TYPICAL or all(names >= {f"{r}.{k}" for k in _TYPICAL} for r in ROLES)


def convert_reference(
    state_dict: Mapping[str, Tensor], channel_order: str = "rgb", **settings: object
) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Settings and state dict for `TwoStage` from the authors' weights, of any width and depth.

    Args:
        state_dict: of all three generators, `res.`, `haze.` or `s2.` before their keys.
        channel_order: of the images the weights were trained on; "bgr" weights are turned round.
        settings: override what is read from the shapes.

    Raises:
        DerainError: a generator or keys of it are missing, or there are unknown ones.
    """
    if channel_order not in ("rgb", "bgr"):
        raise DerainError(f"'{channel_order}' is not a channel order; use 'rgb' or 'bgr'.")
    result: dict[str, Tensor] = {}
    for role, heads in ROLES.items():
        source = _of_role(state_dict, role)
        blocks = _count_blocks(source)
        known = _keys(_table(blocks, heads=2))
        used = list(_table(blocks, heads))
        missing, unexpected = sorted(_keys(used) - set(source)), sorted(set(source) - known)
        if missing or unexpected:
            raise DerainError(
                f"The '{role}' weights are not those of a generator of the two-stage network: "
                f"missing {missing[:4]}, unexpected {unexpected[:4]}."
            )
        for theirs, ours in used:
            for kind in ("weight", "bias"):
                value = source[f"{theirs}.{kind}"]
                if channel_order == "bgr":
                    value = _turned(value, theirs, kind, role)
                if value.ndim == 5:  # (out, in, 2, 3, 3) over two slices: join them on channels
                    value = torch.cat(value.unbind(2), 1)
                result[f"stages.{role}.{ours}.{kind}"] = value.clone()
        inferred = {"width": source["conv1.conv2d.weight"].shape[0] // SLOTS, "blocks": blocks}
    return {"variant": "reference", "unshuffle": 1, **inferred, **settings}, result


def _of_role(state_dict: Mapping[str, Tensor], role: str) -> dict[str, Tensor]:
    start = f"{role}."
    found = {k.removeprefix(start): v for k, v in state_dict.items() if k.startswith(start)}
    if not found:
        raise DerainError(
            f"The weights of the '{role}' generator are not there; give all three, "
            '{"res": …, "haze": …, "s2": …}.'
        )
    return found


def _count_blocks(keys: Collection[str]) -> int:
    return len({key.split(".")[1] for key in keys if key.startswith("ResBlocks.")})


def _table(blocks: int, heads: int) -> Iterator[tuple[str, str]]:
    """Their name and ours of every layer of a generator."""
    for prefix, encoder in (("", "observed"), ("du_", "estimated")):
        yield f"{prefix}conv1.conv2d", f"{encoder}.stem"
        for level in range(SLOTS):
            theirs, ours = f"{prefix}res{level + 1}", f"{encoder}.blocks.{level}"
            yield f"{theirs}.conv1.conv2d", f"{ours}.first"
            yield f"{theirs}.conv2.conv2d", f"{ours}.second"
            if level:
                yield f"{prefix}conv{level + 1}", f"{encoder}.joins.{level - 1}"
    for index, prefix in enumerate(("", "alpha_")[:heads]):
        body, decoder = f"heads.{index}.body", f"heads.{index}.decoder"
        residual = [(f"{prefix}ResBlocks.{i}", f"{body}.blocks.{i}") for i in range(blocks)]
        residual += [(f"{prefix}dres{3 - i}", f"{decoder}.block{i}") for i in (1, 2)]
        for theirs, ours in residual:
            yield f"{theirs}.conv1.conv2d", f"{ours}.first"
            yield f"{theirs}.conv2.conv2d", f"{ours}.second"
        yield f"{prefix}convlstm.Gates", f"{body}.memory.gates"
        yield f"{prefix}deconv3.conv2d", f"{decoder}.up1.conv"
        yield f"{prefix}deconv2.conv2d", f"{decoder}.up2.conv"
        yield f"{prefix}deconv1.conv2d", f"{decoder}.conv1"
        yield f"{prefix}output1.conv2d", f"{decoder}.conv2"
        yield f"{prefix}output2.conv2d", f"{decoder}.out"


def _keys(table: Iterable[tuple[str, str]]) -> set[str]:
    return {f"{theirs}.{kind}" for theirs, _ in table for kind in ("weight", "bias")}


def _turned(value: Tensor, theirs: str, kind: str, role: str) -> Tensor:
    """Colours the other way round, where a layer takes or gives them.

    Transmission is no colour: the first channel of its head counts in either order.
    """
    if theirs in ("conv1.conv2d", "du_conv1.conv2d"):
        return value.flip(1) if kind == "weight" else value
    if theirs.endswith("output2.conv2d") and (role, theirs) != ("haze", "output2.conv2d"):
        return value.flip(0)
    return value
