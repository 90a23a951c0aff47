"""Opens files as bytes, whatever they are compressed with, and says in a sentence what is wrong with one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isal import igzip, isal_zlib

from lit.streams.errors import FaultError, UserError

#: Suffix → what such a file begins with, and what it is called.
_MAGIC = {
    ".gz": (b"\x1f\x8b", "gzip"),
    ".bz2": (b"BZh", "bzip2"),
    ".xz": (b"\xfd7zXZ\x00", "xz"),
    ".zst": (b"\x28\xb5\x2f\xfd", "zstd"),
    ".zip": (b"PK", "zip"),
}
_DAMAGED: tuple[Any, ...] = (
    EOFError, zlib.error, isal_zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError,
)  # fmt: skip


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is read into sentences.

    Raises
    ------
    UserError
        If it is missing, a folder, not readable for this user, damaged or cut short.
    FaultError
        If the system cannot read it.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name the files in it, as {path}/*.csv.gz.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read by this user; change its permissions.") from error
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # how Python and Arrow report bad data in bzip2, xz and zstd
            raise _damaged(path, error) from error
        raise FaultError(f"{path} could not be read: {error.strerror or error}.") from error


def _damaged(path: Path, error: BaseException) -> UserError:
    return UserError(f"{path} is damaged or cut short ({error}); nothing of it was taken. Fetch the file again.")


@contextmanager
def decompressed(path: Path, raw: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the bytes of what is inside, by the suffix: .gz, .bz2, .xz, .zst, .zip, else as it is.

    Parameters
    ----------
    raw
        The open file; an archive (.zip) needs one that can seek.

    Raises
    ------
    UserError
        If the file is not what its suffix says, or an archive does not hold exactly one file.
    """
    suffix = path.suffix.lower()
    if suffix not in _MAGIC:
        yield path.name, raw if isinstance(raw, io.FileIO) else io.BufferedReader(raw)
        return
    _check_magic(path, *_MAGIC[suffix])
    if suffix == ".zip":
        with zipfile.ZipFile(raw) as archive:
            member = _only_member(path, archive)
            with archive.open(member) as stream:
                yield Path(member).name, stream
        return
    with _stream(suffix, raw) as stream:
        yield path.stem, stream


def _stream(suffix: str, raw: IO[bytes]) -> Any:
    if suffix == ".gz":
        return igzip.IGzipFile(fileobj=raw, mode="rb")
    if suffix == ".bz2":
        return bz2.BZ2File(raw)
    if suffix == ".xz":
        return lzma.LZMAFile(raw)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


def _check_magic(path: Path, magic: bytes, kind: str) -> None:
    with path.open("rb") as probe:
        begin = probe.read(len(magic))
    if not begin:
        raise UserError(f"{path} is empty. Fetch the file again.")
    if begin != magic:
        raise UserError(f"{path} is not a {kind} file although its name says so; rename it or fetch it again.")


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    members = [item for item in archive.infolist() if not item.is_dir()]
    if len(members) != 1:
        raise UserError(f"{path} holds {len(members)} files: an archive of ticks holds exactly one; unpack it.")
    if members[0].flag_bits & 1:
        raise UserError(f"{path} is encrypted: unpack it first.")
    return members[0].filename
