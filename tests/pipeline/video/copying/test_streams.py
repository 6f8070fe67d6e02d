"""What is beside the frames: time stamps, sound, captions, covers, the count of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, VideoReader, write_rgb
from derain.pipeline.video.copying.streams import bitstream_filter, new_extradata, whole_segments
from derain.pipeline.video.demuxing import copy_of

Run = Callable[..., tuple[Path, Report]]
LOSSLESS = VideoOptions(precision="fp32", encoding=Encoding("ffv1"))
X264 = VideoOptions(precision="fp32")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_variable_frame_rate_and_offset_are_exact(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    suffix: str,
) -> None:
    pts = [
        90000 + int(t) for t in np.cumsum([0, 3003, 1501, 6006, 2999, 3333, 9009, 1234, 2000, 7])
    ]
    source = make_clip(
        "in.mp4",
        frames=len(pts),
        time_base=Fraction(1, 90000),
        pts=pts,
        audio="aac",
        audio_start=0.9,
    )
    before = contents(source)
    target, report = run(source, f"out{suffix}", recurrent)
    after = contents(target)
    assert report.frames_out == len(pts)
    exact = 0.00051 if suffix == ".mkv" else 1e-6
    shift = after.packets[1][0][0] - before.packets[1][0][0]  # of the sound, which is copied
    assert [t - shift for t in after.times] == pytest.approx(before.times, abs=exact + 1e-5)
    assert [data for _, data in after.packets[1]] == [data for _, data in before.packets[1]] or (
        suffix == ".ts"  # AAC gets its ADTS header there
    )
    if suffix != ".ts":
        assert abs(shift) < 0.0011


def test_sound_captions_chapters_and_words_come_along(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        container.metadata["title"] = "Rain"
        stream.metadata["language"] = "fra"
        container.set_chapters(
            [
                {
                    "id": 1,
                    "start": 0,
                    "end": 240,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "one"},
                },
                {
                    "id": 2,
                    "start": 240,
                    "end": 480,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "two"},
                },
            ]
        )

    captions = [(0.04, 0.2, "first"), (0.24, 0.4, "second\nline")]
    source = make_clip("in.mkv", audio="aac", captions=captions, prepare=prepare)
    before = contents(source)
    for name, text in (("a.mkv", "subrip"), ("a.mp4", "mov_text"), ("a.mov", "mov_text")):
        target, _ = run(source, name, identity)
        after = contents(target)
        assert [d for _, d in after.packets[1]] == [d for _, d in before.packets[1]]
        with av.open(str(target)) as container:
            assert container.metadata["title"] == "Rain"
            assert [c["metadata"]["title"] for c in container.chapters()] == ["one", "two"]
            stream = container.streams.subtitles[0]
            assert stream.codec_context.name.replace("srt", "subrip") == text
            assert container.streams.audio[0].metadata["language"] in ("deu", "ger")
            assert container.streams.video[0].metadata["language"] == "fra"
        said = [(t, d if text == "subrip" else d[2:]) for t, d in after.packets[2] if len(d) > 2]
        assert said == [
            (pytest.approx(start, abs=1e-3), words.encode()) for start, _, words in captions
        ]
    back, _ = run(source.parent / "a.mp4", "back.mkv", identity)
    assert [d for _, d in contents(back).packets[2]] == [b"first", b"second\nline"]


def test_attachments_stay_and_are_named_where_they_cannot(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        container.add_attachment("letters.ttf", "font/ttf", b"letters" * 50)

    source = make_clip("in.mkv", prepare=prepare)
    kept, _ = run(source, "out.mkv", identity)
    with av.open(str(kept)) as container:
        [attachment] = [s for s in container.streams if s.type == "attachment"]
        assert attachment.data == b"letters" * 50
        assert attachment.metadata["filename"] == "letters.ttf"
    _, report = run(source, "out.mp4", identity)
    assert any("attachment" in notice for notice in report.notices)


def test_sound_that_does_not_fit_is_named(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip("in.mkv", audio="libopus")
    target, report = run(source, "out.mov", identity)
    assert any(".mov does not hold" in notice for notice in report.notices)
    assert len(contents(target).times) == 12
    source = make_clip("two.mkv", audio="aac")
    _, report = run(source, "out.webm", identity)
    assert any(".webm does not hold aac" in notice for notice in report.notices)


def test_cover_is_not_taken_for_the_video(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    tmp_path: Path,
) -> None:
    clip = make_clip("clip.mp4", audio="aac")
    write_rgb(tmp_path / "c.png", [np.full((32, 32, 3), 90, np.uint8)])
    png = (tmp_path / "c.png").read_bytes()
    source = tmp_path / "in.mp4"
    with av.open(str(clip)) as before, av.open(str(source), "w") as out:
        cover = out.add_mux_stream("png", width=32, height=32)
        cover.disposition = av.stream.Disposition.attached_pic
        copies = {s.index: out.add_stream_from_template(s) for s in before.streams}
        packet = av.Packet(png)
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 25)
        packet.is_keyframe = True
        out.mux(packet)
        for packet in before.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    for name in ("out.mp4", "out.mkv"):
        target, report = run(source, name, identity)
        assert report.frames_out == 12
        with av.open(str(target)) as container:
            covers = [s for s in container.streams.video if s.disposition & 1024]
            assert len(covers) == 1, report.notices
            assert bytes(next(container.demux(covers[0]))) == png


def test_start_and_end_keep_streams_in_step(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], recurrent: nn.Module
) -> None:
    source = make_clip(
        "in.mkv",
        frames=50,
        audio="aac",
        captions=[(0.4, 1.2, "still on")],
        options={"preset": "ultrafast", "crf": "10", "g": "10"},
    )
    options = replace(LOSSLESS, start=0.8, end=1.6)
    target, _ = run(source, "out.mkv", recurrent, options)
    before, after = contents(source), contents(target)
    assert after.times == pytest.approx([t - 0.8 for t in before.times if 0.8 <= t < 1.6], abs=2e-3)
    sound = {data: time for time, data in before.packets[1]}
    assert after.packets[1]
    for time, data in after.packets[1]:
        assert sound[data] - time == pytest.approx(0.8, abs=2e-3)
    assert after.packets[2][0] == (pytest.approx(0, abs=2e-3), b"still on")
    # What came before the cut is in the network's memory, as in an uncut run.
    whole, _ = run(source, "whole.mkv", recurrent, LOSSLESS)
    first = next(i for i, t in enumerate(before.times) if t >= 0.8)
    difference = np.abs(
        contents(whole).planes[first][0].astype(int) - after.planes[0][0].astype(int)
    )
    assert difference.max() <= 1


def test_frames_that_an_edit_list_hides_are_explained(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mp4", frames=12)
    _, report = run(source, "plain.mp4", identity)
    assert (report.total, report.frames_out, report.notices) == (12, 12, [])
    with VideoReader(source) as reader:
        later = round(Fraction(3, 25) / reader.stream.time_base)
    data = bytearray(source.read_bytes())
    place = data.index(b"elst") + 16  # version, how many, duration
    media_time = int.from_bytes(data[place : place + 4], "big") + later
    data[place : place + 4] = media_time.to_bytes(4, "big")
    source.write_bytes(data)
    _, report = run(source, "cut.mp4", identity)
    assert (report.total, report.frames_out) == (9, 9)
    [notice] = report.notices
    assert "edit list hides 3 of its 12 frames" in notice


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_frames_are_counted_where_the_header_is_wrong(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, suffix: str
) -> None:
    """An AVI's counts ticks of its time base, a fragmented MP4's the first fragment."""
    ticks = {"time_base": Fraction(1, 50), "pts": list(range(0, 24, 2))} if suffix == ".avi" else {}
    source = make_clip(f"in{suffix}", options={"bf": "0", "g": "5"}, **ticks)
    if suffix == ".mp4":
        whole, source = source, source.with_name("fragmented.mp4")
        fragments = {"movflags": "frag_keyframe"}
        with av.open(str(whole)) as a, av.open(str(source), "w", container_options=fragments) as b:
            stream = b.add_stream_from_template(a.streams.video[0])
            for packet in a.demux():
                if packet.size:
                    packet.stream = stream
                    b.mux(packet)
    with VideoReader(source) as reader:
        assert reader.stream.frames != 12
    _, report = run(source, "out.mkv", identity)
    assert (report.total, report.frames_out, report.notices) == (12, 12, [])


def test_sound_without_a_layout_goes_into_mp4(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip("in.mov", audio="pcm_s16le")
    source.write_bytes(source.read_bytes().replace(b"chan", b"free"))
    target, report = run(source, "out.mp4", identity)
    after = contents(target)
    assert (report.frames_out, len(after.times), report.notices) == (12, 12, [])
    assert b"".join(data for _, data in after.packets[1])


AMR = bytes([0x3C]) + bytes(31)  # one frame of 20 ms


def speech(clip: Path, packets: list[bytes]) -> Path:
    """A film with telephone sound in these packets."""
    source = clip.with_name("in.nut")
    with av.open(str(clip)) as film, av.open(str(source), "w") as out:
        stream = out.add_stream_from_template(film.streams.video[0])
        sound = out.add_stream("libopencore_amrnb", rate=8000)
        sound.codec_context.layout = "mono"
        for packet in film.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = 160 * number
            packet.time_base, packet.stream = Fraction(1, 8000), sound
            packet.is_keyframe = True
            out.mux(packet)
    return source


def test_sound_that_is_refused_with_its_first_packet_is_left_out(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    """MP4 wants one frame of AMR a packet and says so only when one comes."""
    source = speech(make_clip(), [2 * AMR] * 5)
    target = source.with_name("out.3gp")
    [notice] = derain_video(source, target, X264, model=identity).notices
    assert "Audio stream 1 is left out: .3gp refuses the packets of amrnb" in notice
    assert "a .mov output may keep it" in notice
    assert len(contents(target).times) == 12


def test_packets_that_are_refused_half_way_do_not_cost_the_film(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    packets = [AMR[:-1] + bytes([number]) for number in range(20)]
    packets[6] *= 2
    source = speech(make_clip(), packets)
    target = source.with_name("out.3gp")
    [notice] = derain_video(source, target, X264, model=identity).notices
    assert "Packets of stream 1 are left out (1): .3gp refuses them" in notice
    after = contents(target)
    assert len(after.times) == 12
    del packets[6]
    assert [data for _, data in after.packets[1]] == packets
    # FFmpeg fills the gap with the packet behind it; from there on all is in its place.
    times = [0.02 * number for number in range(20) if number != 7]
    assert [time for time, _ in after.packets[1]] == pytest.approx(times, abs=1e-3)


@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_captions_that_nobody_would_find_again_are_left_out(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    suffix: str,
) -> None:
    """FFmpeg writes them without a code that says what they are."""
    source = make_clip("in.mkv", captions=[(0.04, 0.2, "first")])
    target = source.with_name(f"out{suffix}")
    notices = derain_video(source, target, X264, model=identity).notices
    assert any(f"Subtitle stream 1 is left out: {suffix} has no code" in text for text in notices)
    assert len(contents(target).times) == 12


def test_a_damaged_first_packet_does_not_hide_the_header(make_clip: Callable[..., Path]) -> None:
    """AAC of a transport stream has its header in every packet."""
    with av.open(str(make_clip("in.ts", audio="aac"))) as file:
        stream = file.streams.audio[0]
        packets = [copy_of(p) for p, _ in zip(file.demux(stream), range(3), strict=False)]
        spoiled = copy_of(packets[0], b"\xff\xf0\x50\x40\x02\xff\xff\0\0\0")
        spoiled.time_base = packets[0].time_base
        convert = bitstream_filter("aac_adtstoasc", stream)
        assert new_extradata(convert, [spoiled]) is None
        assert new_extradata(convert, [spoiled, *packets]) == b"\x11\x90"


@pytest.mark.parametrize(
    ("payload", "whole"),
    [(b"\x80\0\0", True), (b"\x15\0\2xy\x80\0\0", True), (b"\x80\1\0", False), (b"\x80\0", False)],
)
def test_damaged_captions_of_a_disc_go_no_further(payload: bytes, whole: bool) -> None:
    """Of segments that are longer than their packet FFmpeg's muxer makes packets of the film."""
    packet = av.Packet(payload)
    if whole:
        assert whole_segments(packet) == [packet]
    else:
        with pytest.raises(av.InvalidDataError):
            whole_segments(packet)
