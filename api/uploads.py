"""Uploads on disk: each a record and a growing part in `{team}/raw/.uploads`, until the file is whole and checked.

The size of the part is the offset to go on from, so a server that was killed knows it too. Bytes of a request with a
checksum count only once that was compared: until then a note says where they begin. A finished upload keeps its record
for a while, so that a client whose last answer was lost learns that all is well.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lit.api.errors import ConflictError, NotFoundError
from lit.streams.atomic import write_file
from lit.streams.errors import FaultError, UserError
from lit.streams.parameters import effective
from lit.streams.raw_files import free_bytes, raw_path, raw_root
from lit.streams.sources import adapter_for, declared_parameters
from lit.streams.workspace import Workspace

#: An upload that nobody went on with for so long is dropped.
EXPIRY_SECONDS = 7 * 86_400
#: Space that uploads leave to others.
RESERVE_BYTES = 64 * 1024 * 1024
CHECKSUMS = ("sha256", "sha1", "md5")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class NoSpaceError(FaultError):
    """The disk is full (507); what was taken stays, and the upload goes on when there is room."""


class LockedError(UserError):
    """Another request is writing this upload (423)."""


class MismatchError(UserError):
    """The bytes are not those that the client's checksum speaks of (460)."""


class Upload(msgspec.Struct, frozen=True):
    """An upload's record.

    Parameters
    ----------
    path
        Where the file goes, within `raw`.
    length
        Its size in bytes.
    sha256
        Its digest as the client says; empty: unknown.
    adapter, parameters
        How it will be cached.
    metadata
        What the client sent, as it was.
    created
        Seconds since the epoch.
    done
        Whether it is whole and in its place.
    """

    id: str
    path: str
    length: int
    sha256: str
    adapter: str
    parameters: dict[str, Any]
    metadata: str
    created: float
    done: bool = False


