"""Files as bytes: check a whole file before a row of it counts, then stream it as chunks of whole lines.

Memory is bounded by the chunk size, whatever the size of the file and however hard it is compressed.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lit.streams.compression import decompressed, told
from lit.streams.errors import UserError

CHUNK_BYTES = 4 * 1024 * 1024
#: A line longer than this is no CSV row of ours; it also bounds memory where a quote is never closed.
LINE_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024
_MARK = b"\xef\xbb\xbf"  # what some programs begin UTF-8 text with


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text file is a table: its delimiter, whether its first line names the columns, and its decimal mark.

    Without a header the columns are called `1`, `2`, `3`…
    """

    delimiter: str = ","
    header: bool = True
    decimal: str = "."


COMMA = Dialect()


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
    content
        Name of what is inside: the archive's member, else the file's own name without the compression's suffix.
    dialect
        How its lines are to be read; None: it is no text, the adapter reads it itself.
    """

    path: Path
    digest: str
    size: int
    mtime_ns: int
    raw_size: int
    header: tuple[str, ...]
    content: str = ""
    dialect: Dialect | None = COMMA


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


def verify(path: Path, dialect: Dialect = COMMA) -> SourceFile:
    """Read a text file once, checking it to its last byte, and return its digest, sizes and header.

    Raises
    ------
    UserError
        If it is missing, may not be read, is not what its suffix says, is damaged or cut short, or has no header.
    """
    with told(path), path.open("rb", buffering=0) as raw:
        state = path.stat()
        hashing = _Hashing(raw)
        total, head = 0, b""
        archive = path.suffix.lower() == ".zip"  # read here and there, so its digest is made in a pass of its own
        with decompressed(path, raw if archive else hashing) as (content, stream):
            while block := stream.read(_READ_BYTES):
                total += len(block)
                if not head:
                    head = block
        if archive:
            raw.seek(0)
        digest = _digest(hashing)  # what follows the last gzip member belongs to it
    if not total:
        raise UserError(f"{path} is empty: it has no {'header line' if dialect.header else 'row'}. Fetch it again.")
    header = _header(path, head.split(b"\n", 1)[0], dialect)
    return SourceFile(path, digest, state.st_size, state.st_mtime_ns, total, header, content, dialect)


def digest_of(path: Path) -> tuple[str, int, int]:
    """Return a file's digest, its size and its time of change (ns).

    Raises
    ------
    UserError
        If it is missing or may not be read.
    """
    with told(path), path.open("rb", buffering=0) as raw:
        state = path.stat()
        return _digest(_Hashing(raw)), state.st_size, state.st_mtime_ns


def _digest(hashing: _Hashing) -> str:
    """Return the digest, what is still unread included."""
    while rest := hashing.read(_READ_BYTES):
        del rest
    return f"sha256:{hashing.sha256.hexdigest()}"


def chunks(file: SourceFile, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Yield the lines after the header, cut between rows (a line break inside quotes is none).

    Raises
    ------
    UserError
        If a line is longer than `LINE_BYTES` or the file changed since it was verified.
    """
    # Quotes are counted, not parsed: a row ends at a line break that an even number of them precedes.
    header = file.dialect is None or file.dialect.header
    with told(file.path), file.path.open("rb", buffering=0) as raw, decompressed(file.path, raw) as (_, stream):
        unchanged(file)
        rest, line, ended = b"", 1, False
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
            elif line == 1:
                data = data.removeprefix(_MARK)
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
        unchanged(file)


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


def _header(path: Path, line: bytes, dialect: Dialect) -> tuple[str, ...]:
    if len(line) > LINE_BYTES // 2:
        raise UserError(f"{path}: its first line is no header of a CSV file ({len(line):,} bytes long).")
    try:
        text = line.removeprefix(_MARK).decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a gzip file and not UTF-8 text; give a .csv or .csv.gz file.") from error
    try:
        names = next(csv.reader([text], delimiter=dialect.delimiter), [])
    except csv.Error as error:
        raise UserError(f"{path}: its first line is no row of a CSV file ({error}).") from error
    if not dialect.header:
        return tuple(str(number) for number in range(1, len(names) + 1))
    return tuple(name.strip().strip('"') for name in names)


def unchanged(file: SourceFile) -> None:
    """Raise `UserError` if a file is not as it was when it was verified."""
    state = file.path.stat()
    if (state.st_size, state.st_mtime_ns) != (file.size, file.mtime_ns):
        raise UserError(f"{file.path} was changed while it was read; run again when it is complete.")
