"""Pairs files: names that must exist, the hash of their contents, writing and reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from derain.configs.validation import ValidationSet, read_validation, write_validation


def contents(**changes: Any) -> dict[str, Any]:
    """Of a file with one clip."""
    pair = {"rain": "drizzle", "seed": 3}
    clip = {"file": "a.mp4", "camera": "static", "pairs": {"light": pair}}
    levels = {"light": {"psnr": 30.0, "tolerance": 0.1}}
    return {"levels": levels, "rains": {"drizzle": {"angle": 4}}, "clips": [clip]} | changes


def test_what_is_written_is_read_again_and_carries_its_hash(tmp_path: Path) -> None:
    pairs = ValidationSet.model_validate(contents())
    path = tmp_path / "pairs.yaml"
    write_validation(pairs, path)
    back = read_validation(path)
    assert back.sha256 == back.digest() == pairs.digest()
    assert back.model_copy(update={"sha256": ""}) == pairs
    assert path.read_text().startswith("# Validation pairs")


def test_the_hash_is_of_everything_but_itself() -> None:
    pairs = ValidationSet.model_validate(contents())
    assert pairs.model_copy(update={"sha256": "x"}).digest() == pairs.digest()
    pairs.clips[0].pairs["light"].strength = 0.9
    assert pairs.digest() != ValidationSet.model_validate(contents()).digest()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rains": {}}, "a.mp4, light: there is no rain 'drizzle'"),
        ({"levels": {}}, "a.mp4: level 'light' has no target"),
        ({"levels": {"light": {"psnr": 30, "tolerance": 0}}}, "greater than 0"),
        ({"more": 1}, "more"),
    ],
)
def test_files_that_do_not_hold_together_are_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    import yaml

    path = tmp_path / "pairs.yaml"
    path.write_text(yaml.safe_dump(contents(**changes)))
    with pytest.raises(ValueError, match=words):
        read_validation(path)


def test_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("[")
    with pytest.raises(ValueError, match="not YAML"):
        read_validation(tmp_path / "x.yaml")
