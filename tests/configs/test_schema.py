"""What is wrong with settings, in sentences."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from derain.configs.schema import Strict, explain, nearest, split_key_value


class Inner(Strict):
    size: int = 3
    flavour: str = ""


class Outer(Strict):
    inner: Inner | None = None
    steps: int = 1


def sentence(settings: object, renamed: dict[str, str] | None = None) -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(settings)
    return explain(caught.value, Outer, renamed)


def test_misspelt_settings_name_the_nearest_of_their_place() -> None:
    assert sentence({"stpes": 2}) == "there is no setting stpes; did you mean 'steps'?"
    assert sentence({"inner": {"flavor": "x"}}) == (
        "there is no setting inner.flavor; did you mean 'flavour'?"
    )
    assert sentence({"inner": {"zzz": 1}}).endswith("use one of size, flavour.")


def test_old_names_are_told_with_the_new_one() -> None:
    assert sentence({"inner": {"width": 3}}, {"width": "size"}) == (
        "inner.width is called size now."
    )


def test_values_of_other_types_are_told_with_their_place() -> None:
    assert sentence({"inner": {"size": "big"}}).startswith("inner.size: Input should be a valid")
    assert sentence(3).startswith("settings: Input should be")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Outer().steps = 2


def test_key_and_value_part_at_the_first_sign() -> None:
    assert split_key_value("a=b=c") == ("a", "b=c")
    assert split_key_value("a=") == ("a", "")
    for wrong in ("a", "=b", ""):
        with pytest.raises(ValueError, match="is not key=value"):
            split_key_value(wrong)


def test_nothing_alike_lists_all() -> None:
    assert nearest("swfit", ["swift", "median"]) == "did you mean 'swift'?"
    assert nearest("x", ["swift", "median"]) == "use one of swift, median."
