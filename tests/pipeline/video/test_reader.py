"""What the reader makes of sources that are not plain: which stream, which frames, which times."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from torch import nn

from derain.models.errors import VideoError
from derain.pipeline.streaming.options import Report
from derain.pipeline.video import VideoReader, muxer, reader
from derain.pipeline.video.demuxing import PacketReader

Run = Callable[..., tuple[Path, Report]]


def grey(index: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 20 + 10 * index, np.uint8)


def rewritten(source: Path, name: str, change: Callable[[av.Packet], None]) -> Path:
    """A copy of a file whose packets are changed."""
    target = source.parent / name
    with av.open(str(source)) as file, av.open(str(target), "w") as out:
        copies = {s.index: out.add_stream_from_template(s) for s in file.streams}
        for packet in file.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                change(packet)
                out.mux_one(packet)
    return target


def test_side_data_that_no_list_names_is_passed_over(
    run: Run, tmp_path: Path, identity: nn.Module
) -> None:
    exif = Image.Exif()
    exif[271], exif[274] = "Camera", 6
    for index in range(3):
        frame = Image.fromarray(grey(4 * index, 64, 48))
        frame.save(tmp_path / f"IMG_{index:04d}.jpg", exif=exif)
    with VideoReader(tmp_path / "IMG_%04d.jpg") as reader:
        assert reader.video.display_matrix is not None
        assert len(list(reader.frames())) == 3
    _, report = run(tmp_path / "IMG_%04d.jpg", "out.mp4", identity)
    assert report.frames_out == 3


def test_an_animation_is_taken_not_the_still_before_it(tmp_path: Path) -> None:
    frames = [Image.fromarray(grey(3 * k, 64, 48)) for k in range(6)]
    frames[0].save(tmp_path / "a.avif", duration=100, save_all=True, append_images=frames[1:])
    said: list[str] = []
    with VideoReader(tmp_path / "a.avif", notice=said.append) as reader:
        assert len(list(reader.frames())) == 6
        assert not reader.others
    assert "still image" in said[0]


@pytest.mark.parametrize("suffix", [".flv", ".mkv"])
def test_times_in_order_of_decoding_are_put_in_order_of_showing(
    make_clip: Callable[..., Path], suffix: str
) -> None:
    source = make_clip("in.mkv", frames=20, draw=grey, options={"bf": "3", "b_strategy": "0"})
    clock = iter(range(20))

    def as_decoded(packet: av.Packet) -> None:
        packet.pts = packet.dts = round(Fraction(next(clock), 25) / packet.time_base)

    wrong = rewritten(source, f"wrong{suffix}", as_decoded)
    with VideoReader(wrong) as reader:
        frames = list(reader.frames())
        brightness = [float(reader.to_rgb(frame).mean()) for frame in frames]
    assert [frame.time for frame in frames] == pytest.approx([k / 25 for k in range(20)], abs=0.001)
    assert brightness == sorted(brightness)


def test_a_lost_frame_does_not_move_those_after_it(make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=20)
    wanted = [k for k in range(20) if k != 7]

    with av.open(str(source)) as file:
        lost = bytes(next(packet for packet in file.demux() if packet.pts == 280))
    damaged = source.parent / "damaged.mkv"
    damaged.write_bytes(source.read_bytes().replace(lost, bytes(len(lost))))
    with VideoReader(damaged) as reader:
        times = [round(frame.time * 25) for frame in reader.frames()]
    assert [k for k in times if k != 7] == wanted


@pytest.mark.parametrize("sizes", [[(64, 48), (32, 32)], [(32, 32), (64, 48), (32, 32)]])
def test_interlaced_frames_may_change_their_size(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    sizes: list[tuple[int, int]],
) -> None:
    data = b""
    for number, size in enumerate(sizes):
        part = make_clip(
            f"{number}.ts",
            frames=10,
            size=size,
            codec="mpeg2video",
            options={"flags": "+ildct+ilme", "top": "1", "bf": "0"},
            time_base=Fraction(1, 25),
            pts=list(range(10 * number, 10 * number + 10)),
            adjust=_mark_interlaced,
        )
        data += part.read_bytes()
    source = part.parent / "in.ts"
    source.write_bytes(data)
    with VideoReader(source, interlaced="keep") as reader:
        decoded = sum(1 for _ in reader.frames())  # FFmpeg's decoder loses one at a change
    assert decoded > 9 * len(sizes)
    target, report = run(source, "out.mkv", identity)
    assert any("deinterlaced" in notice for notice in report.notices)
    found = contents(target)
    assert len(found.times) == report.frames_out == decoded
    assert found.stream["size"] == sizes[0]


def _mark_interlaced(frame: av.VideoFrame, index: int) -> av.VideoFrame:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format.name,
        time_base=Fraction(1, 25),
    )
    field = graph.add("setfield", "tff")
    sink = graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    frame.pts, frame.time_base = index, Fraction(1, 25)
    graph.push(frame)
    return graph.pull()


def test_an_encrypted_film_is_refused(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    key, name = "76a6c65c5ea762046bd749a2e632ccbb", "a7e61c373e219033c21091fa607bf3b8"
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": key,
        "encryption_kid": name,
    }
    locked = tmp_path / "locked.mp4"
    with (
        av.open(str(make_clip("in.mp4"))) as file,
        av.open(str(locked), "w", container_options=options) as out,
    ):
        copy = out.add_stream_from_template(file.streams.video[0])
        for packet in file.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux_one(packet)
    with pytest.raises(VideoError, match="is encrypted"):
        VideoReader(locked)
    with VideoReader(locked, options={"decryption_key": key}) as reader:
        assert len(list(reader.frames())) == 12


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts"])
def test_declared_durations_move_nothing(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    name: str,
) -> None:
    """As Matroska's default duration is in films of motion-triggered cameras: 5 s for each."""
    source = make_clip("in.mkv", frames=8, options={"bf": "0"})

    def lengthen(packet: av.Packet) -> None:
        packet.duration = round(5 / packet.time_base)

    target, report = run(rewritten(source, "long.mkv", lengthen), name, identity)
    assert not [text for text in report.notices if "jump back" in text]
    times = contents(target).times
    assert [t - times[0] for t in times] == pytest.approx([k / 25 for k in range(8)], abs=0.0011)


