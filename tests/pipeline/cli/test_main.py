"""The command as a whole: help, errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from derain.models.errors import DerainError, UsageError
from derain.pipeline.cli import main

Command = Callable[..., Any]  # conftest.py
COMMANDS = ("video", "image", "live", "info", "models", "convert", "background", "cache")
COMMANDS += ("demo", "eval", "synth", "bench", "train")


HELPS = """
import sys
from derain.pipeline.cli.main import main
for words in ([], ["video"], ["live"], ["serve"], ["train"], ["eval"]):
    sys.argv = ["derain", *words, "--help"]
    try:
        main()
    except SystemExit as end:
        assert not end.code
    heavy = ("torch", "av", "cv2", "kornia", "lpips", "PIL", "fastapi")
    assert not set(heavy) & set(sys.modules), (words, set(heavy) & set(sys.modules))
"""


def test_help_needs_no_heavy_packages() -> None:
    done = subprocess.run([sys.executable, "-c", HELPS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: derain") == 6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_tracebacks_when_asked(derain: Command, command: str) -> None:
    answer = derain(command, "--help")
    assert answer.code == 0
    assert "--debug" in answer.out


def test_help_shows_choices_and_groups(derain: Command) -> None:
    shown = derain("video", "--help").out
    for words in ("auto|fp32|bf16|fp16", "side|wipe", "fast|balanced|best", "auto|keep"):
        assert words in shown
    groups = [shown.index(f"─ {name} ─") for name in ("Common", "Image", "Encoding", "Files")]
    assert groups == sorted(groups)
    assert shown.index("─ Advanced ─") > groups[-1]


def test_completion_can_be_installed(derain: Command) -> None:
    assert "--install-completion" in derain("--help").out


def test_errors_become_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.report_error(DerainError("a sentence")) == 1
    assert main.report_error(UsageError("wrong use")) == 2
    assert main.report_error(KeyboardInterrupt()) == 130
    assert main.report_error(ValueError("oops")) == 1
    text = capsys.readouterr().err
    assert "error: a sentence" in text
    assert "--debug" in text
    assert "Traceback" not in text


def test_debug_lets_an_error_through(derain: Command, tmp_path: Path) -> None:
    missing = tmp_path / "none.mp4"
    assert derain("info", missing).code == 1
    with pytest.raises(DerainError, match="There is no file"):
        derain("info", missing, "--debug")


def test_an_interruption_before_the_work_is_told(
    derain: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", stop)
    assert derain() == (130, "", "interrupted\n")


def test_every_option_is_in_a_group() -> None:
    command = typer.main.get_command(main.app)
    options = [p for p in command.commands["video"].params if p.param_type_name == "option"]
    assert {p.rich_help_panel for p in options if p.name != "help"} == {
        "Common",
        "Image",
        "Encoding",
        "Files",
        "Advanced",
    }
