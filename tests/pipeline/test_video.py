"""Files in and out: time stamps, colour, depth, size, and everything that is not the picture."""

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

from derain.models.contract import DerainError
from derain.pipeline.color import Color
from derain.pipeline.options import Report, VideoOptions
from derain.pipeline.stream import derain_video
from derain.pipeline.video import Encoding, VideoError, VideoReader, read_rgb, write_rgb

LOSSLESS = VideoOptions(precision="fp32", encoding=Encoding("ffv1"))
X264 = VideoOptions(precision="fp32")


def run(
    source: Path, name: str, model: nn.Module, options: VideoOptions = X264
) -> tuple[Path, Report]:
    target = source.parent / name
    return target, derain_video(source, target, options, model=model)


def same_planes(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> bool:
    return len(a) == len(b) > 0 and all(
        np.array_equal(x, y)
        for one, two in zip(a, b, strict=True)
        for x, y in zip(one, two, strict=True)
    )


@pytest.mark.parametrize(
    ("pixel_format", "color"),
    [
        ("yuv420p", (1, 1, 1, 1)),
        ("yuv420p", (6, 6, 6, 1)),
        ("yuv420p", (1, 1, 1, 2)),
        ("yuv422p", (5, 5, 6, 1)),
        ("yuv444p", (9, 9, 14, 1)),
        ("yuv420p10le", (9, 9, 16, 1)),
        ("yuv422p10le", (1, 1, 1, 1)),
        ("gbrp", None),
    ],
)
def test_nothing_changed_gives_the_source_planes(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    pixel_format: str,
    color: tuple[int, int, int, int] | None,
) -> None:
    codec, suffix = ("ffv1", ".mkv") if color else ("utvideo", ".nut")
    source = make_clip(f"in{suffix}", codec=codec, pixel_format=pixel_format, color=color, frames=5)
    options = replace(LOSSLESS, encoding=Encoding(codec))
    target, report = run(source, f"out{suffix}", identity, options)
    before, after = contents(source), contents(target)
    assert report.frames_in == report.frames_out == 5
    assert same_planes(before.planes, after.planes)
    assert after.stream["format"] == pixel_format
    if color is not None:
        assert after.stream["color"] == color


@pytest.mark.parametrize(
    ("pixel_format", "color"),
    [
        ("yuv420p", (1, 1, 1, 1)),
        ("yuv420p", (6, 6, 6, 1)),
        ("yuv420p", (1, 1, 1, 2)),
        ("yuv444p", (9, 9, 14, 1)),
        ("yuv420p10le", (9, 9, 16, 1)),
        ("gbrp", None),
    ],
)
def test_a_change_arrives_in_the_right_colour(
    make_clip: Callable[..., Path],
    pixel_format: str,
    color: tuple[int, int, int, int] | None,
    invert: nn.Module,
) -> None:
    codec, suffix = ("ffv1", ".mkv") if color else ("utvideo", ".nut")
    source = make_clip(f"in{suffix}", codec=codec, pixel_format=pixel_format, color=color, frames=3)
    target, _ = run(source, f"out{suffix}", invert, replace(X264, encoding=Encoding(codec)))
    for before, after in zip(read_rgb(source), read_rgb(target), strict=True):
        error = np.abs(1 - before - after)
        assert error.mean() < 1.2 / 255
        assert np.percentile(error, 99) < 6 / 255


@pytest.mark.parametrize("height", [48, 720])
def test_untagged_colour_is_read_as_players_do(make_clip: Callable[..., Path], height: int) -> None:
    red = np.zeros((height, 64, 3), np.uint8) + np.array([200, 60, 30], np.uint8)

    def matrix(frame: av.VideoFrame, index: int) -> av.VideoFrame:
        return frame.reformat(format="yuv420p", dst_colorspace=1 if height >= 720 else 5)

    source = make_clip(
        "in.mkv",
        codec="ffv1",
        color=None,
        frames=1,
        size=(64, height),
        draw=lambda *_: red,
        adjust=matrix,
    )
    [rgb] = read_rgb(source)
    assert np.abs(rgb.mean((0, 1)) * 255 - [200, 60, 30]).max() < 2


def test_ten_bits_stay_ten_bits_in_the_default_codec(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], invert: nn.Module
) -> None:
    source = make_clip(
        "in.mkv",
        codec="ffv1",
        pixel_format="yuv420p10le",
        color=(9, 9, 16, 1),
        frames=3,
        size=(96, 64),
    )
    target, _ = run(source, "out.mp4", invert)
    found = contents(target).stream
    assert found["codec"] == "hevc"
    assert found["format"] == "yuv420p10le"
    assert found["color"] == (9, 9, 16, 1)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_variable_frame_rate_and_offset_are_exact(
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
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
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
    make_clip: Callable[..., Path], identity: nn.Module
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
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip("in.mkv", audio="libopus")
    target, report = run(source, "out.mov", identity)
    assert any(".mov does not hold" in notice for notice in report.notices)
    assert len(contents(target).times) == 12
    source = make_clip("two.mkv", audio="aac")
    _, report = run(source, "out.webm", identity)
    assert any(".webm does not hold aac" in notice for notice in report.notices)


def test_cover_is_not_taken_for_the_video(
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


def test_rotation_and_pixel_aspect_stay(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        stream.set_display_rotation(-90)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = make_clip("in.mp4", prepare=prepare)
    for name in ("out.mp4", "out.mkv", "out.mov"):
        target, _ = run(source, name, identity)
        with VideoReader(source) as before, VideoReader(target) as after:
            assert before.video.display_matrix is not None
            assert after.video.display_matrix == before.video.display_matrix
            assert after.video.aspect == Fraction(4, 3)
        assert contents(target).stream["size"] == (64, 48)


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (33, 16), (16, 16)])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_odd_sizes_stay(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    size: tuple[int, int],
    name: str,
) -> None:
    source = make_clip("in.mkv", codec="libvpx-vp9", size=size, frames=4)
    target, report = run(source, name, recurrent)
    assert contents(target).stream["size"] == size
    assert report.frames_out == len(contents(target).times) == 4


@pytest.mark.parametrize("size", [(48, 32), (16, 16), (17, 33)])
def test_small_pictures_of_ten_bits(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    size: tuple[int, int],
) -> None:
    source = make_clip("in.mkv", codec="ffv1", pixel_format="yuv420p10le", size=size, frames=20)
    target, _ = run(source, "out.mp4", identity)
    assert len(contents(target).times) == 20
    assert contents(target).stream["format"].endswith("10le")
    with pytest.raises(DerainError, match="x265 fails"):
        run(source, "no.mp4", identity, replace(X264, encoding=Encoding("libx265")))


def test_hdr_metadata_stays(make_clip: Callable[..., Path], identity: nn.Module) -> None:
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    source = make_clip(
        "in.mp4",
        codec="libx265",
        pixel_format="yuv420p10le",
        color=(9, 9, 16, 1),
        frames=3,
        size=(96, 64),
        options={"preset": "ultrafast", "x265-params": f"log-level=none:{light}:max-cll=1000,400"},
    )
    target, _ = run(source, "out.mp4", identity)
    with VideoReader(source) as before, VideoReader(target) as after:
        assert before.video.light["master-display"] == light.split("=")[1]
        assert after.video.light == before.video.light


def test_interlaced_is_deinterlaced_or_kept(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def combed(index: int, width: int, height: int) -> np.ndarray:
        rows = np.random.default_rng(index).integers(16, 235, (height, width, 3), np.uint8)
        rows[1::2] = np.random.default_rng(index + 50).integers(16, 235, rows[1::2].shape, np.uint8)
        return rows

    flags = {"preset": "ultrafast", "flags": "+ildct+ilme"}
    source = make_clip("in.mkv", options=flags, frames=10, draw=combed)
    with VideoReader(source) as reader:
        assert reader.video.interlaced
    target, report = run(source, "clean.mkv", identity)
    assert report.frames_in == report.frames_out == 10
    assert any("deinterlaced" in notice for notice in report.notices)
    with VideoReader(target) as reader:
        assert not reader.video.interlaced
    target, report = run(source, "kept.mkv", identity, replace(X264, interlaced="keep"))
    with VideoReader(target) as reader:
        assert reader.video.interlaced


def test_truncated_and_damaged_files_give_what_they_have(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", frames=60, audio="aac")
    data = source.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    target, report = run(cut, "out.mkv", identity)
    assert 5 < report.frames_out < 60
    with VideoReader(target) as reader:
        assert sum(1 for _ in reader.frames()) == report.frames_out
    spoiled = bytearray(data)
    for place in range(len(data) // 3, 2 * len(data) // 3, 97):
        spoiled[place] ^= 0x5A
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(bytes(spoiled))
    target, report = run(broken, "out2.mkv", identity)
    assert report.damaged
    with VideoReader(target) as reader:
        assert sum(1 for _ in reader.frames()) == report.frames_out


def test_frames_that_an_edit_list_hides_are_explained(
    make_clip: Callable[..., Path], identity: nn.Module
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
    make_clip: Callable[..., Path], identity: nn.Module, suffix: str
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


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "sound", "folder", "moov"])
def test_bad_input_is_one_sentence_and_no_file(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "bad.mp4"
    if kind == "empty":
        source.write_bytes(b"")
    elif kind == "text":
        source.write_text("no video at all\n" * 30)
    elif kind == "sound":
        with av.open(str(source), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    elif kind == "folder":
        source.mkdir()
    elif kind == "moov":
        data = make_clip("whole.mp4").read_bytes()
        source.write_bytes(data[: len(data) * 2 // 3])
        if b"moov" in data[: len(data) * 2 // 3]:
            pytest.skip("the index stands in front")
    with pytest.raises(DerainError) as caught:
        run(source, "out.mp4", identity)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_outputs_are_not_overwritten_and_folders_not_made(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mp4")
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(DerainError, match="-y"):
        run(source, "out.mp4", identity)
    assert (tmp_path / "out.mp4").read_text() == "mine"
    with pytest.raises(DerainError, match="input itself"):
        run(source, "in.mp4", identity, replace(X264, overwrite=True))
    with pytest.raises(DerainError, match="folder"):
        derain_video(source, tmp_path / "no" / "out.mp4", X264, model=identity)
    run(source, "out.mp4", identity, replace(X264, overwrite=True))
    assert (tmp_path / "out.mp4").stat().st_size > 100


def test_encoders_are_checked_before_anything_is_written(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mp4")
    for encoding, words in (
        (Encoding("nothing"), "no encoder"),
        (Encoding("libvpx-vp9", options={"nonsense": "1"}), "no option 'nonsense'"),
        (Encoding(preset="warp"), "cannot start"),
    ):
        with pytest.raises(DerainError, match=words):
            run(source, "out.mp4", identity, replace(X264, encoding=encoding))
    with pytest.raises(DerainError, match="does not go into"):
        run(source, "out.webm", identity, replace(X264, encoding=Encoding("libx264")))
    assert not list(tmp_path.glob("out*"))


def test_a_hardware_encoder_that_is_not_there_falls_back(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip("in.mp4")
    target, report = run(source, "out.mp4", identity, replace(X264, encoding=Encoding("h264_qsv")))
    assert contents(target).stream["codec"] == "h264"
    assert report.frames_out == 12
    if report.notices:
        assert "libx264 is used instead" in report.notices[0]


def test_start_and_end_keep_streams_in_step(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], recurrent: nn.Module
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


def test_picture_sequences_gif_and_generated_sources(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    tmp_path: Path,
) -> None:
    source = make_clip("in.mp4", frames=4)
    _, report = run(source, "%03d.png", identity)
    assert len(list(tmp_path.glob("00?.png"))) == report.frames_out == 4
    pictures = replace(X264, input_options={"framerate": "5"})
    target = tmp_path / "back.mp4"
    report = derain_video(tmp_path / "%03d.png", target, pictures, model=identity)
    assert contents(target).times == pytest.approx([0, 0.2, 0.4, 0.6])
    for a, b in zip(read_rgb(source), read_rgb(target), strict=True):
        assert np.abs(a - b).mean() < 0.02
    _, report = run(source, "out.gif", identity)
    _, report = run(tmp_path / "out.gif", "gif.mp4", identity)
    assert report.frames_out == 4
    lavfi = "lavfi:testsrc2=size=64x48:rate=10:duration=0.5"
    report = derain_video(lavfi, tmp_path / "made.mp4", X264, model=identity)
    assert report.frames_out == 5


def test_layers_and_comparison_are_written(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    tmp_path: Path,
) -> None:
    source = make_clip("in.mp4", frames=4)
    target, _ = run(source, "side.mp4", recurrent, replace(X264, compare="side"))
    assert contents(target).stream["size"] == (128, 48)
    target, _ = run(source, "wipe.mp4", recurrent, replace(X264, compare="wipe"))
    assert contents(target).stream["size"] == (64, 48)
    with pytest.raises(DerainError, match="side or wipe"):
        run(source, "x.mp4", recurrent, replace(X264, compare="up"))


def test_reader_gives_floats_and_writer_takes_bytes(tmp_path: Path) -> None:
    pictures = [np.full((32, 48, 3), 40 * i + 20, np.uint8) for i in range(5)]
    assert write_rgb(tmp_path / "a.mkv", pictures, 10, Encoding("ffv1")) == 5
    back = list(read_rgb(tmp_path / "a.mkv"))
    assert [b.shape for b in back] == [(32, 48, 3)] * 5
    assert back[2].dtype == np.float32
    assert np.allclose([b.mean() * 255 for b in back], [20, 60, 100, 140, 180], atol=1)
    assert len(list(read_rgb(tmp_path / "a.mkv", 2))) == 2
    with pytest.raises(VideoError, match="no pictures"):
        write_rgb(tmp_path / "b.mkv", [])


def test_color_resolves_what_is_not_said() -> None:
    assert Color().resolved(480).matrix == 6
    assert Color().resolved(720).matrix == 1
    assert Color(9).resolved(480).matrix == 9
