"""The commands of the workshop: demo, eval, synth, bench, train."""

from __future__ import annotations

import typer


def add_commands(app: typer.Typer) -> None:
    """Register the commands on `app`."""
