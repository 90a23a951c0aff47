"""Access control: default deny, roles and teams, keys, sessions, Origin; asked over HTTP and WebSocket."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import APIRouter, Depends, FastAPI, Response, WebSocket
from fastapi.testclient import TestClient
from starlette.routing import Route
from starlette.websockets import WebSocketDisconnect

from lit.api.auth.access import authorise, check_routes
from lit.api.auth.keys import KeyStore
from lit.api.auth.roles import Role, declare, needs
from lit.api.auth.session import COOKIE, LIFETIME_S, read_session, sign_session
from lit.api.errors import add_handlers
from lit.api.metrics import Metrics
from lit.api.middleware import Observed
from lit.api.page import page_router
from lit.streams.errors import FaultError

OURS, FOREIGN = {"Origin": "http://testserver"}, {"Origin": "http://evil.example"}


def small_app(folder: Path) -> FastAPI:
    """An application with a route of each kind, some in an included router as ours are."""
    app = FastAPI(dependencies=[Depends(authorise)], openapi_url=None, docs_url=None, redoc_url=None)
    app.state.keys = KeyStore(folder / ".lit")
    add_handlers(app)
    router = APIRouter(prefix="/api")

    @router.get("/teams/{team}/things")
    @needs(Role.VIEWER)
    async def things(team: str) -> str:
        return team

    @router.put("/teams/{team}/things")
    @needs(Role.EDITOR)
    async def change(team: str) -> str:
        return team

    @router.get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    @router.websocket("/teams/{team}/live")
    @needs(Role.VIEWER)
    async def live(websocket: WebSocket, team: str) -> None:
        await websocket.accept()
        await websocket.send_text(team)
        await websocket.close()

    app.include_router(router)
    return app


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return small_app(tmp_path)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def keys_of(app: FastAPI) -> KeyStore:
    keys: KeyStore = app.state.keys
    return keys


def test_without_a_token_nothing_is_served(client: TestClient) -> None:
    reply = client.get("/api/teams/a/things")
    assert reply.status_code == 401
    assert "Log in" in reply.json()["detail"]
    assert client.get("/api/teams/a/things", headers=bearer("lit_00_wrong")).status_code == 401


def test_a_route_without_a_role_is_closed_even_to_the_admin(app: FastAPI, client: TestClient) -> None:
    assert client.get("/api/forgotten", headers=bearer(keys_of(app).admin_token)).status_code == 403


def test_the_start_up_check_names_a_route_without_a_role(app: FastAPI) -> None:
    with pytest.raises(FaultError, match=r"/forgotten.*no role declared"):
        check_routes(app.routes)


def test_the_start_up_check_refuses_routes_that_have_no_dependencies() -> None:
    app = FastAPI(openapi_url=None, routes=[Route("/raw", lambda request: Response())])
    with pytest.raises(FaultError, match="/raw"):
        check_routes(app.routes)


def test_a_role_declared_for_a_whole_router_satisfies_the_check(app: FastAPI, client: TestClient) -> None:
    router = APIRouter(prefix="/api/store")

    @router.get("/rows")
    async def rows() -> str:
        return "rows"

    declare(router.routes, Role.VIEWER)
    app.include_router(router)
    with pytest.raises(FaultError) as caught:
        check_routes(app.routes)
    assert "/rows" not in str(caught.value)
    assert client.get("/api/store/rows").status_code == 401


def test_roles_and_teams_bound_what_a_key_may_do(app: FastAPI, client: TestClient) -> None:
    _, viewer = keys_of(app).create("reader", "viewer", ["a"])
    _, editor = keys_of(app).create("writer", "editor")
    assert client.get("/api/teams/a/things", headers=bearer(viewer)).status_code == 200
    assert client.get("/api/teams/b/things", headers=bearer(viewer)).status_code == 403
    assert client.put("/api/teams/a/things", headers=bearer(viewer)).status_code == 403
    assert client.put("/api/teams/b/things", headers=bearer(editor)).status_code == 200


def test_a_deleted_key_and_its_sessions_end_at_once(app: FastAPI, client: TestClient) -> None:
    keys = keys_of(app)
    key_id, token = keys.create("reader", "viewer")
    client.cookies.set(COOKIE, sign_session(key_id, keys.session_secret))
    assert client.get("/api/teams/a/things").status_code == 200
    keys.delete(key_id)
    assert client.get("/api/teams/a/things").status_code == 401
    assert client.get("/api/teams/a/things", headers=bearer(token)).status_code == 401


def test_key_files_are_private_and_hold_no_secret(app: FastAPI, tmp_path: Path) -> None:
    _, token = keys_of(app).create("reader", "viewer")
    text = (tmp_path / ".lit/keys.json").read_text()
    assert token.split("_", 2)[2] not in text
    for name in ("token", "keys.json"):
        assert (tmp_path / ".lit" / name).stat().st_mode & 0o777 == 0o600
    assert KeyStore(tmp_path / ".lit").admin_token == keys_of(app).admin_token


def test_a_cookie_changes_things_only_from_our_own_origin(app: FastAPI, client: TestClient) -> None:
    client.cookies.set(COOKIE, sign_session("admin", keys_of(app).session_secret))
    path = "/api/teams/a/things"
    assert client.put(path, headers=OURS).status_code == 200
    assert client.put(path, headers=FOREIGN).status_code == 403
    assert client.put(path, headers={"Origin": "http://testserver:81"}).status_code == 403
    assert client.put(path, headers={"Origin": "null"}).status_code == 403
    assert client.put(path).status_code == 403


def test_a_forged_altered_or_old_session_is_nobody() -> None:
    secret = b"s" * 32
    value = sign_session("admin", secret, now=1000.0)
    assert read_session(value, secret, now=1000.0) == "admin"
    assert read_session(value, secret, now=1000.0 + LIFETIME_S) is None
    assert read_session(value, b"t" * 32, now=1000.0) is None
    body, signature = value.split(".")
    for bad in ("", ".", body, f"{body}.", f"{body}.{signature[:-2]}", f"x{body}.{signature}", "é.é", f"{value}.x"):
        assert read_session(bad, secret, now=1000.0) is None


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), "foreign"], ids=["no token", "wrong token", "foreign origin"])
def test_a_websocket_is_refused_before_it_is_accepted(app: FastAPI, client: TestClient, headers: object) -> None:
    sent = {**bearer(keys_of(app).admin_token), **FOREIGN} if headers == "foreign" else headers
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/api/teams/a/live", headers=sent):
        pass
    assert caught.value.code == 1008


def test_a_websocket_opens_with_a_token_or_a_cookie_of_our_origin(app: FastAPI, client: TestClient) -> None:
    with client.websocket_connect("/api/teams/a/live", headers=bearer(keys_of(app).admin_token)) as websocket:
        assert websocket.receive_text() == "a"
    client.cookies.set(COOKIE, sign_session("admin", keys_of(app).session_secret))
    with client.websocket_connect("/api/teams/a/live", headers=OURS) as websocket:
        assert websocket.receive_text() == "a"


def test_the_page_never_leaves_its_folder(app: FastAPI, tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<title>page</title>")
    (static / "assets" / "main-1a2b.js").write_text("let a")
    (tmp_path / "secret.txt").write_text("hidden words")
    (static / "link.txt").symlink_to(tmp_path / "secret.txt")
    app.include_router(page_router(static))
    client = TestClient(app)
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/assets/..%2f..%2fsecret.txt",
                 "/link.txt", "/%2fetc/passwd", "/assets/%00"):  # fmt: skip
        text = client.get(path).text
        assert "hidden words" not in text and "root:" not in text
    assert "immutable" in client.get("/assets/main-1a2b.js").headers["cache-control"]
    fallback = client.get("/streams/us_equities")
    assert fallback.status_code == 200 and fallback.headers["cache-control"] == "no-store"
    assert client.get("/api/unknown").status_code == 404
    assert client.get("/missing.js").status_code == 404


def test_every_answer_has_an_id_and_security_headers(app: FastAPI) -> None:
    metrics = Metrics()
    client = TestClient(Observed(app, metrics))
    reply = client.get("/api/teams/a/things", headers={"X-Request-ID": "abc-1"})
    assert reply.headers["x-request-id"] == reply.json()["request_id"] == "abc-1"
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert client.get("/api/unknown", headers={"X-Request-ID": "a b"}).headers["x-request-id"] != "a b"
    text = metrics.render().decode()
    assert 'status="401"' in text and "/teams/{team}/things" in text
