"""Weight files: what was saved comes back, and a file that nobody vouches for is a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from derain.models import DerainError, create_model, load_model, save_model
from derain.models.networks.per_frame import PerFrame
from derain.models.registry import ENTRIES, WEIGHTS, check_settings, find_entry
from derain.models.weights_io import read_network, read_weights

SMALL: dict[str, Any] = {"widths": (8, 8, 8), "blocks": (1, 1), "hidden": 4}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "small.safetensors"
    save_model(create_model("swift", **SMALL), path, dtype=torch.float32, note={"steps": 5})
    return path


def described_as(small: Path, text: str) -> Path:
    """The same tensors under another description."""
    path = small.with_name("described.safetensors")
    save_file(load_file(small), path, metadata={"derain": text})
    return path


def test_a_saved_network_comes_back_with_its_note(small: Path) -> None:
    network = read_network(small)
    assert network.description.name == "swift"
    assert network.description.settings == SMALL | {"stages": 2, "recurrent": True}
    assert network.description.note == {"steps": 5}
    for name, tensor in load_file(small).items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_half_precision_is_read_as_float32(small: Path) -> None:
    save_model(read_network(small), small)
    state, description = read_weights(small)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert description.name == "swift"


def test_single_image_networks_come_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "rescan.safetensors"
    save_model(create_model("rescan", channels=4, depth=3), path)
    model = load_model(path)
    assert isinstance(model, PerFrame)
    assert model.description.settings["channels"] == 4
    assert tuple(model.memory_profile) == ENTRIES["rescan"].memory


MALFORMED: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "by name and settings"),
    "deep JSON": ("[" * 100_000, "by name and settings"),
    "a list": ("[1, 2]", "by name and settings"),
    "no name": ('{"settings": {}}', "by name and settings"),
    "a name that is none": ('{"name": 3, "settings": {}}', "by name and settings"),
    "an unknown name": ('{"name": "other", "settings": {}}', "no model 'other'"),
    "settings that are none": ('{"name": "swift", "settings": [1]}', "by name and settings"),
    "an unknown setting": (
        '{"name": "swift", "settings": {"depth": 3}}',
        "no setting depth; use one",
    ),
    "ten million blocks": (
        '{"name": "swift", "settings": {"blocks": [10000000, 1]}}',
        "blocks.0: .*less than or equal to 64",
    ),
    "words for numbers": (
        '{"name": "swift", "settings": {"widths": ["a", 8, 8]}}',
        "widths.0: .*valid integer",
    ),
    "too few numbers": ('{"name": "swift", "settings": {"widths": [8]}}', "widths"),
    "a negative width": (
        '{"name": "swift", "settings": {"widths": [-8, 8, 8]}}',
        "widths.0: .*greater than or equal to 1",
    ),
    "no number": ('{"name": "median", "settings": {"soft": NaN}}', "soft: .*finite number"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_descriptions_that_cannot_be_believed(small: Path, kind: str) -> None:
    text, words = MALFORMED[kind]
    with pytest.raises(DerainError, match=f"described.safetensors.*{words}"):
        load_model(described_as(small, text))


def test_shapes_are_compared_before_memory_is_taken(small: Path) -> None:
    """What is described would take gigabytes; the file has none of it."""
    settings = {"widths": [512, 512, 512], "blocks": [64, 64]}
    with pytest.raises(DerainError, match="does not fit the network: missing"):
        load_model(described_as(small, json.dumps({"name": "swift", "settings": settings})))
    settings = {**SMALL, "widths": [512, 512, 512]}
    with pytest.raises(DerainError, match=r"'.*' is \[8, .*\] in it and \[512, "):
        load_model(described_as(small, json.dumps({"name": "swift", "settings": settings})))


def test_tensors_that_are_no_weights(small: Path) -> None:
    state = load_file(small)
    first = next(iter(state))
    state[first] = state[first].to(torch.int64)
    metadata = {"derain": json.dumps({"name": "swift", "settings": {}})}
    save_file(state, small, metadata=metadata)
    with pytest.raises(DerainError, match="tensors of I64"):
        load_model(small)


@pytest.mark.parametrize("size", [0, 4, 8, 100, 5000])
def test_a_file_that_was_cut(small: Path, size: int) -> None:
    os.truncate(small, size)
    with pytest.raises(DerainError, match="small"):
        load_model(small)


def test_shipped_files_are_described_and_registered() -> None:
    for path in WEIGHTS.glob("*.safetensors"):
        description = read_weights(path)[1]
        assert find_entry(description.name).target == find_entry(path.stem).target
        assert find_entry(path.stem).weights == path.stem


def test_settings_of_every_network_build_it() -> None:
    for name, entry in ENTRIES.items():
        assert check_settings(name, {}) == entry.settings.model_dump()
        with torch.device("meta"):
            assert create_model(name).description.name == name
