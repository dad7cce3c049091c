"""What mail programs fetch by themselves, before anybody has signed in anywhere.

Every address of a served domain gets the same answer, whether or not there is such an account: nothing is looked up.
Cookies are not read and not set, and the answers to GET may be cached for a while.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxy.config.settings import Config
from proxy.domain.addresses import domain_of
from proxy.domain.login_names import canonical
from proxy.onboarding import autoconfig, autodiscover, pacc
from proxy.portal.desk import desk_of

CACHED = {"Cache-Control": "max-age=300"}
"""Seconds; short, since a change of the configuration must reach the documents and the DNS at about the same time."""


async def config_v1_1(request: Request) -> Response:
    """Mozilla's: the domain is that of `?emailaddress=`, or of the host that was asked."""
    config = desk_of(request).config
    address = request.query_params.get("emailaddress")
    domain = _domain_of_host(config, request) if address is None else domain_of(canonical(address, "") or "")
    document = autoconfig.config_v1_1(config, domain) if domain in config.domains else None
    if document is None:
        raise HTTPException(404)
    return Response(document, media_type="text/xml", headers=CACHED)


async def autodiscover_get(request: Request) -> Response:
    """Outlook's, without a request in it."""
    return _xml(autodiscover.error(autodiscover.INVALID_REQUEST, desk_of(request).clock()))


async def autodiscover_post(request: Request) -> Response:
    """Outlook's. HTTPException 413 for more than a request can have."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > autodiscover.MAX_REQUEST:
            raise HTTPException(413)
    desk = desk_of(request)
    return _xml(autodiscover.answer(desk.config, bytes(body), desk.clock()))


async def user_agent_configuration(request: Request) -> Response:
    """PACC's: exactly the bytes whose digest is in the DNS."""
    document = pacc.document(desk_of(request).config)
    if document is None:
        raise HTTPException(404)
    return Response(document, headers={"Content-Type": "application/json"} | CACHED)


ROUTES = [
    Route("/mail/config-v1.1.xml", config_v1_1),
    Route("/.well-known/autoconfig/mail/config-v1.1.xml", config_v1_1),
    Route("/autodiscover/autodiscover.xml", autodiscover_get),
    Route("/autodiscover/autodiscover.xml", autodiscover_post, methods=["POST"]),
    Route("/Autodiscover/Autodiscover.xml", autodiscover_get),
    Route("/Autodiscover/Autodiscover.xml", autodiscover_post, methods=["POST"]),
    Route("/.well-known/user-agent-configuration.json", user_agent_configuration),
]


def _xml(document: bytes) -> Response:
    return Response(document, media_type="text/xml", headers={"Cache-Control": "no-store"})


def _domain_of_host(config: Config, request: Request) -> str:
    """The served domain that the Host header names, else the default one: a web server in front may have changed it."""
    host = (request.url.hostname or "").removeprefix("autoconfig.")
    return host if host in config.domains else config.default_domain
