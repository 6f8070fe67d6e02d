"""The files beside an output: names, that they are new and one run's alone, and their lock."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from derain.models.errors import VideoError
from derain.pipeline.video.paths import is_file, is_sequence, members

NAME_LIMIT = 255  # bytes of a name, where the file system does not say
LONGEST = len(".part") + len(".resume.new")  # what a helper's name has more than the output's
SUFFIX = 32  # bytes; what is longer is no ending
NOFOLLOW = 0 if sys.platform == "win32" else os.O_NOFOLLOW


@dataclass(slots=True)
class OutputFiles:
    """An output that is one plain file, and what stands beside it while it is made.

    A part that is locked belongs to a run that lives: the system takes the lock away when the
    process ends, however it does.
    """

    target: Path  # where links end
    part: Path
    final: Path  # the part in the output's usual order
    checkpoint: Path
    previous: Path  # the part of an interrupted run, while another goes on from it
    _locks: list[int] = field(default_factory=list)

    def helpers(self) -> tuple[Path, ...]:
        """All but the output."""
        fresh = fresh_name(self.checkpoint)
        return (self.part, self.previous, self.final, self.checkpoint, fresh)

    def leftover(self) -> Path | None:
        """A helper that is there already, be it a link that leads nowhere."""
        return next((path for path in self.helpers() if os.path.lexists(path)), None)

    def remove_helpers(self) -> None:
        """Remove what an interrupted run left, of which nobody wants to go on."""
        for path in self.helpers():
            path.unlink(missing_ok=True)

    def lock(self) -> None:
        """Take the part that is there, if there is one, so that no other run goes on from it.

        Raises:
            VideoError: another run writes it.
        """
        if self._locks:
            return
        for path in (self.part, self.previous):
            try:
                opened = os.open(path, os.O_RDWR | NOFOLLOW)
            except OSError:
                continue  # not there, or a link, which is never written to
            self._hold(opened, path)

    def create(self, overwrite: bool) -> None:
        """Make the part anew: an empty file of its own, locked.

        Args:
            overwrite: whether what is left of an interrupted run may go.

        Raises:
            VideoError: another run writes it, or it cannot be made.
        """
        self.lock()
        left = self.leftover()
        if left is not None and not overwrite:
            self.release()
            raise VideoError(f"{left} is there already; rename it to keep it, or add -y.")
        try:
            self.part.unlink(missing_ok=True)
            self._hold(create_exclusive(self.part, like=self.target), self.part)
        except FileExistsError as error:
            self.release()
            raise self._taken() from error
        except OSError as error:
            self.release()
            raise VideoError(f"{self.target} cannot be made ({error.strerror}).") from error

    def create_final(self) -> Path:
        """Make the empty file that the part is put in order into."""
        replace_exclusive(self.final, like=self.target)
        return self.final

    def _hold(self, opened: int, path: Path) -> None:
        """Lock an open file, unless another one took its name in the meantime."""
        if sys.platform == "win32":
            return os.close(opened)  # files that others have open cannot be removed there
        import fcntl

        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lost = not os.path.samestat(os.fstat(opened), os.lstat(path))
        except FileNotFoundError:
            lost = True
        except OSError as error:
            # Some file systems know no locks: there it must do that the part is made exclusively.
            lost = error.errno in (errno.EWOULDBLOCK, errno.EACCES)
        self._locks.append(opened)
        if lost:
            self.release()
            raise self._taken()

    def _taken(self) -> VideoError:
        return VideoError(
            f"Another run writes {self.target}; wait for its end, or choose another output."
        )

    def release(self) -> None:
        """Let others write the part."""
        while self._locks:
            os.close(self._locks.pop())


def output_files(target: str | Path) -> OutputFiles | None:
    """The files of an output; None where it is no plain file, such as a pipe or a device.

    Names that are too long with more at their end are cut, and told apart by a hash of the whole.

    Raises:
        VideoError: the output's own name is too long for its file system.
    """
    if not is_file(str(target)):
        return None
    path = Path(os.path.realpath(target))
    limit = _name_limit(path.parent)
    if len(os.fsencode(path.name)) > limit:
        raise VideoError(
            f"The name of {target} is longer than the file system takes ({limit} bytes); choose a "
            "shorter one."
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        return None
    stem, suffix = path.stem, path.suffix
    if len(os.fsencode(suffix)) > SUFFIX:
        stem, suffix = path.name, ""
    room = limit - LONGEST - len(os.fsencode(suffix))
    if len(os.fsencode(stem)) > room:
        mark = "~" + sha256(os.fsencode(path.name)).hexdigest()[:8]
        stem = os.fsencode(stem)[: room - len(mark)].decode(errors="ignore") + mark
    part = path.with_name(f"{stem}.part{suffix}")
    return OutputFiles(
        target=path,
        part=part,
        final=path.with_name(f"{stem}.final.part{suffix}"),
        checkpoint=part.with_name(f"{part.name}.resume"),
        previous=path.with_name(f"{stem}.part.previous{suffix}"),
    )


def written_files(target: str | Path) -> list[Path]:
    """All files that are written for an output: itself, or its images, and what stands beside."""
    files = output_files(target)
    if files is not None:
        return [files.target, *files.helpers()]
    return members(str(target)) if is_sequence(str(target)) else [Path(target)]


def check_target(name: str, overwrite: bool) -> None:
    """Refuse a file, or a sequence of images, that could not be made or would replace another.

    Raises:
        VideoError: its folder is not there or read-only, or it is there already.
    """
    target = Path(name)
    folder = Path(os.path.realpath(target)).parent
    if not folder.is_dir():
        raise VideoError(f"There is no folder {folder}; make it first.")
    if not os.access(folder, os.W_OK):
        raise VideoError(f"Nothing may be written in {folder}; choose another.")
    if target.is_dir():
        raise VideoError(f"{target} is a folder; name a file in it.")
    there = [target]
    if is_sequence(name):
        try:
            name % 1
        except (TypeError, ValueError) as error:
            raise VideoError(f"{name} has a second %; leave that of the number.") from error
        there = members(name)
    for path in there:
        if path.is_file() and not overwrite:
            raise VideoError(f"{path} is there already; add -y to replace it.")


def fresh_name(path: Path) -> Path:
    """Where a helper is written before it replaces the one of its name."""
    return path.with_name(path.name + ".new")


def create_exclusive(path: Path, like: Path) -> int:
    """Make an empty file that was not there, never through a link; its open descriptor.

    Args:
        path: the file.
        like: the file that it becomes, whose permissions it gets where that is there.

    Raises:
        OSError: it is there already, or cannot be made.
    """
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW, 0o666)
    if like.is_file() and sys.platform != "win32":
        os.fchmod(opened, like.stat().st_mode & 0o777)
    return opened


def replace_exclusive(path: Path, like: Path) -> None:
    """Make an empty file in the place of one's own left-over; never through a link."""
    path.unlink(missing_ok=True)
    os.close(create_exclusive(path, like))


def _name_limit(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # it will be made there
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return NAME_LIMIT
