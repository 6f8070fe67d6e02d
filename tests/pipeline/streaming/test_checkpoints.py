"""Interruptions: a stop, a kill, a full disk; what is left plays, and a resumed run is the same."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from derain.models import load_model
from derain.models.errors import DerainError
from derain.pipeline.streaming import checkpoints
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Interrupted, Report, VideoOptions
from derain.pipeline.video import Encoding, VideoReader
from derain.pipeline.video.output_files import output_files

FFV1 = VideoOptions(precision="fp32", encoding=Encoding("ffv1"), checkpoint_seconds=0.0)
X264 = replace(FFV1, encoding=Encoding())
Start = Callable[..., Any]

# A slow recurrent run in a process of its own, to be interrupted from outside.
SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from conftest import Recurrent
from derain.pipeline.streaming.inputs import interruptible
from derain.pipeline.streaming.options import Interrupted, VideoOptions
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.video import Encoding
{more}
class Slow(Recurrent):
    frames = 0
    def step(self, frame, state, tiles=None):
        self.frames += 1
        time.sleep({sleep})
        return super().step(frame, state, tiles)
options = VideoOptions(precision="fp32", encoding=Encoding({codec!r}), checkpoint_seconds=0.05)
def progress(report):
    print(report.frames_out, flush=True)
with interruptible() as stop:
    try:
        derain_video({source!r}, {target!r}, options, model=Slow(), progress=progress, stop=stop)
    except Interrupted as error:
        sys.stderr.write(str(error))
        sys.exit(130)
    except Exception as error:
        sys.stderr.write(f"{{type(error).__name__}}: {{error}}")
        sys.exit(1)
"""


@pytest.fixture
def start(forked: Callable[..., Any]) -> Start:
    """`start(source, target, codec)`: SCRIPT at work; `sleep` is seconds, or an expression."""

    def begin(
        source: Path, target: Path, codec: str | None, sleep: float | str = 0.01, more: str = ""
    ) -> Any:
        tests = str(Path(__file__).parents[2])
        return forked(
            script=SCRIPT.format(
                tests=tests,
                source=str(source),
                target=str(target),
                codec=codec,
                sleep=sleep,
                more=more,
            )
        )

    return begin


def wait_for(process: Any, frames: int) -> None:
    for line in process.stdout:
        if int(line) >= frames:
            return
    raise AssertionError(process.stderr.read())


def stopped_after(
    frames: int, source: Path, target: Path, model: nn.Module, options: VideoOptions
) -> str:
    stop = threading.Event()

    def progress(report: Report) -> None:
        if report.frames_out >= frames:
            stop.set()

    with pytest.raises(Interrupted) as caught:
        derain_video(source, target, options, model=model, progress=progress, stop=stop)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["recurrent", "identity"])
def test_a_resumed_run_is_bit_equal(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    request: pytest.FixtureRequest,
    kind: str,
    draw_pattern: Callable[..., np.ndarray],
) -> None:
    model = request.getfixturevalue(kind)

    def draw(index: int, width: int, height: int) -> np.ndarray:
        return draw_pattern(index - (index % 3 == 2), width, height)

    source = make_clip(
        "in.mkv",
        codec="ffv1",
        frames=40,
        audio="aac",
        draw=draw,
        captions=[(0.1, 0.3, "one"), (0.5, 0.7, "two"), (1.1, 1.4, "three")],
    )
    whole, cut = source.parent / "whole.mkv", source.parent / "cut.mkv"
    report = derain_video(source, whole, FFV1, model=model)
    assert report.repeats == 13
    before = contents(whole)
    for at in (1, 2, 7, 20):
        text = stopped_after(at, source, cut, model, FFV1)
        assert "cut.part.mkv" in text
        assert not cut.exists()
        part = contents(source.parent / "cut.part.mkv")
        assert at <= len(part.times) < 40
        again = derain_video(source, cut, replace(FFV1, resume=True), model=model)
        assert again.resumed_at == len(part.times)
        assert (again.frames_in, again.frames_out, again.repeats) == (40, 40, 13)
        after = contents(cut)
        assert before.same_frames(after)
        assert before.times == after.times
        assert before.packets == after.packets
        assert sorted(p.name for p in source.parent.iterdir()) == ["cut.mkv", "in.mkv", "whole.mkv"]
        cut.unlink()


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.webm"])
def test_resuming_keeps_every_packet_once_in_other_containers(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    name: str,
) -> None:
    source = make_clip(
        "in.mkv", frames=50, audio="libopus", captions=[(0.1, 0.3, "one"), (0.9, 1.1, "two")]
    )
    target = source.parent / name
    stopped_after(11, source, target, recurrent, X264)
    stopped_after(30, source, target, recurrent, replace(X264, resume=True))
    report = derain_video(source, target, replace(X264, resume=True), model=recurrent)
    assert report.resumed_at >= 30
    before, after = contents(source), contents(target)
    assert after.times == pytest.approx(before.times, abs=1e-3)
    assert [d for _, d in after.packets[1]] == [d for _, d in before.packets[1]]
    sound = zip(after.packets[1], before.packets[1], strict=True)
    assert all(a[0] == pytest.approx(b[0], abs=1e-3) for a, b in sound)


