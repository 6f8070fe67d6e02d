"""Live: sources, dropping, reconnecting, recording, controls, the working size."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from derain.models import Derainer
from derain.models.contract import DerainError
from derain.models.per_frame import PerFrame
from derain.pipeline import live_capture, live_stats
from derain.pipeline.color import Color
from derain.pipeline.jobs import UsageError
from derain.pipeline.live import Live, LiveOptions
from derain.pipeline.live_capture import LiveFrame, Slot
from derain.pipeline.live_size import fit, measure, parse_resolution
from derain.pipeline.live_source import find_source
from derain.pipeline.live_stats import Rate, Times
from derain.pipeline.threads import Stopped
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

    def __init__(self, seconds: float = 0.15) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, rainy: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return rainy / 2


def frame(index: int, cut: bool = False, repeat: bool = False) -> LiveFrame:
    nothing: Any = None
    return LiveFrame(nothing, index, Fraction(1, 25), Color(), index, cut=cut, repeat=repeat)


# The slot


def test_a_newer_frame_takes_the_place_of_the_one_that_waits() -> None:
    slot = Slot(threading.Event())
    for index in range(3):
        slot.put(frame(index))
    slot.end()
    taken = slot.take()
    assert taken is not None and taken.index == 2
    assert slot.dropped == 2
    assert slot.take() is None


@pytest.mark.parametrize(
    ("lost", "newer", "cut", "repeat"),
    [
        (frame(0, cut=True), frame(1), True, False),
        (frame(0), frame(1, repeat=True), False, False),  # repeats what nobody saw
        (frame(0, repeat=True), frame(1, repeat=True), False, True),
        (frame(0, repeat=True), frame(1), False, False),
    ],
)
def test_what_a_dropped_frame_meant_for_the_shot_stays_true(
    lost: LiveFrame, newer: LiveFrame, cut: bool, repeat: bool
) -> None:
    slot = Slot(threading.Event())
    slot.put(lost)
    slot.put(newer)
    taken = slot.take()
    assert taken is newer and (taken.cut, taken.repeat) == (cut, repeat)


def test_a_patient_slot_waits_and_leaves_when_all_is_over() -> None:
    stop = threading.Event()
    slot = Slot(stop, patient=True)
    slot.put(frame(0))
    threading.Timer(0.05, slot.take).start()
    slot.put(frame(1))
    assert slot.dropped == 0
    stop.set()
    with pytest.raises(Stopped):
        slot.put(frame(2))


# Sources


@pytest.mark.parametrize(
    ("word", "platform", "name", "format", "lives"),
    [
        ("1", "linux", "/dev/video1", "v4l2", True),
        ("/dev/video3", "linux", "/dev/video3", "v4l2", True),
        ("0", "darwin", "0", "avfoundation", True),
        ("video=Camera", "win32", "video=Camera", "dshow", True),
        ("rtsp://host/a", "linux", "rtsp://host/a", None, True),
        (LAVFI, "linux", LAVFI, None, False),
    ],
)
def test_words_for_sources(
    word: str, platform: str, name: str, format: str | None, lives: bool
) -> None:
    source = find_source(word, size="320x240", fps=30, platform=platform)
    assert (source.name, source.format, source.lives) == (name, format, lives)
    camera = format in ("v4l2", "avfoundation", "dshow")
    assert source.options.get("video_size") == ("320x240" if camera else None)
    assert ("timeout" in source.options) == word.startswith("rtsp")


def test_windows_numbers_cameras_through_opencv_and_unknown_words_are_refused() -> None:
    assert find_source("0", platform="win32").opencv
    with pytest.raises(DerainError, match=r"no file or camera 'nothing\.mp4'"):
        find_source("nothing.mp4")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (LiveOptions("/dev/video77"), "Camera /dev/video77 cannot be opened"),
        (LiveOptions("77", opencv=True), "OpenCV cannot open camera 77"),
        (LiveOptions("lavfi:nonsense"), "cannot make pictures of lavfi:nonsense"),
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
        newest = live.hub.newest
    assert newest is not None
    seen, truth = newest.rainy().astype(float), np.array(list(read_rgb(clip)))
    assert min(np.abs(seen - 255 * each).mean() for each in truth) < 3


# The way of a frame


def test_a_late_network_drops_frames_and_keeps_the_shot() -> None:
    with Live(LiveOptions(LAVFI, resolution="source"), PerFrame(Slow())) as live:
        # A busy machine captures late, too: wait for the drops, not for a time.
        wait_for(lambda: live.frames >= 8 and live.status()["dropped"] >= 8)
        status = live.status()
    assert status["shots"] == 1
    assert status["captured"] >= status["frames"] + status["dropped"]
    assert status["latency"]["network"][0] >= 150


def test_a_file_is_recorded_frame_by_frame_at_its_times(
    make_clip: Callable[..., Path], recurrent: nn.Module, contents: Callable, tmp_path: Path
) -> None:
    pts = [0, 1, 2, 4, 5, 9, 10, 11]
    clip = make_clip("in.mkv", frames=8, pts=pts)
    target = tmp_path / "out.mkv"
    options = LiveOptions(str(clip), record=str(target), resolution="source")
    with Live(options, recurrent) as live:
        wait_for(lambda: live.ended)
        live.hub.wait(7)
    assert (live.frames, live.slot.dropped) == (8, 0)
    assert contents(target).times == pytest.approx([x / 25 for x in pts], abs=0.002)
    with pytest.raises(DerainError, match="add -y"):
        Live(options, recurrent)
    target.unlink()
    part = tmp_path / "out.part.mkv"
    part.touch()
    with pytest.raises(DerainError, match="interrupted recording"):
        Live(options, recurrent)
    with pytest.raises(DerainError, match="is the source itself"):
        Live(LiveOptions(str(clip), record=str(clip), overwrite=True), recurrent)


def test_a_recording_that_fails_ends_with_a_sentence(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    options = LiveOptions(
        str(make_clip()), record=str(tmp_path / "out.unknown"), resolution="source"
    )
    with pytest.raises(DerainError, match=r"out\.unknown"), Live(options, identity) as live:
        wait_for(lambda: live.ended)


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
        assert (live.frames, live.slot.dropped, live.capture.captured) == (frames, 0, 12)


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
    monkeypatch.setattr(live_capture, "BACK_OFF", (0.05, 0.1))
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


# Controls


def test_controls_change_pixels_and_refuse_nonsense(
    make_clip: Callable[..., Path], invert: nn.Module
) -> None:
    options = LiveOptions(str(make_clip(frames=25)), realtime=True, loop=True, resolution="source")
    with Live(options, invert) as live:
        wait_for(lambda: live.frames >= 1)
        shown = live.hub.newest
        assert shown is not None
        assert np.abs(shown.picture().astype(int) + shown.rainy() - 255).max() <= 1
        live.control(streaks=0.0)
        at = live.frames
        wait_for(lambda: live.frames > at + 1)
        shown = live.hub.newest
        assert shown is not None
        assert (shown.picture() == shown.rainy()).all()
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


def test_layers_are_views_and_each_jpeg_is_made_once(
    make_clip: Callable[..., Path], layered: nn.Module
) -> None:
    options = LiveOptions(str(make_clip(frames=4)), resolution="source")
    with Live(options, layered) as live:
        wait_for(lambda: live.ended)
    shown = live.hub.newest
    assert shown is not None
    assert shown.views == ["derained", "streaks"]
    streaks = shown.picture("streaks")
    assert streaks.shape == (48, 64, 3)
    assert (streaks == streaks[0, 0]).all() and (streaks != shown.picture()).any()
    assert shown.picture("transmission") is shown.picture()  # which this network has not
    one, _ = shown.jpeg()
    pair, spent = shown.jpeg(pair=True)
    assert one[:2] == pair[:2] == b"\xff\xd8" and len(pair) > len(one) and spent["jpeg"] > 0
    again, _ = shown.jpeg(pair=True)
    assert again is pair  # encoded once, for all viewers


# Numbers


@pytest.mark.parametrize(
    ("source", "per_pixel", "rate", "expected"),
    [
        ((640, 360), 1e-9, 25, (640, 360)),  # fast: as it is
        ((640, 361), 1e-9, 25, (640, 361)),
        ((1280, 720), 0.8 / 12 / (640 * 360) * 0.999, 25, (640, 360)),
        ((1280, 720), 0.8 / 6 / (640 * 360) * 0.999, 6, (640, 360)),  # a slow source asks for less
        ((640, 360), 1.0, 25, (160, 88)),  # never smaller
        ((360, 640), 1.0, 25, (160, 288)),
    ],
)
def test_the_working_size_is_what_the_network_can_take(
    source: tuple[int, int], per_pixel: float, rate: float, expected: tuple[int, int]
) -> None:
    assert fit(source, per_pixel, rate) == expected


def test_the_measurement_times_the_network() -> None:
    derainer = Derainer(PerFrame(Slow(0.05)), device="cpu")
    per_pixel = measure(derainer, np.zeros((40, 60, 3), np.float32), seconds=0.2)
    assert 0.05 <= per_pixel * 2400 < 0.5
    assert derainer.state is None


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
    shown = live.hub.newest
    assert shown is not None and shown.picture().shape == (*status["size"][::-1], 3)


def test_resolutions_are_checked() -> None:
    assert parse_resolution("640x360") == (640, 360)
    assert parse_resolution("auto") == "auto"
    for wrong in ("big", "641x360", "8x8"):
        with pytest.raises(DerainError, match="--resolution"):
            parse_resolution(wrong)


def test_percentiles_are_of_each_part_and_of_their_sums() -> None:
    times = Times()
    for value in range(100):
        times.add({"wait": value / 1000, "network": 0.1})
    found = times.percentiles()
    assert found["wait"] == pytest.approx((50, 95))
    assert found["own"] == pytest.approx((50, 95))
    assert found["total"] == pytest.approx((150, 195))
    assert "jpeg" not in found


def test_a_rate_is_of_the_last_seconds_and_falls_when_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(live_stats, "time", SimpleNamespace(perf_counter=lambda: now))
    rate = Rate(seconds=3)
    assert rate.value() == 0
    for moment in (0.0, 5.0, 5.1, 5.2):
        now = moment
        rate.tick()
    now = 5.3
    assert rate.value() == pytest.approx(10)
    now = 15.1
    assert rate.value() == pytest.approx(0.1)


def test_a_failing_network_ends_the_session_with_its_sentence() -> None:
    class Broken(nn.Module):
        def forward(self, rainy: Tensor) -> Tensor:
            return rainy * torch.nan

    options = LiveOptions(LAVFI, resolution="source", precision="fp32")
    with pytest.raises(DerainError, match="not finite"), Live(options, PerFrame(Broken())) as live:
        wait_for(lambda: live.ended)
