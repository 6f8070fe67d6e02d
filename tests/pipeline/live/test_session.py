"""Live sessions: what opens, dropping, reconnecting, recording, controls, the working size."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from derain.models.errors import DerainError, UsageError
from derain.models.networks.per_frame import PerFrame
from derain.pipeline.live import capture
from derain.pipeline.live.session import Live, LiveOptions
from derain.pipeline.video import read_rgb

LAVFI = "lavfi:testsrc2=size=64x48:rate=25,noise=alls=30:allf=t"  # no frame repeats
PATIENCE = 60.0  # seconds until a test gives up on a busy machine


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until it is true."""
    until = time.perf_counter() + PATIENCE
    while not condition():
        assert time.perf_counter() < until, "nothing happened"
        time.sleep(0.01)


class Slow(nn.Module):
    """A network that takes its time, and darkens."""

    def forward(self, rainy: Tensor) -> Tensor:
        time.sleep(0.15)
        return rainy / 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (LiveOptions("/dev/video77"), "Camera /dev/video77 cannot be opened"),
        (LiveOptions("77", opencv=True), "OpenCV cannot open camera 77"),
        (LiveOptions("lavfi:nonsense"), "cannot make frames of lavfi:nonsense"),
        (LiveOptions("tcp://127.0.0.1:9"), "check the address"),
        (LiveOptions(__file__), "check the file"),
    ],
)
def test_what_cannot_be_opened_is_a_sentence(
    identity: nn.Module, options: LiveOptions, sentence: str
) -> None:
    with pytest.raises(DerainError, match=sentence):
        Live(options, identity)


