"""`derain plan`, `work`, `join` and `corpus`: from a film over a folder to a film."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from derain.models.errors import DerainError
from derain.pipeline.distributed import corpus, work
from derain.pipeline.distributed.pool import PoolOptions
from derain.pipeline.streaming.options import VideoOptions

Command = Callable[..., Any]  # conftest.py


def test_a_film_is_planned_worked_on_and_joined(
    derain: Command, make_clip: Callable[..., Path], contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    film, job, target = make_clip(frames=30, audio="aac"), tmp_path / "job", tmp_path / "out.mkv"
    planned = derain("plan", film, "-o", job, "--quality", "fast", "--segment", "0.5")
    assert planned.code == 0, planned.err
    assert f"30 frames, 1 shots, 3 segments; now derain work {job}" in planned.err
    early = derain("join", job, "-o", target)
    assert early.code == 1 and "3 of 3 segments are missing" in early.err
    for index in range(2):  # one after the other: the first takes all
        worked = derain("work", job, "--index", index, "--count", "2", "--threads", "1")
        assert worked.code == 0, worked.err
        assert f"{3 - 3 * index} segments, {30 - 30 * index} frames by this worker" in worked.err
    joined = derain("join", job, "-o", target)
    assert joined.code == 0, joined.err
    assert f"{target}: 30 frames of 3 parts; {job} may be deleted." in joined.err
    found = contents(target)
    assert len(found.times) == 30
    sound = [[data for _, data in each.packets[1]] for each in (found, contents(film))]
    assert sound[0] == sound[1]
    assert "-y" in derain("join", job, "-o", target).err
    assert derain("join", job, "-o", target, "-y").code == 0


def test_segments_that_failed_are_told_and_tried_again_on_demand(
    derain: Command, make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "job"
    assert derain("plan", make_clip(frames=20), "-o", job, "--quality", "fast").code == 0

    def broken(*_: Any, **__: Any) -> None:
        raise DerainError("It does not work; mend it.")

    with monkeypatch.context() as patch:
        patch.setattr(work.Worker, "_derain", broken)
        answer = derain("work", job)
    assert answer.code == 1
    assert "error: Segment 0 failed three times: It does not work; mend it." in answer.err
    assert derain("work", job).code == 1
    assert derain("work", job, "--retry").code == 0


def test_an_estimate_needs_no_job(derain: Command, make_clip: Callable[..., Path]) -> None:
    answer = derain("plan", make_clip(frames=30), "--estimate", "100:50")
    assert answer.code == 0, answer.err
    assert "100 workers" in answer.out
    wrong = derain("plan", make_clip(frames=30), "--estimate", "many")
    assert wrong.code == 2 and "--estimate is like 100:50" in wrong.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["plan", "FILM"], "Name a folder for the job with -o"),
        (["plan", "FILM", "-o", "job", "--start", "2", "--end", "1"], "a later --end"),
        (["work", "job", "--index", "2", "--count", "2"], "the last of 2 workers is 1"),
        (["work", "job", "--threads", "0"], "--threads"),
        (["corpus", "FILM"], "--output"),
    ],
)
def test_wrong_use_ends_with_two(
    derain: Command,
    make_clip: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    film = make_clip(frames=2)
    answer = derain(*(str(film) if word == "FILM" else word for word in words))
    assert answer.code == 2
    assert text in answer.err


def test_a_folder_that_holds_no_plan_is_a_sentence(derain: Command, tmp_path: Path) -> None:
    for words in (["work", tmp_path], ["join", tmp_path, "-o", tmp_path / "a.mkv"]):
        answer = derain(*words)
        assert answer.code == 1 and "derain plan" in answer.err


def test_what_is_asked_of_a_corpus_is_handed_on(
    derain: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What becomes of it is in tests/pipeline/distributed/test_corpus.py."""
    given: dict[str, Any] = {}

    def run(
        inputs: list[str],
        output: str,
        options: VideoOptions,
        pool: PoolOptions,
        *_: Any,
        **more: Any,
    ) -> int:
        given.update(more, inputs=inputs, output=output, options=options, pool=pool)
        return 1

    monkeypatch.setattr(corpus, "run_corpus", run)
    words = ["--quality", "fast", "--workers", "3", "--segment", "9", "--disk-budget", "1.5"]
    answer = derain("corpus", "a.txt", "b", "-o", "out", *words, "--streaks", "0.5", "-r")
    assert answer.code == 1
    assert (given["inputs"], given["output"], given["recursive"]) == (["a.txt", "b"], "out", True)
    assert given["budget"] == 1_500_000_000
    assert (given["pool"].workers, given["pool"].segment, given["pool"].ray) == (3, 9, None)
    assert (given["options"].model, given["options"].streaks) == ("median", 0.5)
