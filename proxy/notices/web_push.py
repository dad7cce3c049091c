"""Web Push: a message to a browser, by way of the service that the browser's maker runs (RFC 8030).

The message is encrypted for the browser (encryption.py) and signed by this site (VAPID, RFC 8292); the service sees
whom it is for, when, and how long it is. Its address comes from the browser, that is from outside: nothing is sent but
to services that are listed here or in `factors.push.services`, over TLS that is verified, and no redirect is followed.
Names that are listed need no look at their addresses: whoever answers there must have their certificate.

A home of httpx beside portal/core_client.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from urllib.parse import urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

import proxy
from proxy import logs
from proxy.notices.encryption import BadSubscription, ServerKey, encrypt

SERVICES = (
    "https://fcm.googleapis.com",
    "https://updates.push.services.mozilla.com",
    "https://web.push.apple.com",
    "https://*.notify.windows.com",
)
"""Those of Chrome and what is built on it, Firefox, Safari, and Edge. `*` is one label."""
WITHIN = 10.0
"""Seconds for one message."""
TOKEN_LIFE = 12 * 3600
"""Seconds; RFC 8292 section 2 allows 24 hours."""
MAX_ENDPOINT = 2048
MAX_PAYLOAD = 3993
"""Bytes: what every service takes once it is encrypted (RFC 8291 section 4)."""

_log = logs.get("portal")


class Sent(StrEnum):
    """What became of a message."""

    TAKEN = "taken"
    """By the service; whether the browser gets it in time nobody knows."""
    GONE = "gone"
    """The subscription is no more: forget it."""
    FAILED = "failed"
    """The service is down, slow, or does not want it; trying again later may help."""


class WebPush:
    """One per portal process; `close` it. `contact`: whom a service's operator may turn to, mailto: or https:."""

    def __init__(self, key: ServerKey, contact: str, services: Collection[str], clock: Callable[[], float]) -> None:
        self._key = key
        self._signing = ECKey.import_key(key.private_pem)
        self._clock = clock
        self._http: httpx.AsyncClient | None = None
        self.use(contact, services)

    def use(self, contact: str, services: Collection[str]) -> None:
        """As the configuration has it from now on."""
        self._contact = contact
        self._services = (*SERVICES, *services)

    @property
    def public_key(self) -> str:
        """What a browser subscribes with (`applicationServerKey`), base64url."""
        return base64.urlsafe_b64encode(self._key.public).rstrip(b"=").decode("ascii")

    def accepts(self, endpoint: str) -> bool:
        """Whether anything is ever sent there."""
        return origin_of(endpoint, self._services) is not None

    async def send(
        self, subscription: Mapping[str, str], payload: bytes, *, ttl: int, urgency: str, topic: str | None = None
    ) -> Sent:
        """A message (`payload` of `message`) to a subscription: endpoint, p256dh, auth. Never raises.

        `ttl`: seconds that the service keeps trying; `urgency` very-low, low, normal or high; `topic`: replaces one of
        the same topic that was not delivered yet (RFC 8030 section 5.4: at most 32 letters of base64url).
        """
        endpoint = subscription.get("endpoint", "")
        origin = origin_of(endpoint, self._services)
        if origin is None:
            return Sent.GONE
        try:
            body = encrypt(payload, subscription.get("p256dh", ""), subscription.get("auth", ""))
        except BadSubscription:
            return Sent.GONE
        headers = {
            "authorization": f"vapid t={self._token(origin)}, k={self.public_key}",
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(ttl),
            "urgency": urgency,
            **({} if topic is None else {"topic": topic}),
        }
        try:
            async with asyncio.timeout(WITHIN):
                # Streamed, and not read: what a service says besides its status is nothing to us.
                async with (await self._client()).stream("POST", endpoint, content=body, headers=headers) as answer:
                    status = answer.status_code
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            _log.warning("push service does not answer", service=origin, reason=type(error).__name__)
            return Sent.FAILED
        if status in (404, 410):  # RFC 8030 section 7.3
            return Sent.GONE
        if 200 <= status < 300:
            return Sent.TAKEN
        _log.warning("push service refused a message", service=origin, status=status)
        return Sent.FAILED

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def _token(self, origin: str) -> str:
        claims = {"aud": origin, "exp": int(self._clock()) + TOKEN_LIFE, "sub": self._contact}
        try:
            return jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, self._signing)
        except JoseError as error:
            raise RuntimeError(f"no VAPID token could be signed: {error}") from error

    async def _client(self) -> httpx.AsyncClient:
        """Made when it is first needed, and in a thread: the system's CAs take 60 ms."""
        if self._http is None:
            context = await asyncio.to_thread(ssl.create_default_context)
            self._http = self._http or httpx.AsyncClient(
                verify=context,
                headers={"user-agent": f"sidegate/{proxy.__version__}"},
                timeout=WITHIN,
                trust_env=False,
                follow_redirects=False,
            )
        return self._http


def message(title: str, body: str, *, path: str, tag: str) -> bytes:
    """What the service worker (portal/static/phone_worker.js) shows: opened, it leads to `path` of the portal; one of
    the same `tag` is replaced. Shown on locked phones: nothing secret."""
    text = json.dumps({"title": title, "body": body, "path": path, "tag": tag}, ensure_ascii=False)
    return text.encode("utf-8", "replace")


def origin_of(endpoint: str, services: Collection[str]) -> str | None:
    """The origin of an endpoint, if it is one of these services'."""
    if not endpoint.isascii() or not endpoint.isprintable() or len(endpoint) > MAX_ENDPOINT or "\\" in endpoint:
        return None
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    if usual is None or "@" in parts.netloc or " " in endpoint:
        return None
    name = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{name}" + ("" if port in (None, usual) else f":{port}")
    first, _, rest = name.partition(".")
    wild = f"{parts.scheme}://*.{rest}" + ("" if port in (None, usual) else f":{port}")
    return origin if origin in services or (first and rest and wild in services) else None
