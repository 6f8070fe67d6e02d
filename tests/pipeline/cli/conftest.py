"""The command as a user calls it, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from derain.pipeline.cli import main


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def derain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`derain("video", "a.mp4", "-o", "b.mp4")`: exit code, standard output and error."""
    monkeypatch.setattr(main, "keep_memory", lambda: True)  # of the whole process, for good
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.delenv("DERAIN_DEBUG", raising=False)

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["derain", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return call
