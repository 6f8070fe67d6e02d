"""Where the `derain` command begins: nothing heavy is imported before signals are handled."""

from __future__ import annotations

import signal

from derain.pipeline.cli.signals import END, handle


def main() -> None:
    """Run the command line."""
    for number in END:
        signal.signal(number, handle)
    from derain.pipeline.cli.main import main

    main()
