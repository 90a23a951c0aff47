"""API keys: made by an admin, shown once, deleted."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from lit.api.auth.keys import KeyStore
from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError
from lit.api.schemas import Strict


class NewKey(Strict):
    """A key to be; `teams` null means all teams."""

    name: str
    role: Literal["viewer", "editor", "admin"]
    teams: list[str] | None = None


class Key(BaseModel):
    """A key as it is listed."""

    id: str
    name: str
    role: str
    teams: list[str] | None
    created: str


class MadeKey(BaseModel):
    """A new key's token, which is not kept."""

    id: str
    token: str


def router(keys: KeyStore) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/keys", tags=["account"])

    @routes.get("")
    @needs(Role.ADMIN)
    def listed() -> list[Key]:
        """Return all keys, without their tokens."""
        return [
            Key(id=key_id, name=key.name, role=key.role, teams=key.teams, created=key.created)
            for key_id, key in keys.list().items()
        ]

    @routes.post("", status_code=201)
    @needs(Role.ADMIN)
    def make(body: NewKey) -> MadeKey:
        """Make a key; its token is in this answer and nowhere else."""
        key_id, token = keys.create(body.name, body.role, body.teams)
        return MadeKey(id=key_id, token=token)

    @routes.delete("/{key_id}", status_code=204)
    @needs(Role.ADMIN)
    def delete(key_id: str) -> None:
        """Delete a key; its sessions end with it."""
        if key_id not in keys.list():
            raise NotFoundError(f"there is no key {key_id!r}")
        keys.delete(key_id)

    return routes
