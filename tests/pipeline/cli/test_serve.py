"""`derain serve` as it is called wrongly; what it does is in tests/pipeline/serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import UsageError
from derain.pipeline.web.access import choose_token

Command = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--watch", "."], "--into"),
        (["--into", "."], "--watch"),
        (["--folder", "nowhere"], "no folder nowhere"),
        (["--http", "nowhere"], "--http"),
        (["--token", "a b"], "--token"),
        (["--watch", ".", "--into", "."], "same folder"),
        (["--jobs", "0"], "jobs"),
        (["--device", "gpu"], "gpu"),
    ],
)
def test_wrong_use_ends_with_2(
    derain: Command,
    words: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--http" not in words:
        words = ["--http", "127.0.0.1:0", *words]
    answer = derain("serve", *words)
    assert answer.code == 2 and text in answer.err


def test_others_need_a_token() -> None:
    assert choose_token(None, "127.0.0.1") is None
    assert choose_token("abc", "127.0.0.1") == "abc"
    made = choose_token(None, "0.0.0.0")
    assert made is not None and len(made) >= 16 and made != choose_token(None, "0.0.0.0")
    with pytest.raises(UsageError, match="letters"):
        choose_token("a/b", "127.0.0.1")
