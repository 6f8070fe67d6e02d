"""What all schemas share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """Frozen settings; a misspelt key is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def split_key_value(text: str) -> tuple[str, str]:
    """`key=value` as users write it; the value may hold more `=`.

    Raises:
        ValueError: it is none.
    """
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise ValueError(f"'{text}' is not key=value.")
    return key, value


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of a sentence: `did you mean 'x'?`, where something is like it, else all of them."""
    close = get_close_matches(word, known, 1)
    return f"did you mean '{close[0]}'?" if close else f"use one of {', '.join(known)}."


def explain(
    error: ValidationError, schema: type[BaseModel], renamed: Mapping[str, str] | None = None
) -> str:
    """What is wrong with settings, in a sentence for whoever wrote them.

    Args:
        error: pydantic's; its first is told.
        schema: what the settings were checked against.
        renamed: names that keys had before, and those they have now.
    """
    first = error.errors()[0]
    *place, name = [str(part) for part in first["loc"]] or ["settings"]
    where = ".".join([*place, name])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    if name in (renamed or {}):
        return f"{where} is called {(renamed or {})[name]} now."
    fields = list(_inner(schema, place).model_fields)
    return f"there is no setting {where}; {nearest(name, fields)}"


def _inner(schema: type[BaseModel], place: list[str]) -> type[BaseModel]:
    """The schema of the part of settings at a place."""
    for name in place:
        kind: Any = schema.model_fields[name].annotation
        for each in (kind, *get_args(kind)):
            if isinstance(each, type) and issubclass(each, BaseModel):
                schema = each
    return schema
