"""What goes wrong, as JSON with the right status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from proxy.admin.desk import Conflict, Forbidden, Invalid, NotFound, Refusal, StillOpen
from proxy.store.errors import StoreUnavailable

STATUS: dict[type[Refusal], int] = {Forbidden: 403, NotFound: 404, Conflict: 409, Invalid: 400, StillOpen: 503}
"""By class; any other Refusal is 409."""


def error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


async def _refusal(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    status = next((status for kind, status in STATUS.items() if isinstance(refusal, kind)), 409)
    return error(status, refusal.code, str(refusal))


async def _store(request: Request, unavailable: Exception) -> Response:
    return error(503, "unavailable", str(unavailable))


async def _http(request: Request, exception: Exception) -> Response:
    assert isinstance(exception, HTTPException)
    code = {404: "no_such_resource", 405: "method_not_allowed", 413: "too_large"}.get(exception.status_code, "http")
    return error(exception.status_code, code, f"{request.method} {request.url.path}: {exception.detail}")


async def _bug(request: Request, exception: Exception) -> Response:
    return error(500, "internal", "sidegate failed to answer; this is a bug, its log has the details")


HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: _refusal,
    StoreUnavailable: _store,
    HTTPException: _http,
    Exception: _bug,
}
