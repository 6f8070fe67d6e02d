"""A job's own process as the server sees it: its order, its events, its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from derain.pipeline.serve.jobs import Process, Settings
from derain.pipeline.serve.process import LINE, TAIL, JobProcess, lives
from derain.pipeline.serve.work import Order

PATIENCE = 60.0
ORDER = Order(kind="video", source="a.mp4", target="b.mp4", settings=Settings())
Start = Callable[[str], JobProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(script)`: a process that runs it, ended at the end."""
    started: list[JobProcess] = []

    def begin(script: str) -> JobProcess:
        started.append(JobProcess([sys.executable, "-Ic", script], tmp_path / "events.log"))
        return started[-1]

    yield begin
    for each in started:
        each.wait(0)
        each.close()


def test_it_begins_with_its_order_and_tells_events(start: Start) -> None:
    process = start(
        "import json, sys\n"
        "order = json.loads(sys.stdin.readline())\n"
        "print(json.dumps({'event': 'progress', 'frames': 3}), file=sys.stderr)\n"
        "print(json.dumps({'event': 'done', 'target': order['target']}), file=sys.stderr)\n"
    )
    process.begin(ORDER)
    process.wait(PATIENCE)
    assert process.ended() == 0
    assert list(process.events()) == [
        {"event": "progress", "frames": 3},
        {"event": "done", "target": "b.mp4"},
    ]
    assert list(process.events()) == []


def test_a_line_that_is_not_complete_waits_for_its_rest(start: Start, tmp_path: Path) -> None:
    process = start("pass")
    process.wait(PATIENCE)
    with (tmp_path / "events.log").open("a") as log:
        for piece, events in (('{"event": "pro', 0), ('gress"}\n{"event"', 1), (': "done"}\n', 1)):
            log.write(piece)
            log.flush()
            assert len(list(process.events())) == events


def test_what_is_no_event_is_kept_for_a_sentence_about_a_crash(start: Start) -> None:
    process = start(
        "import sys\n"
        "for line in ('[1]', 'null', '{', '', 'one', 'two', 'three', 'four'):\n"
        "    print(line, file=sys.stderr)\n"
        "sys.stderr.buffer.write(b'\\xff\\n')\n"
        "sys.exit(3)\n"
    )
    process.wait(PATIENCE)
    assert list(process.events()) == [] and process.ended() == 3
    assert process.tail == ["two", "three", "four", "�"] and len(process.tail) == TAIL
    assert LINE > 1 << 16


def test_its_input_ends_when_it_is_to_stop(start: Start) -> None:
    process = start("import sys; sys.stdin.readline(); sys.stdin.read(); sys.exit(130)")
    process.begin(ORDER)
    assert process.ended() is None and not process.stopping
    process.stop()
    process.wait(PATIENCE)
    assert process.stopping and process.ended() == 130


def test_who_does_not_end_is_ended(start: Start) -> None:
    process = start("import time; time.sleep(600)")
    process.stop()
    process.wait(0.01)
    assert process.ended() is not None and process.ended() != 0


def test_an_order_to_who_has_died_is_no_failure(start: Start) -> None:
    process = start("raise SystemExit(7)")
    process.wait(PATIENCE)
    process.begin(ORDER)
    assert process.ended() == 7


def test_a_process_is_found_again_by_its_number_and_time(start: Start) -> None:
    process = start("import sys; sys.stdin.read()")
    known = process.known_as
    found = lives(known)
    assert found is not None and found.pid == known.pid
    assert lives(known.model_copy(update={"created": known.created - 60})) is None  # another one
    assert lives(None) is None
    process.stop()
    process.wait(PATIENCE)
    assert lives(known) is None
    assert lives(Process(pid=2**22 + 7, created=psutil.boot_time())) is None
