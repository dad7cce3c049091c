"""What comes out: one object, or an array that is written in pieces so that a long one keeps no login waiting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from proxy.admin.desk import Desk

_PIECE = 200
"""Rows encoded between two turns of the loop: about 2 ms."""


def desk_of(request: Request) -> Desk:
    return cast(Desk, request.app.state.desk)


def one(value: Mapping[str, object], status: int = 200) -> Response:
    """One JSON object."""
    return JSONResponse(value, status)


def many(rows: Sequence[Mapping[str, object]]) -> Response:
    """A JSON array."""
    return StreamingResponse(_array(rows), media_type="application/json")


async def lines(pages: AsyncIterator[Sequence[Mapping[str, object]]]) -> Response:
    """One JSON object a line, page by page. An empty page is an empty line: it shows whether the reader is there."""
    # What can be refused is refused with the first page: after it the status is on the wire.
    nothing: list[Mapping[str, object]] = []  # not (): CPython 3.11's anext cannot return an empty tuple
    first = await anext(pages, nothing)
    return StreamingResponse(_lines(first, pages), media_type="application/x-ndjson")


def _encode(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def _array(rows: Sequence[Mapping[str, object]]) -> AsyncIterator[str]:
    yield "["
    for start in range(0, len(rows), _PIECE):
        yield ("," if start else "") + ",".join(map(_encode, rows[start : start + _PIECE]))
    yield "]"


async def _lines(
    first: Sequence[Mapping[str, object]], rest: AsyncIterator[Sequence[Mapping[str, object]]]
) -> AsyncIterator[str]:
    yield _page(first)
    async for page in rest:
        yield _page(page)


def _page(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(_encode(row) + "\n" for row in rows) or "\n"
