"""`derain video` and `derain image`: words in, one sentence or a file out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from derain.models import create_model, load_model, save_model
from derain.pipeline.cli.restore import check_targets
from derain.pipeline.streaming.inputs import Task
from derain.pipeline.streaming.quality import NETWORKS, choose_model

Command = Callable[..., Any]  # conftest.py


@pytest.fixture
def loads_identity(monkeypatch: pytest.MonkeyPatch, identity: nn.Module) -> None:
    monkeypatch.setattr("derain.models.load_model", lambda *_: identity)


WRONG = {
    "--device gpu": "'gpu' is no device",
    "--precision fp8": "'fp8' is not one of",
    "--tile big": "'big' is not auto, off",
    "--tile 0": "'0' is not auto, off",
    "-m swft": "did you mean 'swift'?",
    "--crf 99": "--crf",
    "--crf -1": "--crf",
    "--quality good": "'good' is not one of",
    "--compare up": "'up' is not one of",
    "--interlaced no": "'no' is not one of",
    "--scene-reset on": "'on' is not one of",
    "--streaks 3": "between 0 and 1",
    "--start soon": "not a time",
    "--start 2 --end 2": "a later --end",
    "--end 0": "a later --end",
    "--encoder-opt fast": "key=value",
    "--input-opt =5": "key=value",
    "--shard 7": "--shard is like",
    "--jobs 0": "--jobs",
    "--hwaccel nosuch": "'nosuch' is no kind of device",
    "--nosuch": "No such option",
}


@pytest.mark.usefixtures("loads_identity")
@pytest.mark.parametrize("words", WRONG)
def test_wrong_use_ends_with_two_and_says_why(derain: Command, words: str) -> None:
    answer = derain("video", "a.mp4", "-o", "x.mp4", *words.split())
    assert answer.code == 2
    assert WRONG[words] in " ".join(answer.err.replace("│", " ").split())
    assert answer.out == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.mp4"], "derain video a.mp4 -o a_clean.mp4"),
        (["a.mp4", "b.mp4"], "derain video a.mp4 -o b.mp4"),
        (["films"], "derain video films -o derained"),
    ],
)
def test_a_missing_output_is_answered_with_the_whole_command(
    derain: Command, words: list[str], told: str
) -> None:
    answer = derain("video", *words)
    assert answer.code == 2 and answer.err.strip().endswith(f"goes: {told}")


@pytest.mark.usefixtures("loads_identity")
def test_what_is_not_there_ends_with_one(derain: Command) -> None:
    answer = derain("video", "missing.mp4", "-o", "x.mp4")
    assert answer.code == 1
    assert "There is no file missing.mp4" in answer.err


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("clean", "write clean.mp4, clean/ for a folder"),
        ("clean.png", "write clean_%05d.png for an image a frame"),
        ("a/clean.JPG", "write clean_%05d.JPG"),
    ],
)
def test_a_target_no_film_goes_into_is_told_at_once(
    derain: Command, target: str, words: str
) -> None:
    answer = derain("video", "a.mp4", "-o", target)
    assert answer.code == 2
    assert words in answer.err


def test_other_targets_are_let_through() -> None:
    for target in ("a.mp4", "a_%05d.png", "-", "rtmp://host/app", "a.nosuch", "50%.mkv"):
        check_targets([Task("in.mp4", target)], None)
    check_targets([Task("in.mp4", "clean")], "matroska")


def test_a_device_that_is_not_there_is_named_and_the_film_done(
    derain: Command, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    from av.codec.hwaccel import HWAccel

    try:
        HWAccel("cuda").create(__import__("av").Codec("h264", "r"))
    except OSError:
        pass
    else:
        pytest.skip("a CUDA decoder is here")
    clip = make_clip(frames=3)
    answer = derain("video", clip, "-o", tmp_path / "out.mkv", "-m", "median", "--hwaccel", "cuda")
    assert answer.code == 0
    assert "no working device for --hwaccel cuda; the CPU decodes" in answer.err


# Which network


def test_quality_names_networks_that_are_ready() -> None:
    from derain.models.registry import is_ready

    for kind, levels in NETWORKS.items():
        assert all(is_ready(name) for name in levels.values())
        assert choose_model(kind) == (levels["balanced"], None)
        assert choose_model(kind, quality="fast") == (levels["fast"], None)
        assert choose_model(kind, "rescan", quality="best") == ("rescan", None)


@pytest.mark.parametrize("name", ["swift", "spanet"])
def test_weights_alone_say_their_network(
    derain: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Of `derain train` and of the original authors, though the file be called as a network is."""
    import cv2
    import numpy as np
    import torch

    monkeypatch.chdir(tmp_path)
    cv2.imwrite("in.png", np.full((24, 32, 3), 90, np.uint8))
    save_model(load_model(name).net if name == "spanet" else create_model(name), "median")
    answer = derain("image", "in.png", "-o", "out.png", "--weights", "median")
    assert answer.code == 0, answer.err
    assert ("compares frames" in answer.err) == (name == "swift")
    wrong = derain("image", "in.png", "-o", "b.png", "--weights", "median", "-m", "rescan")
    assert wrong.code == 1
    assert f"holds weights of '{name}', not of 'rescan'" in wrong.err
    torch.save({"nothing": torch.zeros(1)}, "none.pth")
    unknown = derain("image", "in.png", "-o", "c.png", "--weights", "none.pth")
    assert unknown.code == 1
    assert "weights of no network known here" in unknown.err