def test_an_interruption_before_the_place_to_go_on_from_loses_nothing(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=40)
    whole, cut = source.parent / "whole.mkv", source.parent / "cut.mkv"
    derain_video(source, whole, FFV1, model=recurrent)
    stopped_after(20, source, cut, recurrent, FFV1)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted, match="--resume goes on"):
        derain_video(source, cut, replace(FFV1, resume=True), model=recurrent, stop=stop)
    places: list[int] = []
    monkeypatch.setattr(
        checkpoints, "save", lambda _, checkpoint, __: places.append(checkpoint.next_in)
    )
    options = replace(FFV1, resume=True, checkpoint_seconds=0)
    report = derain_video(source, cut, options, model=recurrent)
    assert report.resumed_at >= 20
    assert places and min(places) >= 20  # nothing is saved on the way there
    assert contents(whole).same_frames(contents(cut))


def test_a_part_is_not_lost_by_accident(
    make_clip: Callable[..., Path], recurrent: nn.Module
) -> None:
    source = make_clip("in.mkv", frames=20)
    target = source.parent / "out.mkv"
    stopped_after(5, source, target, recurrent, X264)
    with pytest.raises(DerainError, match="--resume goes on"):
        derain_video(source, target, X264, model=recurrent)
    with pytest.raises(DerainError, match="other options"):
        derain_video(source, target, replace(X264, resume=True, streaks=0.5), model=recurrent)
    derain_video(source, target, replace(X264, overwrite=True), model=recurrent)
    assert sorted(p.name for p in source.parent.iterdir()) == ["in.mkv", "out.mkv"]
    report = derain_video(source, target, replace(X264, resume=True), model=recurrent)
    assert report.skipped


@pytest.mark.parametrize(("codec", "name"), [("ffv1", "out.mkv"), (None, "out.mp4")])
def test_kill_leaves_a_part_that_plays_and_can_be_resumed(
    start: Start,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    codec: str | None,
    name: str,
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=90, audio="aac")
    target = source.parent / name
    process = start(source, target, codec)
    wait_for(process, 60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    part = source.parent / f"out.part{target.suffix}"
    assert not target.exists()
    found = contents(part)
    # x264 looks ahead; what it gave back is there.
    assert len(found.times) >= (57 if codec else 20)
    options = replace(FFV1, encoding=Encoding(codec), resume=True)
    report = derain_video(source, target, options, model=recurrent)
    assert report.resumed_at > 10
    whole = source.parent / ("whole" + target.suffix)
    derain_video(source, whole, replace(options, resume=False), model=recurrent)
    before, after = contents(whole), contents(target)
    assert len(after.times) == 90
    assert after.times == pytest.approx(before.times, abs=1e-6)
    assert after.packets == before.packets
    if codec:
        assert before.same_frames(after)


def test_one_signal_ends_well(
    start: Start, make_clip: Callable[..., Path], contents: Callable[[Path], Any]
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=200)
    process = start(source, source.parent / "out.mp4", None)
    wait_for(process, 5)
    os.kill(process.pid, signal.SIGTERM)
    _, text, code = process.communicate()
    assert code == 130
    assert "out.part.mp4 plays up to there" in text
    assert len(contents(source.parent / "out.part.mp4").times) >= 5


def test_two_signals_end_at_once(start: Start, make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=50)
    # The network is at work on a frame that takes longer than a test may last.
    busy = "600 if self.frames > 5 else 0"
    process = start(source, source.parent / "out.mkv", "ffv1", sleep=busy)
    wait_for(process, 1)
    os.kill(process.pid, signal.SIGINT)
    assert process.stderr.readline().startswith("stopping")
    os.kill(process.pid, signal.SIGINT)
    _, text, code = process.communicate()
    assert code == 130
    assert text == "stopped at once\n"  # not after the last frame, which tells of its part file


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes there")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_full_disk_is_one_sentence_and_keeps_what_is_there(
    start: Start,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    name: str,
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=60)
    target = source.parent / name
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))"
    process = start(source, target, "ffv1", sleep=0, more=limit)
    _, text, code = process.communicate()
    assert code == 1
    assert text.startswith("DerainError") and "cannot be" in text
    assert "out.part" in text
    assert not target.exists()
    # The limit may cut the last packet in two; all before it plays.
    with VideoReader(source.parent / f"out.part{target.suffix}") as part:
        assert sum(1 for _ in part.frames()) > 3
        assert part.damaged <= 1
    options = replace(FFV1, resume=True)
    report = derain_video(source, target, options, model=recurrent)
    assert report.frames_out == 60
    assert len(contents(target).times) == 60


