"""One POST: certificate verified, no redirect, no retry, no proxy of the environment, bounded in time and size.

A home of httpx beside proxy/cli/client.py, with which it has nothing in common: that one is synchronous, waits for as
long as it takes and trusts the core at the other end of a unix socket.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

import proxy
from proxy.chat.kick import MAX_ANSWER, WITHIN, CannotKick

_HEADERS = {
    "content-type": "application/json",
    "user-agent": f"sidegate/{proxy.__version__}",
    "accept-encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


def at(url: str) -> str:
    """Where `url` leads, for people: path and query may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def post(who: str, url: str, body: bytes, headers: Mapping[str, str], ca: Path | None) -> Answer:
    """The answer, whatever its status. Raises CannotKick, which calls the other end `who`."""
    where = f"{who} at {at(url)}"
    try:
        async with asyncio.timeout(WITHIN):
            return await _post(where, url, body, headers, await _context(url, ca))
    except TimeoutError:
        raise CannotKick(where, f"did not answer within {WITHIN:g} s", "see its log") from None
    except httpx.ConnectError as error:
        refused = _of_tls(error)
        if refused is not None:
            raise CannotKick(where, f"has no certificate to trust: {refused}", "compare url and ca") from None
        raise CannotKick(
            where, "cannot be reached", "see whether it runs, and whether the core may use the network"
        ) from None
    except httpx.HTTPError as error:
        raise CannotKick(where, f"broke the connection off ({type(error).__name__})", "see its log") from None


async def _post(where: str, url: str, body: bytes, headers: Mapping[str, str], context: ssl.SSLContext) -> Answer:
    async with (
        httpx.AsyncClient(verify=context, timeout=None, trust_env=False) as client,  # noqa: S113 - limited above
        client.stream("POST", url, content=body, headers={**_HEADERS, **headers}) as response,
    ):
        answer = b""
        async for piece in response.aiter_raw():
            answer += piece
            if len(answer) > MAX_ANSWER:
                raise CannotKick(where, f"answered more than {MAX_ANSWER} bytes", "see whether url is the right one")
        return Answer(response.status_code, answer)


async def _context(url: str, ca: Path | None) -> ssl.SSLContext:
    """Made for each kick, which is rare: a renewed CA counts at once. In a thread, as the system's CAs take 60 ms."""
    if url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return await asyncio.to_thread(ssl.create_default_context, cafile=ca)
    except OSError as error:
        raise CannotKick(f"on_revoke.ca {ca}", f"cannot be used: {error.strerror}", "name the CA in PEM form") from None


def _of_tls(error: BaseException | None) -> str | None:
    """What the TLS library had against the other end, if it was that."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, ssl.SSLError):
            return error.reason or "no TLS"
        error = error.__cause__ or error.__context__
    return None
