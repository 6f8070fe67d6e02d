"""A slice of tests/fuzz/fuzz_serve.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "fuzz" / "fuzz_serve.py"


def test_no_request_is_answered_with_500(
    within: Callable[..., Any], film: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_from_file_location("fuzz_serve", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    server = within()
    (server.folder / "film.mp4").write_bytes(film().read_bytes())
    server.ask("POST", "/api/jobs", film="film.mp4", hold=True)
    with caplog.at_level(logging.ERROR):
        statuses, failed = script.fuzz(server.port, 150, seed=3)
    assert not failed
    assert "Traceback" not in caplog.text
    assert {200, 400, 403, 404} <= set(statuses)
