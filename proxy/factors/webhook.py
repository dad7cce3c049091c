"""Messages to phone numbers by a signed POST (docs/portal/text-messages.md): certificate verified, no redirect, no
retry, no proxy of the environment. 2xx: taken.

A home of httpx beside notices/web_push.py.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

import proxy
from proxy.config.factor_settings import Webhook
from proxy.domain import webhooks
from proxy.domain.phone_codes import Message
from proxy.factors.gateways import WITHIN, Gateway, NotTaken


def make(settings: Webhook, clock: Callable[[], float], token: Callable[[int], bytes]) -> Gateway:
    """A gateway. A client for each message, which is rare: a renewed CA counts at once."""
    assert settings.secret is not None  # the configuration holds that
    key = webhooks.key_of(settings.secret)
    parts = urlsplit(settings.url)
    name = f"the webhook at {parts.scheme}://{parts.netloc}"  # path and query may hold a secret

    async def send(message: Message) -> None:
        number, now = f"msg_{token(16).hex()}", int(clock())
        body = json.dumps(dict(message.fields()), ensure_ascii=False).encode()
        headers = {
            "content-type": "application/json",
            "user-agent": f"sidegate/{proxy.__version__}",
            **webhooks.headers(key, number, now, body),
        }
        try:
            async with asyncio.timeout(WITHIN):
                status = await _post(settings, body, headers)
        except TimeoutError:
            raise NotTaken(name, f"did not answer within {WITHIN:g} s", perhaps=True) from None
        except (httpx.ConnectError, ssl.SSLError) as error:
            raise NotTaken(name, f"cannot be reached ({error})") from None
        except (httpx.HTTPError, OSError) as error:
            raise NotTaken(name, f"broke the connection off ({type(error).__name__})", perhaps=True) from None
        if not 200 <= status < 300:
            raise NotTaken(name, f"answered {status}")

    return send


async def _post(settings: Webhook, body: bytes, headers: dict[str, str]) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if settings.url.startswith("https:"):  # in a thread: the system's CAs take 60 ms
        context = await asyncio.to_thread(ssl.create_default_context, cafile=settings.ca)
    # The answer is streamed, and not read: what it says besides its status is nothing to us.
    async with (
        httpx.AsyncClient(verify=context, timeout=None, trust_env=False) as client,  # noqa: S113 - limited by the caller
        client.stream("POST", settings.url, content=body, headers=headers) as answer,
    ):
        return answer.status_code