@pytest.mark.parametrize("wrong", [{"fps": 0}, {"scene_reset": "x"}, {"resolution": "big"}])
def test_wrong_options_are_wrong_use(identity: nn.Module, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--"):
        Live(LiveOptions(LAVFI, **wrong), identity)


def test_opencv_reads_too(make_clip: Callable[..., Path], identity: nn.Module) -> None:
    clip = make_clip(frames=5)
    options = LiveOptions(str(clip), opencv=True, resolution="source")
    with Live(options, identity) as live:
        wait_for(lambda: live.frames >= 1)
        newest = live.broadcaster.newest
    assert newest is not None
    seen, truth = newest.rainy().astype(float), np.array(list(read_rgb(clip)))
    assert min(np.abs(seen - 255 * each).mean() for each in truth) < 3


def test_a_late_network_drops_frames_and_keeps_the_shot() -> None:
    with Live(LiveOptions(LAVFI, resolution="source"), PerFrame(Slow())) as live:
        # A busy machine captures late, too: wait for the drops, not for a time.
        wait_for(lambda: live.frames >= 8 and live.status()["dropped"] >= 8)
        status = live.status()
    assert status["shots"] == 1
    assert status["captured"] >= status["frames"] + status["dropped"]
    assert status["latency"]["network"][0] >= 150


def test_each_third_frame_and_fewer_a_second(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    clip = str(make_clip(frames=12))
    for options, frames in (
        (LiveOptions(clip, every=3, resolution="source"), 4),
        (LiveOptions(clip, fps=12.5, resolution="source"), 6),
    ):
        with Live(options, identity) as live:
            wait_for(lambda live=live: live.ended)
        assert (live.frames, live.latest.dropped, live.capture.captured) == (frames, 0, 12)


def test_a_file_at_its_own_pace_begins_again(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    began = time.perf_counter()
    options = LiveOptions(str(make_clip(frames=5)), realtime=True, loop=True, resolution="source")
    with Live(options, identity) as live:
        wait_for(lambda: live.capture.captured >= 12)
        assert time.perf_counter() - began >= 10 / 25
        wait_for(lambda: live.shots >= 3)


def test_a_lost_stream_comes_back_as_a_new_shot(
    make_clip: Callable[..., Path], identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "BACK_OFF", (0.05, 0.1))
    data = make_clip("in.ts", frames=10).read_bytes()
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def send_and_hang_up() -> None:
        connection, _ = server.accept()
        connection.sendall(data)
        connection.close()

    first = threading.Thread(target=send_and_hang_up)
    first.start()
    options = LiveOptions(f"tcp://127.0.0.1:{port}", resolution="source")
    said: list[str] = []
    with Live(options, identity, said.append) as live:
        wait_for(lambda: live.frames >= 1)
        first.join()
        send_and_hang_up()
        wait_for(lambda: live.capture.reconnects >= 1 and live.shots >= 2)
        server.close()
        wait_for(lambda: live.status()["state"] == "lost")
    words = [line.split()[2] for line in said]
    assert words[:3] == ["lost;", "back", "lost;"]


def test_controls_change_pixels_and_refuse_nonsense(
    make_clip: Callable[..., Path], invert: nn.Module
) -> None:
    options = LiveOptions(str(make_clip(frames=25)), realtime=True, loop=True, resolution="source")
    with Live(options, invert) as live:
        wait_for(lambda: live.frames >= 1)
        shown = live.broadcaster.newest
        assert shown is not None
        assert np.abs(shown.image().astype(int) + shown.rainy() - 255).max() <= 1
        live.control(streaks=0.0)
        at = live.frames
        wait_for(lambda: live.frames > at + 1)
        shown = live.broadcaster.newest
        assert shown is not None
        assert (shown.image() == shown.rainy()).all()
        shots = live.shots
        live.control(new_shot=True)
        wait_for(lambda: live.shots > shots)
        live.control(model="median")
        wait_for(lambda: live.status()["model"] == "median" and live.derainer.latency == 2)
        assert live.derainer.streaks == 0.0
        with pytest.raises(DerainError, match="between 0 and 1"):
            live.control(haze=1.5)
        with pytest.raises(DerainError, match="no model 'nothing'"):
            live.control(model="nothing")


def test_a_paused_file_waits_and_goes_on_without_loss(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    options = LiveOptions(str(make_clip(frames=20)), realtime=True, resolution="source")
    with Live(options, identity) as live:
        wait_for(lambda: live.frames >= 1)
        live.control(paused=True)
        wait_for(lambda: live.status()["state"] == "paused")

        def nothing_comes() -> bool:
            at = live.capture.captured
            time.sleep(0.3)
            return live.capture.captured == at < 20

        wait_for(nothing_comes)
        live.control(paused=False)
        wait_for(lambda: live.ended)
    assert live.capture.captured == 20


def test_a_paused_camera_counts_nothing(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    data = make_clip("in.ts", frames=30).read_bytes()
    server = socket.create_server(("127.0.0.1", 0))
    url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    options = LiveOptions(url, resolution="source", input_options={"probesize": "4096"})
    half = len(data) // 2 // 188 * 188

    def send() -> None:
        connection, _ = server.accept()
        connection.sendall(data[:half])
        began.wait(PATIENCE)
        connection.sendall(data[half:])
        connection.close()

    began = threading.Event()
    sender = threading.Thread(target=send)
    sender.start()
    with Live(options, identity) as live:
        wait_for(lambda: live.frames >= 1)
        live.control(paused=True)
        time.sleep(0.3)  # what was on its way has arrived
        before = live.status()
        began.set()
        wait_for(lambda: live.capture.state == "lost")  # all of it was read
        after = live.status()
        sender.join()
        server.close()
    assert before["captured"] == after["captured"] < 30
    assert before["dropped"] == after["dropped"]


def test_a_slow_network_works_at_a_smaller_size() -> None:
    class PerPixel(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            time.sleep(rainy[0, 0].numel() * 2e-6)
            return rainy

    source = "lavfi:testsrc2=size=480x272:rate=25"
    with Live(LiveOptions(source), PerFrame(PerPixel())) as live:
        wait_for(lambda: live.frames >= 1)
        status = live.status()
    assert status["source_size"] == (480, 272)
    assert 160 <= status["size"][0] < 300
    shown = live.broadcaster.newest
    assert shown is not None and shown.image().shape == (*status["size"][::-1], 3)


def test_a_failing_network_ends_the_session_with_its_sentence() -> None:
    class Broken(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            return rainy * torch.nan

    options = LiveOptions(LAVFI, resolution="source", precision="fp32")
    with pytest.raises(DerainError, match="not finite"), Live(options, PerFrame(Broken())) as live:
        wait_for(lambda: live.ended)
