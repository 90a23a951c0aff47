"""Tokens: the admin's, made at the first start, and API keys, kept as hashes and shown once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lit.api.auth.roles import Principal, Role
from lit.streams.atomic import write_file
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import checked_name

ADMIN = "admin"


class StoredKey(msgspec.Struct, frozen=True):
    """An API key as the file has it. The secret has 256 random bits, so that a plain hash is enough."""

    name: str
    role: str
    sha256: str
    created: str
    teams: list[str] | None = None


class KeyStore:
    """The tokens that this server accepts.

    Parameters
    ----------
    folder
        The server's private folder (`$LIT_DATA/.lit`), made with mode 0700 if missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._file = folder / "keys.json"
        self._lock = threading.Lock()
        self.admin_token = _admin_token(folder / "token")

    @property
    def session_secret(self) -> bytes:
        """Key that signs sessions; a new admin token ends all of them."""
        return hashlib.sha256(b"lit session " + self.admin_token.encode()).digest()

    def authenticate(self, token: str) -> Principal | None:
        """Return whose token it is."""
        if hmac.compare_digest(token.encode(), self.admin_token.encode()):
            return Principal(ADMIN, Role.ADMIN)
        kind, _, rest = token.partition("_")
        key_id, _, secret = rest.partition("_")
        stored = self._read().get(key_id) if kind == "lit" else None
        if stored is None or not hmac.compare_digest(_digest(secret), stored.sha256):
            return None
        return self.principal(key_id)

    def principal(self, key_id: str) -> Principal | None:
        """Return the owner of a key, or None if it was deleted."""
        if key_id == ADMIN:
            return Principal(ADMIN, Role.ADMIN)
        stored = self._read().get(key_id)
        if stored is None:
            return None
        teams = None if stored.teams is None else tuple(stored.teams)
        return Principal(key_id, Role.parse(stored.role), teams)

    def create(self, name: str, role: str, teams: list[str] | None = None) -> tuple[str, str]:
        """Make a key and return its id and its token, which is not kept.

        Raises
        ------
        UserError
            If the role or a team's name is not usable.
        """
        Role.parse(role)
        checked_name(name, "key name")
        for team in teams or []:
            checked_name(team, "team")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        stored = StoredKey(name, role, _digest(secret), datetime.now(UTC).isoformat(timespec="seconds"), teams)
        with self._lock:
            self._write({**self._read(), key_id: stored})
        return key_id, f"lit_{key_id}_{secret}"

    def delete(self, key_id: str) -> None:
        """Delete a key; its sessions end with it."""
        with self._lock:
            keys = self._read()
            if keys.pop(key_id, None) is None:
                raise UserError(f"there is no key {key_id!r}")
            self._write(keys)

    def list(self) -> dict[str, StoredKey]:
        """Return all keys by id."""
        return self._read()

    def _read(self) -> dict[str, StoredKey]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, StoredKey])
        except FileNotFoundError:
            return {}
        except msgspec.MsgspecError as error:
            raise FaultError(f"{self._file} is damaged ({error}): mend it or delete it and make new keys") from error

    def _write(self, keys: dict[str, StoredKey]) -> None:
        write_private(self._file, msgspec.json.format(msgspec.json.encode(keys)))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once, readable by its owner alone."""
    write_file(path, content, durable=True, mode=0o600)


def _admin_token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        token = ""
    if len(token) < 20:
        token = secrets.token_urlsafe(32)
        write_private(path, token.encode() + b"\n")
    path.chmod(0o600)
    return token


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
