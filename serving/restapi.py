"""The REST API of an output stream: its models, and predictions from given inputs or from a symbol's latest state.

It listens on a port of its own and knows its own keys alone, so that it can be shown to programs that must not see the
rest of the system. A key is compared with all known ones in constant time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import Depends, FastAPI, Request, Security
from fastapi.exceptions import HTTPException
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from lit.serving.desk import Answer, Desk, MissingModelError, Opened
from lit.serving.swagger import SECURITY_HEADERS, swagger_router
from lit.streams.errors import FaultError, UserError
from lit.streams.live import load_stream, stream_path
from lit.streams.live_health import Health, health_path, write_health
from lit.streams.stream_adapters import load_stream_adapter
from lit.streams.workspace import Workspace

log = logging.getLogger("stream")

#: Larger bodies are refused before they are read.
MAX_BODY_BYTES = 16 * 1024 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Input(BaseModel):
    """A feature that a model takes."""

    name: str
    shape: list[int] = Field(description="shape of one sample; empty: a single number")
    columns: list[str]


class ModelView(BaseModel):
    """A model that is ready to predict."""

    model: str = Field(description="vault item")
    deployment: str
    epoch: int
    interval: str = Field(description="bars at whose close it predicts")
    inputs: list[Input]
    outputs: list[str] = Field(description="what the numbers of a prediction are")
    latest: bool = Field(description="whether it can predict from the latest state of a symbol")


class Question(BaseModel):
    """What to predict: either `inputs` or `symbol` is given."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "Unnamed_0", "symbol": "AAPL.O"}]},
    )

    model: str = Field(description="vault item, as /models lists it")
    deployment: str | None = Field(default=None, description="needed if several have the model")
    inputs: dict[str, Any] | None = Field(default=None, description="feature → nested lists of its shape")
    symbol: str | None = Field(default=None, description="predict from this symbol's newest closed bar")


class PredictionView(BaseModel):
    """A prediction; `symbol` to `bar_start` tell what it is of, for one from the latest state."""

    deployment: str
    model: str
    epoch: int
    prediction: list[float]
    inputs_digest: str
    symbol: str | None
    interval: str | None
    index: int | None
    bar_start: str | None
    latency_ms: float


def create_app(desk: Desk, keys: Sequence[str], title: str = "predictions") -> FastAPI:
    """Return the web application over a desk; without keys, everybody who reaches it may ask."""
    app = FastAPI(
        title=f"LIT: {title}",
        description="Models of the deployments on this stream, and their predictions.",
        docs_url=None,
        redoc_url=None,
    )
    access = [Depends(_access(keys))] if keys else []

    @app.get("/models", dependencies=access, tags=["models"])
    def models() -> list[ModelView]:
        """List the models that are ready, with the inputs that they take."""
        return [_view(opened) for opened in desk.opened.values()]

    @app.get("/symbols", dependencies=access, tags=["models"])
    def symbols() -> list[str]:
        """List the symbols whose latest state can be predicted from."""
        return sorted({symbol for opened in desk.opened.values() for symbol in opened.symbols})

    @app.post("/predict", dependencies=access, tags=["predictions"])
    def predict(question: Question) -> PredictionView:
        """Predict from the inputs given, or from the latest state of a symbol."""
        began = time.perf_counter()
        if (question.inputs is None) == (question.symbol is None):
            raise UserError("give either inputs or symbol")
        opened = desk.find(question.model, question.deployment)
        answer: Answer = (
            desk.predict(opened, question.inputs)
            if question.inputs is not None
            else desk.predict_latest(opened, question.symbol or "")
        )
        return PredictionView(**asdict(answer), latency_ms=round((time.perf_counter() - began) * 1000, 3))

    @app.exception_handler(UserError)
    async def mistaken(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404 if isinstance(error, MissingModelError) else 400)

    @app.middleware("http")
    async def bounded(request: Request, call: Any) -> Any:
        length = request.headers.get("content-length", "0")
        if (
            not length.isdigit()
            or int(length) > MAX_BODY_BYTES
            or "chunked" in request.headers.get("transfer-encoding", "")
        ):
            return JSONResponse({"detail": f"a body has a length, and at most {MAX_BODY_BYTES} bytes"}, 413)
        answer = await call(request)
        answer.headers.update(SECURITY_HEADERS)
        return answer

    app.include_router(swagger_router("/", app.title))
    return app


