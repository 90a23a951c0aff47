"""Logging in and out: a token becomes a session cookie, so that the page keeps no token."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response

from lit.api.auth.keys import KeyStore
from lit.api.auth.roles import Principal, Role, needs
from lit.api.auth.session import COOKIE, LIFETIME_S, sign_session
from lit.api.schemas import Account, Login


def router(keys: KeyStore) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["account"])

    @routes.post("/login")
    @needs(Role.PUBLIC)
    def login(body: Login, request: Request, response: Response) -> Account:
        """Exchange a token for a session cookie."""
        principal = keys.authenticate(body.token.strip())
        if principal is None:
            raise HTTPException(401, "This token is not known: `lit up` prints one, or an admin makes you a key.")
        response.set_cookie(
            COOKIE,
            sign_session(principal.key, keys.session_secret),
            max_age=LIFETIME_S,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return _account(principal)

    @routes.post("/logout", status_code=204)
    @needs(Role.PUBLIC)
    def logout(response: Response) -> None:
        """Forget the session cookie."""
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")

    @routes.get("/me")
    @needs(Role.VIEWER)
    def me(request: Request) -> Account:
        """Return who asks."""
        return _account(request.scope["lit.principal"])

    return routes


def _account(principal: Principal) -> Account:
    teams = None if principal.teams is None else list(principal.teams)
    return Account(key=principal.key, role=principal.role.name.lower(), teams=teams)
