"""Files as bytes: check a whole file before a row of it counts, then stream it as chunks of whole lines.

Memory is bounded by the chunk size, whatever the size of the file and however hard it is compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from isal import igzip, isal_zlib

from lit.streams.errors import FaultError, UserError

CHUNK_BYTES = 4 * 1024 * 1024
#: A line longer than this is no CSV row of ours; it also bounds memory where a quote is never closed.
LINE_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024
_DAMAGED: tuple[Any, ...] = (EOFError, zlib.error, isal_zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read to its end once and found whole.

    Parameters
    ----------
    digest
        `sha256:…` of the bytes on disk.
    size, raw_size
        Bytes on disk and after decompression.
    header
        Column names, in the file's order.
    """

    path: Path
    digest: str
    size: int
    mtime_ns: int
    raw_size: int
    header: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file; `first_line` is the number of the first one (the header is line 1)."""

    data: memoryview
    first_line: int
    lines: int


class _Hashing(io.RawIOBase):
    """A file that digests what is read from it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = int(self._raw.readinto(buffer))  # type: ignore[attr-defined]
        self.sha256.update(memoryview(buffer)[:count])
        return count


def verify(path: Path) -> SourceFile:
    """Read a file once, checking it to its last byte, and return its digest, sizes and header.

    Raises
    ------
    UserError
        If it is missing, may not be read, is no gzip file, is damaged or cut short, or has no header.
    """
    with _open(path) as raw:
        state = path.stat()
        hashing = _Hashing(raw)
        total, head = 0, b""
        with _plain(path, hashing) as stream:
            while block := stream.read(_READ_BYTES):
                total += len(block)
                if not head:
                    head = block
        while raw_rest := hashing.read(_READ_BYTES):  # what follows the last gzip member belongs to the digest
            del raw_rest
    if not total:
        raise UserError(f"{path} is empty: it has no header line. Fetch the file again.")
    line = head.split(b"\n", 1)[0]
    digest = f"sha256:{hashing.sha256.hexdigest()}"
    return SourceFile(path, digest, state.st_size, state.st_mtime_ns, total, _header(path, line))


def chunks(file: SourceFile, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield the lines after the header, cut between rows (a line break inside quotes is none).

    Raises
    ------
    UserError
        If a line is longer than `LINE_BYTES` or the file changed since it was verified.
    """
    # Quotes are counted, not parsed: a row ends at a line break that an even number of them precedes.
    with _open(file.path) as raw, _plain(file.path, raw) as stream:
        _unchanged(file)
        rest, line, header, ended = b"", 1, True, False
        while not ended or rest:
            block = b"" if ended else stream.read(chunk_bytes)
            ended = not block
            data = rest + block if rest else block
            if header:
                end = data.find(b"\n") + 1
                if not (end or ended):
                    rest = data
                    continue
                data, line, header = data[end:] if end else b"", 2, False
            cut = _row_end(data + b"\n" if ended else data)
            cut = min(cut, len(data))
            if cut == 0 and (ended or len(data) > LINE_BYTES):
                # A quote is left open: its line goes alone, and will be refused.
                cut = data.find(b"\n", 0, LINE_BYTES) + 1 or (len(data) if len(data) <= LINE_BYTES else 0)
                if cut == 0 and data:
                    raise UserError(
                        f"{file.path}, line {line} is longer than {LINE_BYTES:,} bytes; this is no table of ticks."
                    )
            if cut:
                lines = data.count(b"\n", 0, cut) + (data[cut - 1 : cut] != b"\n")
                yield Chunk(memoryview(data)[:cut], line, lines)
                line += lines
            rest = data[cut:]
        _unchanged(file)


def _row_end(data: bytes) -> int:
    """Return where the last whole row ends: after the last line break that is outside quotes; 0 if none is."""
    quotes = data.count(b'"')
    end = data.rfind(b"\n") + 1
    if not quotes:
        return end
    before = data.count(b'"', 0, end)
    while end and before % 2:
        earlier = data.rfind(b"\n", 0, end - 1) + 1
        before -= data.count(b'"', earlier, end)
        end = earlier
    return end


def _header(path: Path, line: bytes) -> tuple[str, ...]:
    if len(line) > LINE_BYTES // 2:
        raise UserError(f"{path}: its first line is no header of a CSV file ({len(line):,} bytes long).")
    try:
        text = line.removeprefix(b"\xef\xbb\xbf").decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a gzip file and not UTF-8 text; give a .csv or .csv.gz file.") from error
    return tuple(name.strip().strip('"') for name in text.split(","))


def _unchanged(file: SourceFile) -> None:
    state = file.path.stat()
    if (state.st_size, state.st_mtime_ns) != (file.size, file.mtime_ns):
        raise UserError(f"{file.path} was changed while it was read; run again when it is complete.")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb", buffering=0) as raw:
            yield raw
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder; name the files in it, as {path}/*.csv.gz.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read by this user; change its permissions.") from error
    except _DAMAGED as error:
        raise UserError(
            f"{path} is damaged or cut short ({error}); nothing of it was taken. Fetch the file again."
        ) from error
    except OSError as error:
        raise FaultError(f"{path} could not be read: {error.strerror or error}.") from error


@contextmanager
def _plain(path: Path, raw: Any) -> Iterator[Any]:
    if path.suffix != ".gz":
        yield io.BufferedReader(raw) if isinstance(raw, _Hashing) else raw
        return
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty. Fetch the file again.")
    with path.open("rb") as probe:
        if probe.read(2) != b"\x1f\x8b":
            raise UserError(f"{path} is not a gzip file although its name says so; rename it or fetch it again.")
    with igzip.IGzipFile(fileobj=raw, mode="rb") as stream:
        yield stream