def _access(keys: Sequence[str]) -> Any:
    header = APIKeyHeader(name="X-API-Key", auto_error=False)
    bearer = HTTPBearer(auto_error=False)

    def check(
        key: str | None = Security(header),
        token: HTTPAuthorizationCredentials | None = Security(bearer),
    ) -> None:
        given = (key or (token.credentials if token else "")).encode()
        fits = [hmac.compare_digest(given, known.encode()) for known in keys]  # all of them, whichever fits
        if not any(fits):
            raise HTTPException(401, "a key is needed: send it as X-API-Key", {"WWW-Authenticate": "Bearer"})

    return check


def _view(opened: Opened) -> ModelView:
    item, deployment = opened.item, opened.deployment
    return ModelView(
        model=item.name,
        deployment=deployment.name,
        epoch=item.epoch,
        interval=deployment.parameters.interval,
        inputs=[Input(name=spec.name, shape=list(spec.shape), columns=list(spec.columns)) for spec in item.inputs],
        outputs=list(item.label.columns),
        latest=opened.latest is not None,
    )


async def serve(workspace: Workspace, name: str, bootstrap: str, stop: asyncio.Event) -> None:
    """Serve an output stream until stopped; a changed file of the stream is followed.

    Raises
    ------
    UserError
        If its parameters do not fit.
    FaultError
        If its port is taken.
    """
    path = stream_path(workspace, name)
    while not stop.is_set():
        stamp = path.stat().st_mtime_ns
        async with _served(workspace, name, bootstrap):
            while not stop.is_set() and path.exists() and path.stat().st_mtime_ns == stamp:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.3)
        if not path.exists():
            return


@contextlib.asynccontextmanager
async def _served(workspace: Workspace, name: str, bootstrap: str) -> AsyncIterator[None]:
    stream = load_stream(workspace, name)
    given = load_stream_adapter(workspace, stream.adapter.name).form.opened(stream.parameters)
    keys = given["api_keys"] or []
    host = given["host"] or ("0.0.0.0" if keys else "127.0.0.1")
    if not keys and host not in _LOOPBACK:
        raise UserError(f"stream {name!r}: api_keys is empty, so host must not be {host}: add a key")
    try:
        listener = _listen(host, given["port"])
    except FaultError as error:  # its worker is started again and again: somebody may free the port
        write_health(health_path(workspace, name), Health("waiting", written=time.time(), last_error=str(error)))
        raise
    desk, end = Desk(workspace, name, bootstrap, given["source"]), threading.Event()
    url = f"http://{host}:{given['port']}"

    def report(state: str = "live") -> None:
        told = Health(state, written=time.time(), last_error=desk.problem, position=url)
        write_health(health_path(workspace, name), told)

    def watch() -> None:
        while True:
            with contextlib.suppress(OSError):
                report()
            if end.wait(1.0):
                return
            with contextlib.suppress(OSError):
                desk.look()

    try:
        await asyncio.to_thread(desk.look)
        watcher = threading.Thread(target=watch, name="desk", daemon=True)
        watcher.start()
        async with _uvicorn(create_app(desk, keys, name), listener):
            log.info("%s serves at %s", name, url)
            yield
    finally:
        end.set()
        listener.close()
        await asyncio.to_thread(desk.close)
        with contextlib.suppress(OSError):
            report("stopped")


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise FaultError(f"port {port} of {host} cannot be had ({error.strerror}): choose another one") from error
    return listener


@contextlib.asynccontextmanager
async def _uvicorn(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    import uvicorn

    class Server(uvicorn.Server):
        """One that leaves signals to the worker."""

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    server = Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.02)
        yield
    finally:
        server.should_exit = True
        await task