# Whole runs


@pytest.mark.usefixtures("loads_identity")
def test_the_command_makes_a_video(
    derain: Command, make_clip: Callable[..., Path], contents: Callable[[Path], Any], tmp_path: Path
) -> None:
    clip = make_clip("a.mp4", frames=5, audio="aac")
    options = [
        "--precision",
        "fp32",
        "--preset",
        "ultrafast",
        "--crf",
        "30",
        "--encoder-opt",
        "tune=film",
    ]
    answer = derain("video", clip, "-o", tmp_path / "b.mp4", *options)
    assert answer.code == 0, answer.err
    assert len(contents(tmp_path / "b.mp4").times) == 5


@pytest.mark.parametrize("codec", ["libsvtav1", "libx265", "libvpx-vp9"])
def test_encoders_print_nothing_of_their_own(
    forked: Callable[..., Any], make_clip: Callable[..., Path], tmp_path: Path, codec: str
) -> None:
    """They write to the process's standard error, which only another process can look at."""
    clip, target = make_clip(frames=2, size=(64, 64)), str(tmp_path / f"{codec}.mkv")
    process = forked("video", str(clip), "-o", target, "-m", "median", "--codec", codec)
    _, said, code = process.communicate()
    assert code == 0, said
    assert [line for line in said.splitlines() if "frames," not in line] == []


def test_pipes_carry_frames_and_nothing_else(
    forked: Callable[..., Any],
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    """A y4m stream comes in by standard input, NUT goes out by standard output."""
    source = make_clip("in.y4m", codec="wrapped_avframe", frames=6, color=None, options={"x": "y"})
    script = (
        f"os.dup2(os.open({str(source)!r}, os.O_RDONLY), 0)\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "import conftest, derain.models\n"
        "from derain.models.networks.per_frame import PerFrame\n"
        "derain.models.load_model = lambda *_: PerFrame(conftest.Identity())\n"
        "from derain.pipeline.cli.main import main\n"
        "main()\n"
    )
    words = ("video", "-", "-o", "-", "--precision", "fp32")
    output, said, code = forked(*words, script=script).communicate()
    assert code == 0, said
    (tmp_path / "out.nut").write_bytes(output)
    assert len(contents(source).times) == 6
    assert contents(tmp_path / "out.nut").same_frames(contents(source))
