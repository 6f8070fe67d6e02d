"""The files beside an output: names that fit, made anew and never through a link, locked."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from derain.models.errors import DerainError, VideoError
from derain.pipeline.video.output_files import OutputFiles, output_files, written_files
from derain.pipeline.video.paths import require_other_file

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="links, modes and locks of POSIX")


def files_for(target: Path) -> OutputFiles:
    files = output_files(target)
    assert files is not None
    return files


@pytest.mark.parametrize(
    "stem", ["x" * 251, "雨" * 80, "雨" * 83, "x" * 230, "short", "e\u0301" * 90]
)
def test_names_of_helpers_fit_the_file_system(tmp_path: Path, stem: str) -> None:
    while len(os.fsencode(stem)) > 251:
        stem = stem[:-1]
    files = files_for(tmp_path / f"{stem}.mp4")
    names = [path.name for path in files.helpers()]
    assert len(set(names)) == 5 and files.target.name not in names
    for path in files.helpers():
        path.touch()
    assert files.part.suffix == files.final.suffix == files.previous.suffix == ".mp4"
    other = files_for(tmp_path / f"{stem[:-1]}y.mp4")
    assert not set(other.helpers()) & set(files.helpers())


def test_a_name_that_does_not_fit_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="255 bytes"):
        output_files(tmp_path / ("x" * 252 + ".mp4"))


def test_what_is_no_plain_file_has_none(tmp_path: Path) -> None:
    assert output_files("-") is None
    assert output_files("http://x/y.mp4") is None
    assert output_files(tmp_path / "%05d.png") is None
    assert output_files(os.devnull) is None
    assert output_files(tmp_path / "rain%2dshot.mp4") is not None


@POSIX
def test_helpers_are_never_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    files = files_for(tmp_path / "out.mp4")
    for path in files.helpers():
        path.symlink_to(victim)
    with pytest.raises(VideoError, match="there already"):
        files.create(overwrite=False)
    files.create(overwrite=True)
    assert not files.part.is_symlink() and files.part.is_file()
    files.create_final()
    assert not files.final.is_symlink() and files.final.is_file()
    files.release()
    assert victim.read_text() == "mine"
    lost = files_for(tmp_path / "lost.mp4")
    lost.part.symlink_to(tmp_path / "nowhere")
    with pytest.raises(VideoError, match=r"lost\.part\.mp4 is there"):
        lost.create(overwrite=False)


@POSIX
def test_helpers_have_the_mode_of_what_they_become(tmp_path: Path) -> None:
    files = files_for(tmp_path / "out.mp4")
    files.target.touch(0o600)
    files.create(overwrite=True)
    files.create_final()
    files.release()
    for path in (files.part, files.final):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@POSIX
def test_a_part_is_one_runs_alone(tmp_path: Path) -> None:
    one, other = files_for(tmp_path / "out.mkv"), files_for(tmp_path / "out.mkv")
    one.lock()  # nothing is there yet
    one.create(overwrite=False)
    for attempt in (other.lock, lambda: other.create(overwrite=True)):
        with pytest.raises(VideoError, match="Another run writes"):
            attempt()
    one.part.rename(one.previous)  # as a resumed run does
    with pytest.raises(VideoError, match="Another run writes"):
        other.lock()
    one.release()
    other.lock()
    other.create(overwrite=True)
    with pytest.raises(VideoError, match="Another run writes"):
        one.create(overwrite=True)
    other.release()


@POSIX
def test_a_link_leads_to_the_output(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "out.mkv").symlink_to(tmp_path / "deep" / "real.mkv")
    files = files_for(tmp_path / "out.mkv")
    assert files.target == (tmp_path / "deep" / "real.mkv").resolve()
    assert {path.parent.name for path in files.helpers()} == {"deep"}


@POSIX
def test_an_input_is_known_by_any_of_its_names(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    for index, path in enumerate(written_files(target)):
        source = tmp_path / f"source{index}.mp4"
        source.write_text("film")
        path.hardlink_to(source)
        link = tmp_path / f"link{index}.mp4"
        link.symlink_to(source)
        for name in (str(path), str(source), str(link), f"file:{link}", f"concat:{link}|x.ts"):
            with pytest.raises(DerainError, match="is the input itself"):
                require_other_file(name, written_files(target))
        path.unlink()
        require_other_file(source, written_files(target))


def test_images_of_a_sequence_are_known(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index:05d}.png").touch()
    pattern = str(tmp_path / "%05d.png")
    with pytest.raises(DerainError, match="is the input itself"):
        require_other_file(pattern, written_files(pattern))
    with pytest.raises(DerainError, match="is the input itself"):
        require_other_file(tmp_path / "00002.png", written_files(pattern))
    require_other_file(pattern, written_files(tmp_path / "o%05d.png"))
