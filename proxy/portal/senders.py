"""Where a request comes from: from which page, and from which address."""

from __future__ import annotations

from starlette.requests import Request

from proxy.domain.networks import parse_address
from proxy.portal.desk import PortalDesk


def from_elsewhere(request: Request, desk: PortalDesk) -> bool:
    """Whether no browser says that one of our own pages sends this (Fetch Metadata; Origin where that is missing).

    What says neither is refused, too: every browser that has been supported since 2020 sends Origin with a POST, and an
    intermediary that strips both would strip what the check rests on. The cookies are SameSite=Strict besides.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    return request.headers.get("origin") != desk.origin


def address_of(request: Request, desk: PortalDesk) -> str:
    """The client's address: the peer's, or the last one in X-Forwarded-For where the peer is a listed web server."""
    peer = request.client.host if request.client is not None else ""
    named = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() if peer in desk.forwarded_from else ""
    for address in (named, peer):
        try:
            return str(parse_address(address))
        except ValueError:
            continue
    return "0.0.0.0"  # noqa: S104 - a unix socket, or a test: nobody in particular
