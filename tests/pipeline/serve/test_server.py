"""A server that ends in order leaves all to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError

Film = Callable[..., Path]
Start = Callable[..., Any]


def test_an_orderly_end_lets_the_next_server_go_on(within: Start, film: Film) -> None:
    server = within()
    (server.folder / "slow.mp4").write_bytes(film().read_bytes())
    job_id = server.ask("POST", "/api/jobs", film="slow.mp4").json["id"]
    with pytest.raises(DerainError, match="Another derain serve"):
        within()
    server.wait(job_id, lambda job: job["frames"] > 10)
    server.close()
    server = within()
    server.wait(job_id, lambda job: job["state"] == "running" and job["frames"] > 10)
    server.ask("POST", f"/api/jobs/{job_id}/stop")
