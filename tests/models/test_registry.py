"""One entry a network: what is built by its name, and what is refused."""

from __future__ import annotations

import pytest

from derain.models.errors import DerainError
from derain.models.registry import (
    ENTRIES,
    check_settings,
    create_model,
    find_entry,
    is_ready,
    weights_file,
)
from derain.models.video_model import VideoModel


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_builds_what_it_says(name: str) -> None:
    entry = ENTRIES[name]
    model = create_model(name)
    assert isinstance(model, VideoModel) != entry.per_frame
    assert model.description.name == name
    assert model.description.settings == entry.settings.model_dump()
    assert tuple(model.memory_profile) == entry.memory


def test_settings_go_over_the_registered_ones() -> None:
    assert check_settings("swift-plus", {"hidden": 8})["widths"] == (40, 80, 112)
    assert create_model("rescan", channels=4).description.settings["channels"] == 4


def test_unknown_names_and_settings_are_told() -> None:
    with pytest.raises(DerainError, match=r"There is no model 'swfit'; choose one of swift, "):
        find_entry("swfit")
    with pytest.raises(DerainError, match="did you mean 'hidden'"):
        create_model("swift", hiden=4)
    with pytest.raises(DerainError, match=r"so: memory is called recurrent now\.$"):
        check_settings("swift-plus", {"memory": True})  # as version 0.1.0 wrote it
    with pytest.raises(DerainError, match="there is no setting memory"):
        create_model("rescan", memory=True)  # which never had it


def test_what_is_ready_has_weights_or_learns_nothing() -> None:
    assert weights_file("median") is None and is_ready("median")
    for name in ENTRIES:
        path = weights_file(name)
        assert is_ready(name) == (path is not None or ENTRIES[name].weights is None)
        assert path is None or path.with_suffix(".md").is_file()  # its card


def test_names_with_foreign_weights_have_a_module_that_reads_them() -> None:
    from importlib import import_module

    foreign = [entry.foreign for entry in ENTRIES.values() if entry.foreign]
    assert foreign
    for module, order in foreign:
        assert order in ("bgr", "rgb")
        found = import_module(f"derain.models.networks.{module}")
        assert not found.recognises({"nothing"})
