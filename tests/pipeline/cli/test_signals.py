"""A signal between two steps of the command."""

from __future__ import annotations

import signal
import sys

import pytest

from derain.pipeline.cli import main
from derain.pipeline.cli.signals import Terminated, handle


def test_a_signal_between_two_steps_is_an_exception(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Terminated):
        handle(signal.SIGTERM, sys._getframe())

    def app() -> None:
        handle(signal.SIGTERM, sys._getframe())

    monkeypatch.setattr(main, "app", app)
    monkeypatch.setattr(main, "keep_memory", lambda: True)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 143
    assert capsys.readouterr().err == "interrupted\n"
