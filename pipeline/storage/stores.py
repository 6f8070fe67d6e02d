"""Object stores by fsspec: `s3://`, `gs://`, and for tests `memory://`; the rest is plain paths.

Only stores are known here that can promise what leases need: of two that make one file, one fails.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from derain.models.errors import DerainError, UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

STORES = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "memory": ""}  # and their extra
BLOCK = 8 << 20  # bytes that are fetched at once of a film


class StoreError(DerainError, OSError):
    """A store that cannot be reached, or does not do what it was asked."""


def is_stored(name: str | Path) -> bool:
    """Whether a name is one of an object store."""
    scheme, found, _ = str(name).partition("://")
    return bool(found) and scheme in STORES


def require_local(name: str | Path, advice: str = "name another place, and copy it there") -> None:
    """Refuse a name of a store where something grows that only a disk can hold.

    Args:
        name: of an output; as a `Path` it may have lost a slash.
        advice: what to do instead.

    Raises:
        UsageError: it is one.
    """
    scheme, found, _ = str(name).partition(":/")
    if found and scheme in STORES:
        raise UsageError(f"{name} lies in a store, where nothing can grow; {advice}.")


@cache
def _filesystem(scheme: str) -> AbstractFileSystem:
    import fsspec

    try:
        # Others write there too: what a folder holds is asked each time.
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        extra = STORES[scheme]
        raise StoreError(
            f"{scheme}:// needs an extra; pip install 'derain[{extra}]', or mount the "
            "store and name it as a folder."
        ) from error


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Errors of a store as sentences; that a file is there or is not stays what it is."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, DerainError):
        raise
    except Exception as error:  # each store has errors of its own
        raise StoreError(
            f"{url} cannot be reached ({error}); check the name, and the store's credentials."
        ) from error


@contextmanager
def _writing(url: str) -> Iterator[None]:
    """As `_asking`; stores have no folders to be missing, so what is missing is the bucket."""
    try:
        with _asking(url):
            yield
    except FileNotFoundError as error:
        raise StoreError(
            f"{url} cannot be written ({error}); make its bucket, or check the name."
        ) from error


@dataclass(frozen=True, slots=True)
class StorePath:
    """A name in a store, with the methods of `pathlib.Path` that jobs need."""

    url: str

    @property
    def _system(self) -> AbstractFileSystem:
        return _filesystem(self.url.partition("://")[0])

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> StorePath:
        """What it lies in."""
        return StorePath(self.url.rstrip("/").rpartition("/")[0])

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(f"{self.url.rstrip('/')}/{name}")

    def with_name(self, name: str) -> StorePath:
        """Another name beside this one."""
        return self.parent / name

    def exists(self) -> bool:
        """Whether a file or anything below it is there."""
        with _asking(self.url):
            return bool(self._system.exists(self.url))

    def iterdir(self) -> Iterator[StorePath]:
        """The files right below it; none where nothing is."""
        with _asking(self.url):
            try:
                found = self._system.ls(self.url, detail=True)
            except FileNotFoundError:
                return
        for each in found:
            name = PurePosixPath(str(each["name"])).name
            if each["type"] == "file" and name != self.name:
                yield self / name

    def below(self) -> Iterator[StorePath]:
        """The files in it and in all folders in it."""
        with _asking(self.url):
            found = self._system.find(self.url)
        inside = len(self._system._strip_protocol(self.url))
        for name in found:
            yield self / str(name)[inside:].lstrip("/")

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it."""
        with _asking(self.url):
            return bytes(self._system.cat_file(self.url)).decode(encoding)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write it as a whole: others see it before or after."""
        with _writing(self.url):
            self._system.pipe_file(self.url, text.encode(encoding))

    def create(self, text: str) -> bool:
        """Write it if it is not there; False where it is.

        Whoever loses his connection after he wrote tries again, and finds his own text.
        """
        try:
            with _writing(self.url):
                self._system.pipe_file(self.url, text.encode(), mode="create")
        except (FileExistsError, StoreError):
            if not self.exists():
                raise
            return self.read_text() == text
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete it.

        Raises:
            FileNotFoundError: it was not there, of stores that say so; S3 does not.
        """
        try:
            with _asking(self.url):
                self._system.rm_file(self.url)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove(self) -> None:
        """Delete all that is below it."""
        with _asking(self.url):
            self._system.rm(self.url, recursive=True)

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: stores have no folders."""

    def modified(self) -> float:
        """When it was written, by the store's clock."""
        with _asking(self.url):
            return float(self._system.modified(self.url).timestamp())

    def size(self) -> int:
        """Bytes."""
        with _asking(self.url):
            return int(self._system.size(self.url))

    def fingerprint(self) -> str:
        """What changes when its contents do."""
        with _asking(self.url):
            return str(self._system.ukey(self.url))

    def open(self) -> StoredFile:
        """For reading; it can be wound."""
        with _asking(self.url):
            return StoredFile(self.url, self._system.open(self.url, "rb", block_size=BLOCK))

    def upload(self, file: Path) -> None:
        """Put a local file there, as a whole."""
        with _writing(self.url):
            self._system.put_file(str(file), self.url)


class StoredFile(io.RawIOBase):
    """A file of a store that is read as though it lay on a disk.

    Args:
        url: its name, for errors.
        file: what fsspec opened.
    """

    def __init__(self, url: str, file: AbstractBufferedFile) -> None:
        self.url, self.file = url, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        with _asking(self.url):
            data = self.file.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _asking(self.url):
            return int(self.file.seek(offset, whence))

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        self.file.close()
        super().close()


SharedPath = Path | StorePath


def shared_path(name: str | Path) -> SharedPath:
    """A name as all workers know it: of a store, or a plain path, with or without `file://`.

    Raises:
        StoreError: the extra for this store is missing.
    """
    text = str(name)
    if is_stored(text):
        _filesystem(text.partition("://")[0])
        return StorePath(text.rstrip("/"))
    return Path(unquote(text.removeprefix("file://")) if text.startswith("file://") else text)
