"""The first signal is taken note of, the second does what it always does."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from derain.stages.data.loading import STOP_SIGNALS
from derain.stages.training.stopping import StopRequest, stop_requests

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_a_request_with_its_name(number: int) -> None:
    before = signal.getsignal(number)
    with stop_requests() as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request and request.signal == signal.Signals(number).name
        assert signal.getsignal(number) == before  # for the second
    assert signal.getsignal(number) == before


def test_the_second_signal_interrupts() -> None:
    def twice() -> None:
        with stop_requests() as request:
            signal.raise_signal(signal.SIGINT)  # to this thread: others may take one of `kill`
            assert request
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            twice()
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), list[StopRequest]()

    def work() -> None:
        with stop_requests() as request:
            seen.append(request)
            assert signal.getsignal(signal.SIGTERM) == before

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(seen) == 1 and not seen[0]
