"""Roles, and how a route declares the one that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from starlette.routing import BaseRoute

from lit.streams.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__lit_role__"


class Role(IntEnum):
    """What a caller may do; each role may do all that the lower ones may."""

    PUBLIC = 0
    VIEWER = 1
    EDITOR = 2
    ADMIN = 3

    @classmethod
    def parse(cls, name: str) -> Role:
        """Return the role of that name (`viewer`, `editor`, `admin`).

        Raises
        ------
        UserError
            If no key can have it.
        """
        found = {role.name.lower(): role for role in cls if role is not cls.PUBLIC}
        if name not in found:
            raise UserError(f"role {name!r} is unknown: use one of {', '.join(found)}")
        return found[name]


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller; `teams` None means all teams."""

    key: str
    role: Role
    teams: tuple[str, ...] | None = None

    def may(self, role: Role, team: str | None) -> bool:
        """Whether the caller has at least this role, in this team if one is meant."""
        return self.role >= role and (team is None or self.teams is None or team in self.teams)


def needs(role: Role) -> Callable[[F], F]:
    """Declare the role that an endpoint needs; an endpoint without one keeps the server from starting."""

    def mark(endpoint: F) -> F:
        setattr(endpoint, _MARK, role)
        return endpoint

    return mark


def declare(routes: Iterable[BaseRoute], role: Role) -> None:
    """Declare one role for all endpoints of a router that knows nothing of roles."""
    for route in routes:
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None and declared(endpoint) is None:
            setattr(endpoint, _MARK, role)


def declared(endpoint: object) -> Role | None:
    """Return the role that an endpoint declares."""
    return getattr(endpoint, _MARK, None)