def test_a_failing_network_keeps_the_part(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    class Breaks(nn.Module):
        count = 0

        def forward(self, rainy: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return rainy * (float("nan") if self.count > 9 else 1.0)

    from derain.models.networks.per_frame import PerFrame

    source = make_clip("in.mkv", frames=30)
    target = source.parent / "out.mkv"
    with pytest.raises(DerainError, match=r"not finite.*out\.part\.mkv"):
        derain_video(source, target, X264, model=PerFrame(Breaks()))
    assert not target.exists()
    assert 1 <= len(contents(source.parent / "out.part.mkv").times) <= 9


def test_checkpoints_are_tensors_and_words_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpoints.Checkpoint(9, 7, 6, 7, 2, 1, state=[torch.ones(2, 3), torch.zeros(())])
    files = output_files(tmp_path / "x.mkv")
    assert files is not None
    path = files.checkpoint
    checkpoints.save(files, checkpoint, {"source": "a"})
    back = checkpoints.load(path, {"source": "a"})
    assert (back.next_in, back.next_out, back.prime_from, back.written) == (9, 7, 6, 7)
    assert torch.equal(back.state[0], torch.ones(2, 3))
    assert back.residual is None
    with pytest.raises(DerainError, match="another input"):
        checkpoints.load(path, {"source": "b"})
    monkeypatch.setattr(checkpoints, "FORMAT", 3)
    with pytest.raises(DerainError, match="another version"):
        checkpoints.load(path, {"source": "a"})
    path.write_bytes(b"\x80\x04 pickled")
    with pytest.raises(DerainError, match="cannot be read"):
        checkpoints.load(path, {"source": "a"})


def test_states_come_back_in_their_structure() -> None:
    from typing import NamedTuple

    class State(NamedTuple):
        window: torch.Tensor
        rest: tuple[Any, ...]

    state = State(torch.ones(2), (torch.zeros(3), [torch.ones(1)], None, 4))
    tensors = [t + 1 for t in checkpoints.tensors_of(state)]
    assert [t.numel() for t in tensors] == [2, 3, 1]
    saved = checkpoints.Checkpoint(0, 0, 0, state=tensors)
    back = checkpoints.with_tensors(state, saved)
    assert isinstance(back, State)
    assert back.rest[1][0].item() == 2 and back.rest[2:] == (None, 4)
    for other in (State(torch.ones(5), ()), State(torch.ones(2), ()), torch.ones(2)):
        with pytest.raises(DerainError, match="another network"):
            checkpoints.with_tensors(other, saved)


def tampered(path: Path, **numbers: object) -> None:
    """Change numbers in a checkpoint, as its format allows."""
    with safe_open(str(path), framework="pt") as file:
        noted = json.loads(file.metadata()["derain"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    noted["numbers"] |= numbers
    save_file(tensors, str(path), metadata={"derain": json.dumps(noted)})


@pytest.mark.parametrize(
    "numbers",
    [
        {"next_in": -1},
        {"next_in": 1 << 41},
        {"next_in": "9"},
        {"next_in": 9.5},
        {"next_in": None},
        {"written": 99},
        {"next_out": 99},
        {"prime_from": 99},
        {"final": 3},
        {"more": 1},
    ],
)
def test_numbers_out_of_range_or_order_are_refused(
    tmp_path: Path, numbers: dict[str, object]
) -> None:
    files = output_files(tmp_path / "x.mkv")
    assert files is not None
    checkpoints.save(files, checkpoints.Checkpoint(9, 7, 6, 7), {})
    checkpoints.load(files.checkpoint, {})
    tampered(files.checkpoint, **numbers)
    with pytest.raises(DerainError, match="cannot be read"):
        checkpoints.load(files.checkpoint, {})


@pytest.mark.parametrize("next_in", [35, 1000])
def test_a_checkpoint_that_leaves_frames_out_makes_no_output(
    make_clip: Callable[..., Path], recurrent: nn.Module, next_in: int
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=40)
    target = source.parent / "out.mkv"
    stopped_after(10, source, target, recurrent, FFV1)
    tampered(source.parent / "out.part.mkv.resume", next_in=next_in)
    with pytest.raises(DerainError, match=r"40 frames came and \d+ went out.*-y to start again"):
        derain_video(source, target, replace(FFV1, resume=True), model=recurrent)
    assert not target.exists()
    assert (source.parent / "out.part.mkv").exists()
    report = derain_video(source, target, replace(FFV1, overwrite=True), model=recurrent)
    assert report.frames_out == 40


def test_an_input_is_known_by_its_contents(
    make_clip: Callable[..., Path], recurrent: nn.Module
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=40)
    target = source.parent / "out.mkv"
    stopped_after(10, source, target, recurrent, FFV1)
    moved = source.rename(source.parent / "moved.mkv")
    spoiled = bytearray(moved.read_bytes())
    spoiled[500] ^= 1
    source.write_bytes(bytes(spoiled))  # same name and size
    with pytest.raises(DerainError, match="another input"):
        derain_video(source, target, replace(FFV1, resume=True), model=recurrent)
    report = derain_video(moved, target, replace(FFV1, resume=True), model=recurrent)
    assert report.resumed_at >= 10 and report.frames_out == 40


def test_pipes_and_cameras_cannot_be_gone_on_from(tmp_path: Path) -> None:
    for source in ("-", os.devnull, "rtsp://x/y"):
        assert not checkpoints.is_replayable(source)
    for source in ("http://x/y.mp4", "lavfi:testsrc2", str(tmp_path / "a.mkv")):
        assert checkpoints.is_replayable(source)


@pytest.mark.skipif(sys.platform == "win32", reason="the system locks open files there")
def test_a_second_run_onto_one_output_is_refused(
    start: Start, make_clip: Callable[..., Path], recurrent: nn.Module
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=120)
    target = source.parent / "out.mkv"
    process = start(source, target, "ffv1")
    wait_for(process, 10)
    resume = replace(FFV1, resume=True)
    other_name = source.parent / ".." / source.parent.name / "out.mkv"
    for options in (resume, replace(FFV1, overwrite=True)):
        for again in (target, other_name):
            with pytest.raises(DerainError, match="Another run writes"):
                derain_video(source, again, options, model=recurrent)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    report = derain_video(source, target, resume, model=recurrent)  # the lock went with it
    assert report.frames_out == 120


@pytest.mark.parametrize("name", ["swift", "two_stage", "median", "rescan"])
def test_shipped_networks_go_on_bit_for_bit(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], name: str
) -> None:
    # More frames than can be on their way when a run is told to stop.
    source = make_clip("in.mkv", codec="ffv1", frames=20, size=(48, 32))
    whole, cut = source.parent / "whole.mkv", source.parent / "cut.mkv"
    model = load_model(name)
    derain_video(source, whole, FFV1, model=model)
    stopped_after(1, source, cut, model, FFV1)
    stopped_after(3, source, cut, model, replace(FFV1, resume=True))
    report = derain_video(source, cut, replace(FFV1, resume=True), model=model)
    assert report.resumed_at >= 3
    assert contents(whole).same_frames(contents(cut))
