"""Weights of the authors: recognised, checked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from derain.models.convert import flatten
from derain.models.errors import DerainError
from derain.models.networks.two_stage import TwoStage, convert_reference, recognises

ROLES = ("res", "haze", "s2")
SLIM: dict[str, Any] = {"width": 4, "blocks": 1}


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


literal = _load("two_stage_literal")


def test_weights_of_the_authors_are_recognised_and_checked() -> None:
    weights = {role: literal.rule_weights(role, 4, 2) for role in ROLES}
    joined = {f"{role}.{key}": v for role, w in weights.items() for key, v in w.items()}
    assert recognises(weights["res"].keys())
    assert recognises(joined.keys())
    assert not recognises({"conv1.weight", "bn2.weight"})
    assert not recognises(TwoStage(**SLIM).state_dict().keys())
    settings, state = convert_reference(joined)
    assert settings == {"variant": "reference", "width": 4, "blocks": 2, "unshuffle": 1}
    assert all(torch.equal(v, state[k]) for k, v in convert_reference(flatten(weights))[1].items())
    with pytest.raises(DerainError, match="give all three"):
        convert_reference(flatten({"res": weights["res"], "s2": weights["s2"]}))
    weights["haze"].pop("convlstm.Gates.bias")
    weights["haze"]["stranger"] = torch.zeros(1)
    with pytest.raises(DerainError, match=r"'haze'.*convlstm.Gates.bias.*stranger"):
        convert_reference(flatten(weights))
    with pytest.raises(DerainError, match="channel order"):
        convert_reference(joined, "bgra")
