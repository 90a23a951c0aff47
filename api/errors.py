"""Errors as answers: `{"detail": sentence, "request_id": …}` with a fitting status, never a traceback."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaException
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from lit.streams.errors import FaultError, UserError

log = logging.getLogger(__name__)


class NotFoundError(UserError):
    """What the path names does not exist (404)."""


class ConflictError(UserError):
    """The request contradicts the state of things (409)."""


def add_handlers(app: FastAPI) -> None:
    """Make the application answer all errors in one form."""

    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> JSONResponse:
        code = 404 if isinstance(error, NotFoundError) else 409 if isinstance(error, ConflictError) else 400
        return answer(request, code, str(error))

    @app.exception_handler(FaultError)
    async def fault(request: Request, error: FaultError) -> JSONResponse:
        log.error("request %s: %s", request_id(request), error)
        return answer(request, 503, str(error))

    @app.exception_handler(KafkaException)
    async def no_kafka(request: Request, error: KafkaException) -> JSONResponse:
        log.error("request %s: Kafka: %s", request_id(request), error)
        return answer(request, 503, f"Kafka does not answer ({error.args[0].str()}): try again in a moment")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return answer(request, error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return answer(request, 422, f"{where or 'request'}: {first['msg']}")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request %s failed", request_id(request), exc_info=error)
        return answer(request, 500, "The server failed at this request; its log has the details under the id.")


def request_id(request: Request) -> str:
    """Return the id that the log line of this request has."""
    return str(getattr(request.state, "request_id", ""))


def answer(request: Request, code: int, detail: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    """Return an error in the form that all errors have."""
    return JSONResponse({"detail": detail, "request_id": request_id(request)}, code, headers)
