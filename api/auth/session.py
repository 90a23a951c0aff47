"""The session cookie: a key's id and an expiry, signed. Nothing is kept on the server."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time

COOKIE = "lit_session"
LIFETIME_S = 7 * 86_400


def sign_session(key_id: str, secret: bytes, now: float | None = None) -> str:
    """Return a cookie value that says whose session it is until it expires."""
    expires = int((time.time() if now is None else now) + LIFETIME_S)
    body = f"{key_id}:{expires}".encode()
    return f"{_text(body)}.{_text(_signature(body, secret))}"


def read_session(value: str, secret: bytes, now: float | None = None) -> str | None:
    """Return the key's id, or None if the value is forged, damaged or expired."""
    try:
        body, signature = (_bytes(part) for part in value.split("."))
        if not hmac.compare_digest(signature, _signature(body, secret)):
            return None
        key_id, expires = body.decode().split(":")
        return key_id if int(expires) > (time.time() if now is None else now) else None
    except (ValueError, binascii.Error):
        return None


def _signature(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
