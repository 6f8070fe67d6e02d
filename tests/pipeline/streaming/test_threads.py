"""Threads in a line: order, room, alarms, and all of them leaving together."""

from __future__ import annotations

import threading

import pytest

from derain.pipeline.streaming.threads import Channel, Stopped, Worker


def test_items_come_in_order_until_none() -> None:
    channel = Channel(threading.Event())
    for item in (1, 2, None):
        channel.put(item)
    assert list(channel) == [1, 2]


def test_putting_waits_for_room() -> None:
    channel = Channel(threading.Event(), length=1)
    channel.put("first")
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(channel))
    thread.start()
    channel.put("second")
    channel.put(None)
    thread.join(10)
    assert taken == ["first", "second"]


def test_all_leave_when_all_is_over() -> None:
    stop = threading.Event()
    full, empty = Channel(stop, length=1), Channel(stop)
    full.put(1)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Stopped):
        full.put(2)
    with pytest.raises(Stopped):
        next(iter(empty))
    with pytest.raises(Stopped):
        empty.put(1)


def test_who_waits_looks_up_at_an_alarm() -> None:
    alarm = threading.Event()
    channel = Channel(threading.Event(), alarm)
    alarm.set()
    items = iter(channel)
    assert next(items) is None
    channel.put("item")
    assert next(items) == "item"


def test_a_failure_is_kept_and_stops_the_others() -> None:
    stop = threading.Event()

    def fail() -> None:
        raise ValueError("broken")

    worker = Worker("x", fail, stop)
    worker.start()
    worker.join(10)
    assert isinstance(worker.error, ValueError) and stop.is_set()


def test_leaving_because_all_is_over_is_no_failure() -> None:
    stop = threading.Event()

    def leave() -> None:
        raise Stopped

    worker = Worker("x", leave, stop)
    worker.start()
    worker.join(10)
    assert worker.error is None and not stop.is_set()