def test_a_seek_gives_the_frames_that_reading_on_gives(make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.mp4", frames=60, options={"g": "10", "bf": "2"})
    with VideoReader(source) as reader:
        whole = {frame.pts: frame.luma().copy() for frame in reader.frames()}
        reader.seek(Fraction(34, 25))
        wound = {frame.pts: frame.luma().copy() for frame in reader.frames()}
    assert max(whole) - min(wound) < 40 * (max(whole) // 59)  # it did not begin at the beginning
    assert max(wound) == max(whole)
    assert all(np.array_equal(whole[pts], luma) for pts, luma in wound.items())


def test_other_streams_are_read_without_the_video(make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.mp4", frames=25, audio="aac")
    with VideoReader(source) as reader:
        packets = [bytes(item) for item in reader if isinstance(item, av.Packet)]
    with VideoReader(source) as reader:
        alone = [bytes(packet) for packet in reader.copied_packets()]
    assert alone == packets != []


def with_late_video(path: Path) -> Path:
    """A second of sound in 50 packets, and only then a frame."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for index in range(50):
            sound = np.full((1, 960), index, np.int16)
            frame = av.AudioFrame.from_ndarray(sound, "s16", "mono")
            frame.sample_rate, frame.pts = 48000, 960 * index
            out.mux(audio.encode(frame))
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(grey(index, 64, 48), format="rgb24")
            frame.pts = 25 + index
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_much_sound_before_the_first_frame_is_not_held(
    run: Run,
    contents: Callable[[Path], Any],
    tmp_path: Path,
    identity: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    source = with_late_video(tmp_path / "late.mkv")
    held, _ = run(source, f"held-{name}", identity)
    monkeypatch.setattr(reader, "PEEKED", 10_000)
    monkeypatch.setattr(muxer, "HELD_BYTES", 10_000)
    with VideoReader(source) as film:
        assert film.late_video and len(film._peeked) == 1
        assert sum(isinstance(item, av.Packet) for item in film) == 50
    target, _ = run(source, name, identity)
    before, after = contents(held), contents(target)
    assert before.same_frames(after) and len(after.times) == 3
    assert after.times == before.times
    assert after.packets == before.packets


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_cannot_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = with_late_video(tmp_path / "late.mkv")
    monkeypatch.setattr(reader, "PEEKED", 10_000)
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(source), str(pipe)]) as feeder:
        with pytest.raises(VideoError, match="write it to a file first"):
            VideoReader(pipe)
        feeder.kill()


def test_packets_that_repeat_a_frame_do_not_end_the_film(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Theora has empty packets for them, which a decoder takes for the end."""
    real = PacketReader.__iter__

    def with_empty(self: PacketReader) -> Iterator[av.Packet]:
        for number, packet in enumerate(real(self)):
            if number == 4:
                empty = av.Packet()
                empty.pts = empty.dts = packet.dts
                empty.time_base, empty.stream = packet.time_base, packet.stream
                yield empty
            yield packet

    monkeypatch.setattr(PacketReader, "__iter__", with_empty)
    with VideoReader(make_clip("in.mkv")) as reader:
        assert len(list(reader.frames())) == 12
        assert reader.damaged == 0