class Uploads:
    """The uploads of a team."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = raw_root(workspace) / ".uploads"

    def create(self, length: int, metadata: str) -> Upload:
        """Begin an upload.

        Raises
        ------
        UserError
            If the metadata lack a usable file name, or name an adapter or parameters that do not exist.
        ConflictError
            If a file of that name is there.
        NoSpaceError
            If there is no room for it.
        """
        meta = _decoded(metadata)
        relative = meta.get("relativePath", "")
        name = relative if "/" in relative else meta.get("filename") or meta.get("name") or ""
        if not name:
            raise UserError("Upload-Metadata names no file: send filename with the name in base64")
        target = raw_path(self._workspace, name)
        digest = meta.get("sha256", "").lower()
        if digest and not _DIGEST.fullmatch(digest):
            raise UserError(f"sha256 {digest!r} of Upload-Metadata is not 64 hexadecimal digits")
        adapter = meta.get("adapter") or adapter_for(target)
        parameters = _parameters(meta.get("parameters") or "{}")
        effective(declared_parameters(self._workspace, adapter), parameters, adapter)
        if length < 1:
            raise UserError(f"file {name!r} is empty: there is nothing in it to upload")
        if target.exists():
            raise ConflictError(f"file {name!r} is in raw already: delete it first, or give another name")
        self._workspace.folder("raw")
        self._folder.mkdir(exist_ok=True)
        self._sweep()
        free = free_bytes(self._folder)
        if length + RESERVE_BYTES > free:
            raise NoSpaceError(f"file {name!r} has {length:,} bytes and the disk has room for {free:,}: make room")
        upload = Upload(
            secrets.token_hex(16), name, length, digest, adapter, parameters, metadata, round(time.time(), 3)
        )
        with _space(name):
            self._part(upload.id).touch()
            self._write(upload)
        return upload

    def get(self, upload_id: str) -> Upload:
        """Return an upload's record, or raise `NotFoundError`."""
        if _ID.fullmatch(upload_id):
            with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
                return msgspec.json.decode((self._folder / f"{upload_id}.json").read_bytes(), type=Upload)
        raise NotFoundError(f"there is no upload {upload_id!r}: it was never begun, dropped, or has expired")

    def all(self) -> list[Upload]:
        """Return the uploads that are under way, the oldest first."""
        found = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(NotFoundError):
                found.append(self.get(path.stem))
        return sorted((upload for upload in found if not upload.done), key=lambda upload: upload.created)

    def offset(self, upload: Upload) -> int:
        """Return how many bytes of an upload are here for good."""
        if upload.done:
            return upload.length
        try:
            size = self._part(upload.id).stat().st_size
            return min(size, int(self._unchecked(upload.id).read_text() or 0))
        except FileNotFoundError:
            return self._part(upload.id).stat().st_size if self._part(upload.id).exists() else 0

    def expires(self, upload: Upload) -> float:
        """Return when an upload is dropped if nobody goes on with it, seconds since the epoch."""
        part = self._part(upload.id)
        return (part.stat().st_mtime if part.exists() else upload.created) + EXPIRY_SECONDS

    @contextlib.contextmanager
    def locked(self, upload: Upload) -> Iterator[None]:
        """Hold an upload for one request, or raise `LockedError`."""
        with (self._folder / f"{upload.id}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(f"another request is writing upload {upload.id}: wait for it, then go on") from None
            yield

    @contextlib.contextmanager
    def writing(self, upload: Upload, checksum: tuple[str, bytes] | None = None) -> Iterator[Writer]:
        """Yield what appends to an upload that is locked; what was written stays, but for a checksum that differs.

        Raises
        ------
        MismatchError
            If the bytes do not have the checksum; none of them is kept.
        NoSpaceError
            If the disk is full.
        """
        begin, note = self.offset(upload), self._unchecked(upload.id)
        with _space(upload.path):
            if checksum:
                note.write_text(str(begin))
            with self._part(upload.id).open("r+b", buffering=0) as part:
                part.truncate(begin)  # what a killed request left unchecked
                part.seek(begin)
                if not checksum:
                    note.unlink(missing_ok=True)
                writer = Writer(part.fileno(), upload.length - begin, hashlib.new(checksum[0]) if checksum else None)
                try:
                    yield writer
                finally:
                    os.fsync(part.fileno())
        if checksum:
            if writer.digest != checksum[1]:
                raise MismatchError(f"the bytes from {begin} on do not have their {checksum[0]}: send them again")
            note.unlink(missing_ok=True)

    def finish(self, upload: Upload) -> Path:
        """Check a whole upload and put it into its place; return the file.

        Raises
        ------
        MismatchError
            If its digest is not what the client said; the upload is dropped.
        ConflictError
            If a file of that name came meanwhile.
        """
        target, part = raw_path(self._workspace, upload.path), self._part(upload.id)
        if upload.sha256:
            with part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != upload.sha256:
                self.drop(upload)
                raise MismatchError(
                    f"file {upload.path!r} arrived with sha256 {found}, not {upload.sha256}: upload again"
                )
        with _space(upload.path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(part, target)  # never over a file that is there
            except FileExistsError:
                if not target.samefile(part):
                    raise ConflictError(
                        f"file {upload.path!r} came into raw meanwhile: delete one of the two"
                    ) from None
            self._write(msgspec.structs.replace(upload, done=True))
            part.unlink(missing_ok=True)
        return target

    def drop(self, upload: Upload) -> None:
        """Forget an upload and what came of it so far."""
        for suffix in (".part", ".unchecked", ".json", ".lock"):
            (self._folder / f"{upload.id}{suffix}").unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(NotFoundError, LockedError):
                upload = self.get(path.stem)
                if self.expires(upload) < time.time():
                    with self.locked(upload):
                        self.drop(upload)

    def _write(self, upload: Upload) -> None:
        write_file(self._folder / f"{upload.id}.json", msgspec.json.encode(upload), durable=True)

    def _part(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.part"

    def _unchecked(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.unchecked"


class Writer:
    """Appends bytes to a part; `room` is how many more it may take."""

    def __init__(self, descriptor: int, room: int, hasher: Any) -> None:
        self._descriptor = descriptor
        self.room = room
        self._hasher = hasher

    @property
    def digest(self) -> bytes:
        """Checksum of what was written."""
        return bytes(self._hasher.digest())

    def write(self, data: bytes) -> None:
        """Append bytes; more than the upload's length is a mistake."""
        if len(data) > self.room:
            raise UserError(f"the request brings {len(data) - self.room} bytes more than Upload-Length says")
        if self._hasher:
            self._hasher.update(data)
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self.room -= written
            view = view[written:]


@contextlib.contextmanager
def _space(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise NoSpaceError(f"the disk is full: file {name!r} goes on from what was taken when there is room") from error


def _decoded(metadata: str) -> dict[str, str]:
    """Read `Upload-Metadata`: comma separated pairs of a key and a value in base64."""
    found = {}
    for pair in metadata.split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise UserError(f"Upload-Metadata {key!r} is not base64 of UTF-8 text") from None
    return {key: value for key, value in found.items() if value != "null"}


def _parameters(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text.encode(), type=dict[str, Any])
    except msgspec.MsgspecError:
        raise UserError(f"parameters {text!r} of Upload-Metadata are no JSON object") from None
