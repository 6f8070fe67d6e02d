"""What all schemas share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


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
